/** Our own protocol. POST /predict predicts for the inputs of a request; POST /generate continues prompts. */

import type { Context } from 'hono';
import { notTaken } from '../ml/answering/bundle.ts';
import { checkOptions } from '../ml/generation/options.ts';
import { isGenerating } from '../ml/models/config.ts';
import { type Input, itemThatIsNoWord, partOfInput, type TaskKind } from '../ml/tasks/task.ts';
import { eventStream } from './event-stream.ts';
import { generationWithin } from './generation-limits.ts';
import type { GenerationRequest } from './generation-thread.ts';
import { jsonOf, kindOf, type Limits, RequestRefusal, type Ticket } from './limits.ts';
import type { Protocol, ProtocolRoute } from './protocol.ts';
import type { ServedModel, WrittenText } from './served-model.ts';
import { generating, predicting } from './tunesmith-schemas.ts';

export const tunesmith: Protocol = {
  name: 'tunesmith',
  description: 'The own protocol: POST /predict, or POST /generate for models that write text.',
  routes: (model) => [isGenerating(model.bundle.task) ? generateRoute(model) : predictRoute(model)],
  schemas: ({ bundle, limits }) => (isGenerating(bundle.task) ? generating(limits) : predicting(bundle, limits)).schemas,
};

function predictRoute(model: ServedModel): ProtocolRoute {
  const { bundle, limits } = model;
  return {
    path: '/predict',
    method: 'POST',
    async answer({ body, c, ticket }) {
      const inputs = inputsOf(body, bundle.fields);
      if (typeof inputs === 'string') throw new RequestRefusal(400, inputs);
      const nameOf = (i: number) => (inputs.length === 1 ? '"inputs"' : `"inputs[${i}]"`);
      return c.json({ predictions: await model.predict(inputs, { signal: c.req.raw.signal, ticket, nameOf }) });
    },
    operation: predicting(bundle, limits).operation,
  };
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
  const read: Input[] = [];
  for (const [i, given] of list.entries()) {
    const place = Array.isArray(inputs) ? `"inputs[${i}]"` : '"inputs"';
    if (typeof given === 'string' && required.length === 1) read.push({ [required[0]!]: given });
    else if (kindOf(given) !== 'an object')
      return `${place} must be ${one}${Array.isArray(inputs) ? '' : ` or a list of ${many}`}, not ${kindOf(given)}`;
    else {
      const input = inputOf(given as Record<string, unknown>, fields, place);
      if (typeof input === 'string') return input;
      read.push(input);
    }
  }
  return read;
}

export function inputOf(given: Record<string, unknown>, fields: TaskKind['fields'], place: string): Input | string {
  const input: Input = {};
  for (const field of fields) {
    const { name, optional, words, group } = field;
    const value = given[name];
    const part = partOfInput(field, value);
    if (part) Object.assign(input, part);
    else if (value !== undefined && value !== null) {
      const item = itemThatIsNoWord(field, value);
      const actual =
        item === undefined ? `not ${kindOf(value)}` : `and item ${item} of the list is ${kindOf((value as unknown[])[item - 1])}`;
      return `"${name}" of ${place} must be a string${words ? ' or a list of strings, its words' : group ? ', a number, a boolean or null' : ''}, ${actual}`;
    } else if (!optional)
      return `${place} has no "${name}"${group ? ', which decides the thresholds of the model; null means that the value is missing' : ''}`;
  }
  const unknown = Object.keys(given).find((key) => !fields.some(({ name }) => name === key));
  if (unknown === 'text_pair') return `${place}: ${notTaken(unknown)}`;
  if (unknown !== undefined)
    return `${place} has the unknown field ${JSON.stringify(unknown)}; the fields are ${fields.map(({ name }) => name).join(', ')}`;
  return input;
}

/** Prompts to texts, whole or streamed (server-sent events). */
function generateRoute(model: ServedModel): ProtocolRoute {
  return {
    path: '/generate',
    method: 'POST',
    async answer({ body, c, ticket }) {
      const writing = writingOf(body, model.limits);
      if (writing.stream) return streamed(writing, model, c, ticket);
      const texts = await model.generate(writing, { signal: c.req.raw.signal, ticket });
      return c.json({ texts: texts.map(shownText) });
    },
    operation: generating(model.limits).operation,
  };
}

/** Sends events `piece` as texts are generated, then `end` with all texts, or `error`. */
function streamed(writing: GenerationRequest, model: ServedModel, c: Context, ticket: Ticket): Response {
  return eventStream(c, model, {
    async work(send, signal) {
      const onPiece = (text: number, piece: string) => send(JSON.stringify({ text, piece }), 'piece');
      const texts = await model.generate(writing, { signal, ticket, onPiece });
      send(JSON.stringify({ texts: texts.map(shownText) }), 'end');
    },
    fail: (send, message) => send(JSON.stringify({ error: { message } }), 'error'),
  });
}

/** Without what is for other protocols. */
const shownText = ({ text, tokens, finish }: WrittenText) => ({ text, tokens, finish });

/** Validates a body against the limits. */
function writingOf(body: Buffer, limits: Limits): GenerationRequest {
  const value = jsonOf(body);
  if (kindOf(value) !== 'an object')
    throw new RequestRefusal(400, `the body must be an object such as {"prompt": "…"}, not ${kindOf(value)}`);
  const { prompt, stream = false, ...options } = value as Record<string, unknown>;
  if (prompt === undefined) throw new RequestRefusal(400, 'the field "prompt" is missing; it is a string or a list of strings');
  const prompts = Array.isArray(prompt) ? prompt : [prompt];
  const odd = prompts.findIndex((each) => typeof each !== 'string');
  if (odd >= 0)
    throw new RequestRefusal(
      400,
      Array.isArray(prompt)
        ? `"prompt[${odd}]" must be a string, not ${kindOf(prompts[odd])}`
        : `"prompt" must be a string or a list of strings, not ${kindOf(prompt)}`,
    );
  if (typeof stream !== 'boolean') throw new RequestRefusal(400, `"stream" must be true or false, not ${kindOf(stream)}`);
  checkOptions(options, (name) => `"${name}"`);
  const nameOf = (i: number) => (Array.isArray(prompt) ? `"prompt[${i}]"` : '"prompt"');
  return generationWithin({ prompts, stream, options }, limits, nameOf);
}
