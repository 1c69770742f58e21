/** POST /predict: predicts for the inputs of a request. */
import type { Json } from '../../engine/step.ts';
import { type Input, itemThatIsNoWord, partOfInput, type TaskKind } from '../tasks/task.ts';
import type { Route, Serving } from './app.ts';
import { jsonOf, kindOf } from './body.ts';
import { type Bundle, notTaken, tokensOfRun } from './bundle.ts';
import { checkCharacters, Refused } from './limits.ts';
import { type Outcome, openQueue } from './queue.ts';
import { startWorkers } from './workers.ts';

export async function predictRoute(bundle: Bundle, { limits, measurements }: Serving): Promise<Route> {
  const queue = openQueue(await startWorkers(bundle), {
    tokens: tokensOfRun(bundle, tokensTogether),
    milliseconds: turn,
    onRun: measurements.batch,
  });
  return {
    path: '/predict',
    async answer(body, c, ticket) {
      const inputs = inputsOf(body, bundle.fields);
      if (typeof inputs === 'string') throw new Refused(400, inputs);
      if (inputs.length > limits.inputs)
        throw new Refused(413, `"inputs" has ${inputs.length} entries, but at most ${limits.inputs} are allowed at once`);
      checkCharacters(inputs.map(charactersOf), limits, (i) => (inputs.length === 1 ? '"inputs"' : `"inputs[${i}]"`));
      ticket.take(inputs.length * bytesOf(bundle));
      const outcomes = await queue.answer(inputs, { signal: c.req.raw.signal, untilError: true });
      return c.json({ predictions: predictionsOf(outcomes, inputs.length) });
    },
    get waiting() {
      return queue.length;
    },
    close: () => queue.close(),
  };
}

/** Memory of an input and its answer, besides the text. */
const bytesOf = ({ labels }: Bundle): number => 512 + 64 * labels.length;

const charactersOf = (input: Input): number => Object.values(input).reduce((sum, text) => sum + text.length, 0);

/** Including padding. Larger runs are not faster. */
const tokensTogether = 512;

/**
 * A short request waits for the current turn and is in the next one: 100 ms together, unless one sequence takes
 * longer than a run may.
 */
const turn = { encode: 10, run: 40 };

/** @throws Refused if one of the inputs cannot be read; other errors if the model failed */
function predictionsOf(outcomes: (Outcome | undefined)[], count: number): Json[] {
  const predictions: Json[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    // Not answered, because another input has an error.
    if (!outcome) continue;
    if ('refused' in outcome) throw new Refused(400, count > 1 ? `"inputs[${i}]": ${outcome.refused.message}` : outcome.refused.message);
    // A failure of the model is not the client's fault.
    if ('failed' in outcome) throw new Error(outcome.failed.message, { cause: outcome.failed });
    predictions.push(outcome.prediction);
  }
  return predictions;
}

/** Validates the inputs of a request's body. */
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
  for (const field of fields) {
    const { name, optional, words } = field;
    const value = given[name];
    const part = partOfInput(field, value);
    if (part) Object.assign(input, part);
    else if (value !== undefined && value !== null) {
      const item = itemThatIsNoWord(field, value);
      const found =
        item === undefined ? `not ${kindOf(value)}` : `and item ${item} of the list is ${kindOf((value as unknown[])[item - 1])}`;
      return `"${name}" of ${place} must be a string${words ? ' or a list of strings, its words' : ''}, ${found}`;
    } else if (!optional) return `${place} has no "${name}"`;
  }
  const unknown = Object.keys(given).find((key) => !fields.some(({ name }) => name === key));
  if (unknown === 'text_pair') return `${place}: ${notTaken(unknown)}`;
  if (unknown !== undefined)
    return `${place} has the unknown field ${JSON.stringify(unknown)}; the fields are ${fields.map(({ name }) => name).join(', ')}`;
  return input;
}
