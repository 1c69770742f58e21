/**
 * Options of text generation: generation_config.json, with the names and defaults of transformers, overridden by the
 * options of the request. An option that would change the result but is not implemented is an error, never ignored.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { type OptionsOf, StepError } from '../../../engine/contract/step.ts';
import { readJson } from '../models/json.ts';
import type { Model } from '../models/model-folder.ts';

/** The options of a request, as a JSON Schema. */
export const generationOptions = {
  max_new_tokens: {
    type: 'integer',
    minimum: 1,
    description: 'maximum number of new tokens (default: 20, or max_target_length for a seq2seq model that tunesmith trained)',
  },
  max_length: {
    type: 'integer',
    minimum: 1,
    description: 'maximum number of tokens, prompt included; it has no effect if max_new_tokens is set',
  },
  min_new_tokens: { type: 'integer', minimum: 0, description: 'minimum number of new tokens' },
  min_length: { type: 'integer', minimum: 0, description: 'minimum number of tokens, prompt included' },
  do_sample: {
    type: 'boolean',
    description: 'choose each token at random, with the probabilities of the model (default: take the most likely token)',
  },
  temperature: {
    type: 'number',
    exclusiveMinimum: 0,
    description: 'sampling temperature; below 1 sharpens the distribution (default: 1)',
  },
  top_k: { type: 'integer', minimum: 0, description: 'sample from the k most likely tokens only (default: 50; 0: from all)' },
  top_p: {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description: 'sample from the most likely tokens whose probabilities sum to at least top_p',
  },
  min_p: {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description: 'sample from tokens whose probability is at least this share of the highest probability',
  },
  seed: {
    type: 'integer',
    minimum: 0,
    description: 'random seed for sampling (default: 0); the same seed, prompt and options give the same text',
  },
  num_beams: { type: 'integer', minimum: 1, description: 'number of beams; 1 means no beam search (default: 1)' },
  length_penalty: { type: 'number', description: 'for beam search; a higher value favours longer texts (default: 1)' },
  early_stopping: { enum: [true, false, 'never'], description: 'when to stop beam search: true, false or never, as in transformers' },
  repetition_penalty: {
    type: 'number',
    exclusiveMinimum: 0,
    description: 'penalty for tokens that have occurred already; above 1 makes them less likely',
  },
  no_repeat_ngram_size: { type: 'integer', minimum: 0, description: 'forbid repeating any n-gram of this size' },
  num_return_sequences: { type: 'integer', minimum: 1, description: 'number of texts per prompt' },
  stop_strings: {
    type: 'array',
    items: { type: 'string', minLength: 1 },
    description: 'stop generating when the text contains one of these strings',
  },
  eos_token_id: { type: ['integer', 'array'], items: { type: 'integer' }, description: 'stop generating after one of these tokens' },
  max_time: {
    type: 'number',
    exclusiveMinimum: 0,
    description: 'maximum time in seconds; after this time, the token in progress is the last',
  },
} as const;

export type GenerationOptions = Partial<OptionsOf<typeof generationOptions>>;

type Unlimited = 'max_new_tokens' | 'max_length' | 'min_new_tokens' | 'min_p' | 'max_time';

/** Options with all defaults filled in. */
export interface GenerationConfig extends Omit<Required<GenerationOptions>, Unlimited>, Pick<GenerationOptions, Unlimited> {
  /** Empty: no token ends a text. */
  eos_token_id: number[];
  /** The limit of the operator who runs the model; requests cannot set it. */
  limit: number;
}

/** transformers' defaults, and our seed. */
const DEFAULTS: GenerationConfig = {
  min_length: 0,
  do_sample: false,
  temperature: 1,
  top_k: 50,
  top_p: 1,
  seed: 0,
  num_beams: 1,
  length_penalty: 1,
  early_stopping: false,
  repetition_penalty: 1,
  no_repeat_ngram_size: 0,
  num_return_sequences: 1,
  stop_strings: [],
  eos_token_id: [],
  limit: Number.POSITIVE_INFINITY,
};

/** What a model folder declares about generation. */
interface OwnGeneration {
  options: GenerationOptions;
  /** The first token of an encoder-decoder's texts. */
  startToken: number;
}

/** Reads generation_config.json, or config.json if there is none, as transformers does: old folders have the fields there. */
export async function readGeneration(
  folder: string,
  { task, file, config }: Pick<Model, 'task' | 'file' | 'config'>,
): Promise<OwnGeneration> {
  const own = existsSync(path.join(folder, NAME)) ? ((await readJson(path.join(folder, NAME))) as Record<string, unknown>) : undefined;
  const name = own ? NAME : 'config.json';
  const settings: Record<string, unknown> = own ?? { ...file, eos_token_id: file.eos_token_id ?? config.eos_token_id };
  for (const [field, harmless] of Object.entries(NOT_BUILT)) {
    const value = settings[field] ?? harmless;
    if (JSON.stringify(value) !== JSON.stringify(harmless))
      throw new StepError(`${name}: ${field} ${JSON.stringify(value)} is not supported`, `Remove it from ${path.join(folder, name)}.`);
  }
  const options: Record<string, unknown> = {};
  for (const field of Object.keys(generationOptions))
    if (settings[field] !== undefined && settings[field] !== null) options[field] = settings[field];
  if (typeof options.stop_strings === 'string') options.stop_strings = [options.stop_strings];
  checkOptions(options, (field) => `${name}: ${field}`);
  const startToken = settings.decoder_start_token_id ?? own?.bos_token_id ?? config.decoder_start_token_id ?? config.pad_token_id;
  if (
    task === 'seq2seq' &&
    (!Number.isSafeInteger(startToken) || (startToken as number) < 0 || (startToken as number) >= config.vocab_size)
  )
    throw new StepError(
      `${name}: decoder_start_token_id is ${JSON.stringify(startToken)}, but must be the id of one of the model's ${config.vocab_size} tokens`,
    );
  return { options: options as GenerationOptions, startToken: startToken as number };
}

const NAME = 'generation_config.json';

/** Fields that change the generated text, each with the value that has no effect. */
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

/** @param called how messages call an option. @throws StepError for an unknown option or an invalid value */
export function checkOptions(options: Record<string, unknown>, called: (name: string) => string): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(generationOptions, name))
      throw new StepError(`${called(name)} is not a generation option`, `Options: ${Object.keys(generationOptions).join(', ')}.`);
    const wrong = wrongWith(name as keyof typeof generationOptions, value);
    if (wrong) throw new StepError(`${called(name)} is ${JSON.stringify(value)}, but must be ${wrong}`);
  }
}

/** What the value should be; undefined if it is valid. */
function wrongWith(name: keyof typeof generationOptions, value: unknown): string | undefined {
  if (name === 'early_stopping') return value === 'never' || typeof value === 'boolean' ? undefined : 'true, false or "never"';
  if (name === 'do_sample') return typeof value === 'boolean' ? undefined : 'true or false';
  if (name === 'stop_strings')
    return Array.isArray(value) && value.every((each) => typeof each === 'string' && each !== '')
      ? undefined
      : 'a list of texts, none of them empty';
  if (name === 'eos_token_id')
    return [value].flat().every((id) => Number.isSafeInteger(id) && (id as number) >= 0)
      ? undefined
      : 'the id of a token, or a list of ids';
  const schema: { type: string; minimum?: number; maximum?: number; exclusiveMinimum?: number } = generationOptions[name] as never;
  const kind = schema.type === 'integer' ? 'a whole number' : 'a number';
  const range = [
    ...(schema.minimum === undefined ? [] : [`of at least ${schema.minimum}`]),
    ...(schema.exclusiveMinimum === undefined ? [] : [`greater than ${schema.exclusiveMinimum}`]),
    ...(schema.maximum === undefined ? [] : [`at most ${schema.maximum}`]),
  ].join(' and ');
  const fits =
    typeof value === 'number' &&
    (schema.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)) &&
    value >= (schema.minimum ?? Number.NEGATIVE_INFINITY) &&
    value > (schema.exclusiveMinimum ?? Number.NEGATIVE_INFINITY) &&
    value <= (schema.maximum ?? Number.POSITIVE_INFINITY);
  return fits ? undefined : `${kind} ${range}`.trimEnd();
}

/** Options of a request over those of the model over defaults. @throws StepError if they conflict, or do not fit the vocabulary's size */
export function generationConfig(model: GenerationOptions, overrides: GenerationOptions, vocabulary: number): GenerationConfig {
  checkOptions(overrides as Record<string, unknown>, (name) => name);
  const { eos_token_id, ...options } = { ...model, ...overrides };
  const config: GenerationConfig = { ...DEFAULTS, ...options, eos_token_id: eos_token_id === undefined ? [] : [eos_token_id].flat() };
  const { num_beams, num_return_sequences, do_sample } = config;
  if (num_beams > vocabulary)
    throw new StepError(
      `num_beams is ${num_beams}, but the model has only ${vocabulary} tokens`,
      'Use fewer beams: each beam begins with a different token.',
    );
  if (num_beams > 1 && num_return_sequences > num_beams)
    throw new StepError(
      `num_return_sequences is ${num_return_sequences}, but num_beams is only ${num_beams}`,
      'Use more beams: each beam gives one text.',
    );
  if (num_beams === 1 && !do_sample && num_return_sequences > 1)
    throw new StepError(
      `num_return_sequences is ${num_return_sequences}, but greedy decoding gives only one text`,
      'Set do_sample, or set num_beams to at least as many.',
    );
  return config;
}

/** The length at which a sequence that began with `begun` tokens is cut off. @throws StepError if no token can be generated */
export function longest({ max_new_tokens, max_length, limit }: GenerationConfig, begun: number, context: number): number {
  if (begun >= context)
    throw new StepError(
      `the prompt has ${begun} tokens, but the context of the model holds only ${context}, including the generated ones`,
      'Shorten the prompt.',
    );
  if (max_new_tokens === undefined && max_length !== undefined && begun >= max_length)
    throw new StepError(
      `the prompt has ${begun} tokens, but max_length is ${max_length}, including the prompt`,
      'Use max_new_tokens instead of max_length.',
    );
  const wanted = max_new_tokens === undefined ? (max_length ?? begun + USUAL) : begun + max_new_tokens;
  return Math.min(wanted, begun + limit, context);
}

/** The default number of new tokens. */
const USUAL = 20;
