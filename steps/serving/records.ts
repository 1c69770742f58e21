/** The records of a request to a cloud's endpoint: texts, or objects with the fields of an input. */
import type { Json } from '../../engine/contract/step.ts';
import { checkOptions, type GenerationOptions } from '../ml/generation/options.ts';
import { isGenerating } from '../ml/models/config.ts';
import type { Input } from '../ml/tasks/task.ts';
import { generationWithin } from './generation-limits.ts';
import { kindOf, RequestRefusal } from './limits.ts';
import type { ProtocolRequest } from './protocol.ts';
import type { ServedModel } from './served-model.ts';
import { inputOf } from './tunesmith-protocol.ts';

interface Records {
  records: readonly unknown[];
  /** Options of generation. Models that predict have none. */
  parameters?: unknown;
  /** The name of a record in messages: `"instances[3]"`. */
  nameOf(place: number): string;
}

/** The answers to the records, in their order. @throws RequestRefusal for an invalid record */
export async function answersTo(
  model: ServedModel,
  { records, parameters = {}, nameOf }: Records,
  { c, ticket }: ProtocolRequest,
): Promise<Json[]> {
  const { task } = model.bundle;
  if (kindOf(parameters) !== 'an object') throw new RequestRefusal(400, `"parameters" must be an object, not ${kindOf(parameters)}`);
  const request = { signal: c.req.raw.signal, ticket };
  if (isGenerating(task)) {
    const prompts = records.map((record, i) => promptOf(record, nameOf(i)));
    checkOptions(parameters as Record<string, unknown>, (name) => `"parameters.${name}"`);
    const options = parameters as GenerationOptions;
    const called = (option: string) => `"parameters.${option}"`;
    const texts = await model.generate(generationWithin({ prompts, stream: false, options }, model.limits, nameOf, called), request);
    return texts.map(({ text, tokens, finish }) => ({ text, tokens, finish }));
  }
  const [unknown] = Object.keys(parameters as object);
  if (unknown !== undefined) throw new RequestRefusal(400, `"parameters.${unknown}" is not supported: ${task} has no parameters`);
  return model.predict(
    records.map((record, i) => inputFrom(record, model, nameOf(i))),
    { ...request, nameOf },
  );
}

function promptOf(record: unknown, name: string): string {
  const prompt = kindOf(record) === 'an object' ? (record as Record<string, unknown>).prompt : record;
  if (typeof prompt === 'string') return prompt;
  throw new RequestRefusal(400, `${name} must be a prompt or {"prompt": "…"}, not ${kindOf(record)}`);
}

function inputFrom(record: unknown, { bundle: { fields } }: ServedModel, name: string): Input {
  const required = fields.filter(({ optional }) => !optional);
  if (typeof record === 'string' && required.length === 1) return { [required[0]!.name]: record };
  if (kindOf(record) !== 'an object') {
    const object = `an object with ${required.map((field) => field.name).join(' and ')}`;
    throw new RequestRefusal(400, `${name} must be ${required.length === 1 ? `a string or ${object}` : object}, not ${kindOf(record)}`);
  }
  const input = inputOf(record as Record<string, unknown>, fields, name);
  if (typeof input === 'string') throw new RequestRefusal(400, input);
  return input;
}

/** The value of a request that must be an object. */
export function objectOf(value: unknown, example: string): Record<string, unknown> {
  if (kindOf(value) !== 'an object') throw new RequestRefusal(400, `the body must be an object such as ${example}, not ${kindOf(value)}`);
  return value as Record<string, unknown>;
}

export function refuseOthers(others: Record<string, unknown>, known: readonly string[]): void {
  const [unknown] = Object.keys(others);
  if (unknown !== undefined)
    throw new RequestRefusal(
      400,
      `unknown field ${JSON.stringify(unknown)}; the fields are ${known.map((name) => `"${name}"`).join(' and ')}`,
    );
}

export function listOf(value: unknown, name: string): unknown[] {
  if (value === undefined) throw new RequestRefusal(400, `the field "${name}" is missing; it is a list of records`);
  if (!Array.isArray(value)) throw new RequestRefusal(400, `"${name}" must be a list of records, not ${kindOf(value)}`);
  return value;
}
