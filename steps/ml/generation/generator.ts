/** Generates texts from a model folder, streamed or whole. */

import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { quantizationOf } from '../answering/bundle.ts';
import { int8Files } from '../answering/int8-files.ts';
import { type Preprocessing, readPreprocessing } from '../data/preprocessing.ts';
import { isGenerating } from '../models/config.ts';
import { decodingOf } from '../models/family.ts';
import { shown } from '../models/json.ts';
import { type DescribedModel, describedOf, describeModel, loadModel, type Model } from '../models/model-folder.ts';
import type { Encoding } from '../models/token-dataset.ts';
import { checkVocabulary, type Tokenizer } from '../models/tokenizer.ts';
import { decodingFromFiles } from '../runtime/onnx/decoder-file.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type EncodedInput, type Encoder, openEncoder, readEncoding } from '../tasks/encoder.ts';
import { decoderOf, openDecoder, readAtOnce, type SearchDecoder } from './decoder.ts';
import { mostSlots } from './kv-cache.ts';
import { type GenerationConfig, type GenerationOptions, generationConfig, longest, readGeneration } from './options.ts';
import { completesStop, type GeneratedTokens, search, type TokenPrediction } from './search.ts';

export interface GeneratedText extends GeneratedTokens {
  text: string;
  /** If predictions were asked for. */
  details?: TokenDetails[];
}

/** A token, and what the model predicted in its place. */
export interface TokenDetails {
  id: number;
  /** The text that is complete with this token, often none: the texts of all tokens but special ones are the generated text. */
  text: string;
  special: boolean;
  logprob: number;
  top: { id: number; text: string; special: boolean; logprob: number }[];
}

export type Generator = Awaited<ReturnType<typeof generatorOf>>;

/** What a call of `generate` takes at most. */
export interface GenerationNeed {
  prompts: number;
  /** Tokens of the longest prompt. */
  prompt: number;
  /** Texts and beams. */
  rows: number;
  /** Tokens of the longest text, including those that it begins with. */
  tokens: number;
}

/** `packed`: for many texts; it opens more slowly, and then runs faster. */
export async function openGenerator(given: string, runtime: Runtime, { packed = false } = {}) {
  const folder = path.resolve(given);
  const described = await describeModel(folder);
  if (!isGenerating(described.task))
    throw new StepError(`${shown(folder)} contains a model for ${described.task}, which generates no text`, 'Use `tunesmith predict`.');
  // A bundle in int8 is read without the weights before quantization.
  const model = (await quantizationOf(folder)) === 'int8' ? described : await loadModel(folder);
  return generatorOf(model, { own: folder, tokenizer: folder }, runtime, { packed });
}

/** The folders of what a model needs besides its weights: `generation_config.json`, and the tokenizer with its preprocessing. */
export interface Folders {
  own: string;
  tokenizer: string;
}

/**
 * Generates with a model in memory. `usualLength`: of new tokens, unless options, generation_config.json or the training set it.
 * `preprocessing`: of prompts; default: that of the tokenizer's folder.
 */
export async function generatorOf(
  given: DescribedModel | Model,
  folders: Folders,
  runtime: Runtime,
  {
    packed = false,
    usualLength,
    preprocessing,
  }: { packed?: boolean; usualLength?: number | undefined; preprocessing?: Preprocessing } = {},
) {
  const model = describedOf(given);
  const encoding = await readEncoding(folders.tokenizer);
  const encoder = await promptEncoder(model, folders.tokenizer, encoding, preprocessing ?? (await readPreprocessing(folders.tokenizer)));
  const { tokenizer } = encoder;
  const { options: own, startToken } = await readGeneration(folders.own, model);
  const int8 = await int8Files(folders.own);
  const decoder = int8
    ? decoderOf(model, await decodingFromFiles(int8, runtime.threads), startToken)
    : openDecoder('weights' in given ? given : await loadModel(folders.own), runtime, { startToken, packed });
  const usual = encoding.max_target_length ?? usualLength;
  const configOf = (options: GenerationOptions): GenerationConfig => {
    const config = generationConfig(own, options, decoder.vocabulary);
    return config.max_new_tokens === undefined && config.max_length === undefined ? { ...config, max_new_tokens: usual } : config;
  };

  return {
    /** The column of the prompts of the training data, in the files and in the table, if it is known. */
    columns: [encoding.files?.text, encoding.fields?.text].filter((name) => name !== undefined),
    config: configOf,

    /** `cleaned`: the prompt is from a table, and so is cleaned already. @throws StepError for one that nothing can be generated from */
    async encode(prompt: string, options: GenerationOptions, { cleaned = false } = {}) {
      const { input, sequences } = cleaned ? await readCleaned(encoder, { text: prompt }) : await encoder.encode({ text: prompt });
      const { ids } = sequences[0]!;
      // An encoder accepts an empty text; a decoder alone has nothing to continue.
      if (ids.length === 0 || (model.task === 'causal-lm' && input.text === ''))
        throw new StepError(
          `the prompt is empty${prompt === '' ? '' : ' after the preprocessing of the training texts'}`,
          'Enter a prompt to continue.',
        );
      longest(configOf(options), model.task === 'seq2seq' ? 1 : ids.length, decoder.context);
      return ids;
    },

    /** A prompt that is given as tokens, with its text. @throws StepError if nothing can be generated from it */
    async take(ids: readonly number[], options: GenerationOptions): Promise<string> {
      const odd = ids.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= model.config.vocab_size);
      if (odd !== undefined)
        throw new StepError(`the prompt has the token ${odd}, but the model has the tokens 0 to ${model.config.vocab_size - 1}`);
      if (ids.length === 0) throw new StepError('the prompt has no tokens');
      longest(configOf(options), model.task === 'seq2seq' ? 1 : ids.length, decoder.context);
      return tokenizer.decode([...ids]);
    },

    need(prompts: readonly (readonly number[])[], options: GenerationOptions, limit: number): GenerationNeed {
      const config = { ...configOf(options), limit };
      const prompt = Math.max(...prompts.map(({ length }) => length));
      const tokens = longest(config, model.task === 'seq2seq' ? 1 : prompt, decoder.context);
      return { prompts: prompts.length, prompt, rows: prompts.length * Math.max(config.num_beams, config.num_return_sequences), tokens };
    },

    memory: (needs: readonly GenerationNeed[]) => memoryOf(model, needs),

    /** Generates texts for encoded prompts, `num_return_sequences` for each, in one batch with all calls at the same time. */
    generate: (
      prompts: readonly (readonly number[])[],
      options: GenerationOptions,
      { limit = Number.POSITIVE_INFINITY, ...watching }: Watching = {},
    ) => generateTexts(prompts, { ...configOf(options), limit }, watching, { decoder, tokenizer }),

    close: () => decoder.close(),
  };
}

/**
 * The maximum memory of several calls of `generate` at the same time, in bytes, as estimated: keys and values of all tokens, in as
 * many slots for each row as the longest needs, and the attention of the prompts.
 */
function memoryOf(model: DescribedModel, needs: readonly GenerationNeed[]): number {
  const { layers, heads, width } = decodingOf(model)!.cache;
  const read = model.task === 'seq2seq';
  const most = (of: (need: GenerationNeed) => number) => Math.max(...needs.map(of));
  const rows = needs.reduce((sum, need) => sum + need.rows, 0);
  const slots = mostSlots(most(({ tokens }) => tokens)) + (read ? mostSlots(most(({ prompt }) => prompt)) : 0);
  const attention = most(({ prompts, prompt }) => prompts * heads * prompt * (read ? prompt : readAtOnce(prompts)));
  return 4 * (rows * slots * layers * 2 * heads * width + attention);
}

async function generateTexts(
  prompts: readonly (readonly number[])[],
  config: GenerationConfig,
  { onText, signal, predictions }: Omit<Watching, 'limit'>,
  { decoder, tokenizer }: { decoder: SearchDecoder; tokenizer: Tokenizer },
): Promise<GeneratedText[]> {
  const streams = prompts.flatMap(() =>
    Array.from({ length: config.num_return_sequences }, () => ({ stream: textStream(tokenizer), details: [] as TokenDetails[] })),
  );
  const give = async (place: number, piece: string, token?: TokenDetails) => {
    if (piece !== '' || token) await onText?.(place, piece, token);
  };
  const onToken = async (place: number, id: number, prediction: TokenPrediction | undefined) => {
    const { stream, details } = streams[place]!;
    const piece = await stream.push([id]);
    const token = prediction && (await tokenDetails(id, piece, prediction, tokenizer));
    if (token) details.push(token);
    await give(place, piece, token);
  };
  const texts = await search(decoder, prompts, {
    config,
    stops: (tokens) => completesStop(tokens, config.stop_strings, tokenizer.decode),
    ...((onText || predictions !== undefined) && { onToken }),
    predictions,
    signal,
  });
  return Promise.all(
    texts.map(async ({ tokens, finish }, place) => {
      const text = await tokenizer.decode(tokens);
      const { stream, details } = streams[place]!;
      const rest = config.num_beams > 1 ? text : await stream.end();
      if (onText) await give(place, rest);
      const last = details.findLast(({ special }) => !special);
      if (last) last.text += rest;
      return { text, tokens, finish, ...(predictions !== undefined && { details }) };
    }),
  );
}

async function tokenDetails(id: number, piece: string, { logprob, top }: TokenPrediction, tokenizer: Tokenizer): Promise<TokenDetails> {
  const isSpecial = (one: number) => tokenizer.specialIds.includes(one);
  const others = top.map(async (other) => ({ ...other, text: await tokenizer.decodeToken(other.id), special: isSpecial(other.id) }));
  return { id, text: isSpecial(id) ? tokenizer.tokenOf(id) : piece, special: isSpecial(id), logprob, top: await Promise.all(others) };
}

async function readCleaned(encoder: Encoder, input: { text: string }): Promise<EncodedInput> {
  const [sequences] = await encoder.read([input]);
  if (sequences instanceof StepError) throw sequences;
  return { input, sequences: sequences! };
}

async function promptEncoder(model: DescribedModel, folder: string, encoding: Partial<Encoding>, preprocessing: Preprocessing) {
  const encoder = await openEncoder({
    folder,
    task: model.task,
    // transformers keeps the prefix of input texts in config.json.
    encoding: { ...(typeof model.file.prefix === 'string' && { prefix: model.file.prefix }), ...encoding },
    preprocessing,
    padTokenId: model.config.pad_token_id,
  });
  checkVocabulary(encoder.tokenizer, model.config.vocab_size);
  return encoder;
}

interface Watching {
  /** Receives pieces of texts as soon as they are final: never half a character. `place` is the index of the text among the results. */
  onText?: (place: number, piece: string, token?: TokenDetails) => void | Promise<void>;
  /** Asks for the details of all tokens, each with so many likely tokens. Beam search has none. Every token is then given, also without a piece. */
  predictions?: number | undefined;
  signal?: AbortSignal | undefined;
  /** The maximum number of new tokens, whatever the options and the model's own settings are. */
  limit?: number;
}

/** Decodes tokens as they come. A character of several tokens waits until it is complete: the pieces equal the decoding of all tokens. */
export function textStream(tokenizer: Pick<Tokenizer, 'decode' | 'idOf' | 'specialIds'>) {
  const special = new Set(tokenizer.specialIds);
  const bytes = byteTokens(tokenizer);
  /** Tokens that may still affect later text: some whose text was emitted, and those that wait. */
  let window: number[] = [];
  /** The part of the window's text that was emitted. */
  let given = '';

  const giveOut = (text: string): string => {
    // If a decoder changes earlier text, wait: nothing is taken back.
    if (!text.startsWith(given)) return '';
    const fresh = text.slice(given.length);
    given = text;
    return fresh;
  };

  return {
    /** The text that has become final; often empty. */
    async push(ids: readonly number[]): Promise<string> {
      window.push(...ids.filter((id) => !special.has(id)));
      // A run of byte tokens is decoded as a whole, and one invalid byte changes all of it, so it is final only at
      // its end.
      let certain = window.length;
      while (certain > 0 && bytes.has(window[certain - 1]!)) certain--;
      const text = await tokenizer.decode(window.slice(0, certain));
      // At the end it is usually the first bytes of a character.
      const whole = text.endsWith(REPLACEMENT) ? text.slice(0, -1) : text;
      const fresh = giveOut(whole);
      if (window.length > LONGEST && certain === window.length && whole === text && given === text) {
        window = window.slice(-CONTEXT);
        given = await tokenizer.decode(window);
      }
      return fresh;
    },
    /** The text that was waiting for more tokens; nothing may be pushed afterwards. */
    async end(): Promise<string> {
      return giveOut(await tokenizer.decode(window));
    },
  };
}

const REPLACEMENT = '\ufffd';

/** A window that became this long is cut to its last tokens, which show the decoder that later text is not the beginning. */
const LONGEST = 64;
const CONTEXT = 16;

/** SentencePiece's tokens for single bytes, <0x00> to <0xFF>: none in most vocabularies. */
function byteTokens({ idOf }: Pick<Tokenizer, 'idOf'>): Set<number> {
  const ids = Array.from({ length: 256 }, (_, byte) => idOf(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`));
  return new Set(ids.filter((id) => id !== undefined));
}
