/**
 * How text is generated: what generation_config.json says, with transformers' names and defaults, and what is asked for on top
 * of it. What would change the result and is not built is an error, never ignored.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import type { Model } from '../models/checkpoint.ts';
import { readJson } from '../models/json.ts';

/** What can be asked for with each generation: a JSON Schema of every option. */
export const generationOptions = {
  max_new_tokens: { type: 'integer', minimum: 1, description: 'the most tokens to generate (default: 20, or what max_length leaves)' },
  max_length: { type: 'integer', minimum: 1, description: 'the most tokens of a sequence, prompt included; max_new_tokens goes before it' },
  min_new_tokens: { type: 'integer', minimum: 0, description: 'no end before so many tokens' },
  min_length: { type: 'integer', minimum: 0, description: 'no end before a sequence has so many tokens, prompt included' },
  do_sample: { type: 'boolean', description: 'draw each token by its probability; without it the likeliest is taken' },
  temperature: { type: 'number', exclusiveMinimum: 0, description: 'of drawing: below 1 likely tokens become likelier still' },
  top_k: { type: 'integer', minimum: 0, description: 'draw among the k likeliest tokens only (default: 50; 0: among all)' },
  top_p: { type: 'number', minimum: 0, maximum: 1, description: 'draw among the likeliest tokens that together have this probability' },
  min_p: { type: 'number', minimum: 0, maximum: 1, description: 'draw among tokens at least this share as likely as the likeliest' },
  seed: { type: 'integer', minimum: 0, description: 'of drawing: the same seed and prompt give the same text (default: 0)' },
  num_beams: { type: 'integer', minimum: 1, description: 'beams of beam search; 1 is none' },
  length_penalty: { type: 'number', description: "a beam's score is divided by its length to this power (default: 1)" },
  early_stopping: { enum: [true, false, 'never'], description: 'when a beam search is over: true, false or never' },
  repetition_penalty: { type: 'number', exclusiveMinimum: 0, description: 'above 1, tokens that were there already become less likely' },
  no_repeat_ngram_size: { type: 'integer', minimum: 0, description: 'no so many tokens in a row come twice' },
  num_return_sequences: { type: 'integer', minimum: 1, description: 'texts for each prompt' },
  stop_strings: { type: 'array', items: { type: 'string', minLength: 1 }, description: 'a text ends once one of these is in it' },
  eos_token_id: { type: ['integer', 'array'], items: { type: 'integer' }, description: 'a text ends with one of these tokens' },
  max_time: { type: 'number', exclusiveMinimum: 0, description: 'seconds after which a text ends with the next token' },
} as const;

export type OptionName = keyof typeof generationOptions;

export interface GenerationOptions {
  max_new_tokens?: number;
  max_length?: number;
  min_new_tokens?: number;
  min_length?: number;
  do_sample?: boolean;
  temperature?: number;
  top_k?: number;
  top_p?: number;
  min_p?: number;
  seed?: number;
  num_beams?: number;
  length_penalty?: number;
  early_stopping?: boolean | 'never';
  repetition_penalty?: number;
  no_repeat_ngram_size?: number;
  num_return_sequences?: number;
  stop_strings?: string[];
  eos_token_id?: number | number[];
  max_time?: number;
}

/** Options with all defaults in their places. */
export interface GenerationConfig {
  max_new_tokens: number | undefined;
  max_length: number | undefined;
  min_new_tokens: number | undefined;
  min_length: number;
  do_sample: boolean;
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number | undefined;
  seed: number;
  num_beams: number;
  length_penalty: number;
  early_stopping: boolean | 'never';
  repetition_penalty: number;
  no_repeat_ngram_size: number;
  num_return_sequences: number;
  stop_strings: string[];
  /** Empty: nothing ends a text before its greatest length. */
  eos_token_id: number[];
  max_time: number | undefined;
  /** New tokens that whoever runs the model allows: no option of who asks. */
  limit: number;
}

/** transformers' defaults, and our seed. */
const DEFAULTS: GenerationConfig = {
  max_new_tokens: undefined,
  max_length: undefined,
  min_new_tokens: undefined,
  min_length: 0,
  do_sample: false,
  temperature: 1,
  top_k: 50,
  top_p: 1,
  min_p: undefined,
  seed: 0,
  num_beams: 1,
  length_penalty: 1,
  early_stopping: false,
  repetition_penalty: 1,
  no_repeat_ngram_size: 0,
  num_return_sequences: 1,
  stop_strings: [],
  eos_token_id: [],
  max_time: undefined,
  limit: Number.POSITIVE_INFINITY,
};

/** What a model folder says about generating. */
export interface OwnGeneration {
  options: GenerationOptions;
  /** The token that the texts of an encoder-decoder begin with. */
  startToken: number;
}

/** Of generation_config.json, and where there is none, of config.json: folders of old have it there, and transformers looks there, too. */
export async function readGeneration(
  folder: string,
  { task, file, config }: Pick<Model, 'task' | 'file' | 'config'>,
): Promise<OwnGeneration> {
  const own = existsSync(path.join(folder, NAME)) ? ((await readJson(path.join(folder, NAME))) as Record<string, unknown>) : undefined;
  const name = own ? NAME : 'config.json';
  const said: Record<string, unknown> = own ?? { ...file, eos_token_id: file.eos_token_id ?? config.eos_token_id };
  for (const [field, harmless] of Object.entries(NOT_BUILT)) {
    const value = said[field] ?? harmless;
    if (JSON.stringify(value) !== JSON.stringify(harmless))
      throw new StepError(`${name}: ${field} ${JSON.stringify(value)} is not supported`, `Take it out of ${path.join(folder, name)}.`);
  }
  const options: Record<string, unknown> = {};
  for (const field of Object.keys(generationOptions)) if (said[field] !== undefined && said[field] !== null) options[field] = said[field];
  if (typeof options.stop_strings === 'string') options.stop_strings = [options.stop_strings];
  checkOptions(options, (field) => `${name}: ${field}`);
  const startToken = said.decoder_start_token_id ?? own?.bos_token_id ?? config.decoder_start_token_id ?? config.pad_token_id;
  if (
    task === 'seq2seq' &&
    (!Number.isSafeInteger(startToken) || (startToken as number) < 0 || (startToken as number) >= config.vocab_size)
  )
    throw new StepError(
      `${name}: decoder_start_token_id is ${JSON.stringify(startToken)}, and must be the id of one of the model's ${config.vocab_size} tokens`,
    );
  return { options: options as GenerationOptions, startToken: startToken as number };
}

const NAME = 'generation_config.json';

/** Fields that change what is generated, with the value that changes nothing. */
const NOT_BUILT: Record<string, unknown> = {
  typical_p: 1,
  top_h: null,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  diversity_penalty: 0,
  num_beam_groups: 1,
  encoder_repetition_penalty: 1,
  encoder_no_repeat_ngram_size: 0,
  bad_words_ids: null,
  force_words_ids: null,
  constraints: null,
  renormalize_logits: false,
  forced_bos_token_id: null,
  forced_eos_token_id: null,
  exponential_decay_length_penalty: null,
  suppress_tokens: null,
  begin_suppress_tokens: null,
  sequence_bias: null,
  guidance_scale: null,
  watermarking_config: null,
  penalty_alpha: null,
  dola_layers: null,
  token_healing: false,
};

/** @param called how messages call an option. @throws StepError where a value is none that the option can have */
export function checkOptions(options: Record<string, unknown>, called: (name: string) => string): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(generationOptions, name))
      throw new StepError(`${called(name)} is not an option of generation`, `Options: ${Object.keys(generationOptions).join(', ')}.`);
    const wrong = wrongWith(name as OptionName, value);
    if (wrong) throw new StepError(`${called(name)} is ${JSON.stringify(value)}, and must be ${wrong}`);
  }
}

/** What it should be instead; undefined where all is well. */
function wrongWith(name: OptionName, value: unknown): string | undefined {
  if (name === 'early_stopping') return value === 'never' || typeof value === 'boolean' ? undefined : 'true, false or "never"';
  if (name === 'do_sample') return typeof value === 'boolean' ? undefined : 'true or false';
  if (name === 'stop_strings')
    return Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== '')
      ? undefined
      : 'a list of texts, none of them empty';
  if (name === 'eos_token_id')
    return [value].flat().every((id) => Number.isSafeInteger(id) && (id as number) >= 0) ? undefined : 'the id of a token, or several';
  const schema: { type: string; minimum?: number; maximum?: number; exclusiveMinimum?: number } = generationOptions[name] as never;
  const kind = schema.type === 'integer' ? 'a whole number' : 'a number';
  const range = [
    ...(schema.minimum === undefined ? [] : [`from ${schema.minimum}`]),
    ...(schema.exclusiveMinimum === undefined ? [] : [`above ${schema.exclusiveMinimum}`]),
    ...(schema.maximum === undefined ? [] : [`to ${schema.maximum}`]),
  ].join(' ');
  const fits =
    typeof value === 'number' &&
    (schema.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
    value >= (schema.minimum ?? Number.NEGATIVE_INFINITY) &&
    value > (schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY) &&
    value <= (schema.maximum ?? Number.POSITIVE_INFINITY);
  return fits ? undefined : `${kind} ${range}`.trimEnd();
}

/** Options over those of the model over the defaults. @throws StepError where options do not go together, or not with a vocabulary so large */
export function generationConfig(model: GenerationOptions, asked: GenerationOptions, vocabulary: number): GenerationConfig {
  checkOptions(asked as Record<string, unknown>, (name) => name);
  const { eos_token_id, ...options } = { ...model, ...asked };
  const config: GenerationConfig = { ...DEFAULTS, ...options, eos_token_id: eos_token_id === undefined ? [] : [eos_token_id].flat() };
  const { num_beams, num_return_sequences, do_sample } = config;
  if (num_beams > vocabulary)
    throw new StepError(
      `num_beams is ${num_beams}, and the model has ${vocabulary} tokens`,
      'Beams begin with different tokens: take fewer.',
    );
  if (num_beams > 1 && num_return_sequences > num_beams)
    throw new StepError(
      `num_return_sequences is ${num_return_sequences}, and num_beams ${num_beams}`,
      'A beam gives one text: take more beams.',
    );
  if (num_beams === 1 && !do_sample && num_return_sequences > 1)
    throw new StepError(
      `num_return_sequences is ${num_return_sequences}, and the likeliest tokens make one text`,
      'Use do_sample, or as many beams with num_beams.',
    );
  return config;
}

/** The length at which a sequence that began with so many tokens is cut off. @throws StepError where nothing can be generated */
export function longest({ max_new_tokens, max_length, limit }: GenerationConfig, begun: number, context: number): number {
  if (begun >= context)
    throw new StepError(
      `the prompt has ${begun} tokens, and the model's context holds ${context}, the generated ones included`,
      'Shorten the prompt.',
    );
  if (max_new_tokens === undefined && max_length !== undefined && begun >= max_length)
    throw new StepError(`the prompt has ${begun} tokens, and max_length is ${max_length}, prompt included`, 'Use max_new_tokens instead.');
  const wanted = max_new_tokens === undefined ? (max_length ?? begun + USUAL) : begun + max_new_tokens;
  return Math.min(wanted, begun + limit, context);
}

/** Tokens that are generated where nothing says how many. */
const USUAL = 20;
