/** POST /predict: inputs to the answers of a task. */
import type { Input, TaskKind } from '../tasks/task.ts';
import { Refused, type Route, type Serving } from './app.ts';
import { jsonOf, kindOf } from './body.ts';
import type { Bundle } from './bundle.ts';
import { openQueue } from './queue.ts';
import { startWorkers } from './workers.ts';

export async function predictRoute(bundle: Bundle, { limits, measurements }: Serving): Promise<Route> {
  const workers = await startWorkers(bundle);
  const queue = openQueue(workers, measurements.batch);
  return {
    path: '/predict',
    async answer(body, c) {
      const inputs = inputsOf(body, bundle.fields);
      if (typeof inputs === 'string') throw new Refused(400, inputs);
      if (inputs.length > limits.inputs) throw new Refused(413, `"inputs" has ${inputs.length} entries; at most ${limits.inputs} at once`);
      if (queue.length + inputs.length > limits.queue) throw new Refused(503, 'too many inputs are waiting; try again in a second');
      return c.json({ predictions: await queue.answer(inputs, c.req.raw.signal) });
    },
    get waiting() {
      return queue.length;
    },
    close: () => workers.close(),
  };
}

/** The inputs of a request's body, or what is wrong with it. */
function inputsOf(body: Buffer, fields: TaskKind['fields']): Input[] | string {
  const value = jsonOf(body);
  const required = fields.filter(({ optional }) => !optional).map(({ name }) => name);
  const [one, many] = required.length === 1 ? ['a string', 'strings'] : [`an object with ${required.join(' and ')}`, 'such objects'];
  const example = required.length === 1 ? '"…"' : `{${required.map((name) => `"${name}": "…"`).join(', ')}}`;
  if (kindOf(value) !== 'an object') return `the body must be an object such as {"inputs": ${example}}, not ${kindOf(value)}`;
  const { inputs, ...others } = value as Record<string, unknown>;
  const unknown = Object.keys(others)[0];
  if (unknown !== undefined) return `unknown field ${JSON.stringify(unknown)}; the only field is "inputs"`;
  if (inputs === undefined) return `the field "inputs" is missing; it is ${one} or a list of ${many}`;
  const list = Array.isArray(inputs) ? inputs : [inputs];
  const found: Input[] = [];
  for (const [i, given] of list.entries()) {
    const place = Array.isArray(inputs) ? `"inputs[${i}]"` : '"inputs"';
    if (typeof given === 'string' && required.length === 1) found.push({ [required[0]!]: given });
    else if (kindOf(given) !== 'an object')
      return `${place} must be ${one}${Array.isArray(inputs) ? '' : ` or a list of ${many}`}, not ${kindOf(given)}`;
    else {
      const input = inputOf(given as Record<string, unknown>, fields, place);
      if (typeof input === 'string') return input;
      found.push(input);
    }
  }
  return found;
}

function inputOf(given: Record<string, unknown>, fields: TaskKind['fields'], place: string): Input | string {
  const input: Input = {};
  for (const { name, optional } of fields) {
    const value = given[name];
    if (typeof value === 'string') input[name] = value;
    else if (value !== undefined && value !== null) return `"${name}" of ${place} must be a string, not ${kindOf(value)}`;
    else if (!optional) return `${place} has no "${name}"`;
  }
  const unknown = Object.keys(given).find((key) => !fields.some(({ name }) => name === key));
  if (unknown !== undefined)
    return `${place} has the unknown field ${JSON.stringify(unknown)}; known are ${fields.map(({ name }) => name).join(', ')}`;
  return input;
}
