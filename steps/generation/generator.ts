/** A model folder that writes: prompts in, texts out, as they come or whole. */
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { preprocess, readPreprocessing, stepsOf } from '../data/preprocessing.ts';
import { loadModel, type Model } from '../models/checkpoint.ts';
import { readEncoding } from '../models/encoding.ts';
import { isGenerating } from '../models/family.ts';
import { shown } from '../models/json.ts';
import { textStream } from '../models/streaming.ts';
import { checkVocabulary, openTokenizer, type Sequence, type Tokenizer } from '../models/tokenizer.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { openDecoder } from './cached.ts';
import type { Generated } from './endings.ts';
import { type GenerationConfig, type GenerationOptions, generationConfig, longest, readGeneration } from './options.ts';
import { search } from './search.ts';

export interface GeneratedText extends Generated {
  text: string;
}

export interface Watching {
  /** Pieces of texts as they are certain: never half a character. `place` is that of the text among those returned. */
  onText?: (place: number, piece: string) => void | Promise<void>;
  signal?: AbortSignal | undefined;
  /** No text gets more tokens, whatever the options and the model's own say. */
  limit?: number;
}

export interface Generator {
  /** @throws StepError for a prompt that nothing can be generated from */
  encode(prompt: string, options: GenerationOptions): Promise<number[]>;
  /** Texts to encoded prompts, all at once: `num_return_sequences` of each. */
  generate(prompts: readonly (readonly number[])[], options: GenerationOptions, watching?: Watching): Promise<GeneratedText[]>;
  close(): Promise<void>;
}

/** `packed`: for many texts; it opens slower, and is faster then. */
export async function openGenerator(given: string, runtime: Runtime, { packed = false } = {}): Promise<Generator> {
  const folder = path.resolve(given);
  const model = await loadModel(folder);
  if (!isGenerating(model.task))
    throw new StepError(`${shown(folder)} holds a model for ${model.task}, which writes no text`, 'Ask it with `tunesmith predict`.');
  return generatorOf(model, { own: folder, tokenizer: folder }, runtime, { packed });
}

/** Where lies what a model writes by beside its weights: its `generation_config.json`, and its tokenizer with how texts are cleaned. */
export interface Folders {
  own: string;
  tokenizer: string;
}

/** Of a model that is in memory, with the weights that it has now. */
export async function generatorOf(model: Model, folders: Folders, runtime: Runtime, { packed = false } = {}): Promise<Generator> {
  const tokenizer = await openTokenizer(folders.tokenizer, {});
  checkVocabulary(tokenizer, model.config.vocab_size);
  const { fields } = await readEncoding(folders.tokenizer);
  const preprocessing = stepsOf(await readPreprocessing(folders.tokenizer), fields?.text ?? 'text');
  const { options: own, startToken } = await readGeneration(folders.own, model);
  const decoder = openDecoder(model, runtime, { startToken, packed });
  const configOf = (options: GenerationOptions): GenerationConfig => generationConfig(own, options, decoder.vocabulary);

  return {
    async encode(prompt, options) {
      const text = await preprocess(prompt, preprocessing);
      const ids = text === '' ? [] : await idsOf(text!, model, tokenizer);
      if (ids.length === 0)
        throw new StepError(
          `the prompt is empty${prompt === '' ? '' : ' once it is cleaned as the training texts were'}`,
          'Give it something to go on with.',
        );
      longest(configOf(options), model.task === 'seq2seq' ? 1 : ids.length, decoder.context);
      return ids;
    },

    async generate(prompts, options, { onText, signal, limit = Number.POSITIVE_INFINITY } = {}) {
      const config = { ...configOf(options), limit };
      const streams = prompts.flatMap(() => Array.from({ length: config.num_return_sequences }, () => textStream(tokenizer)));
      const give = async (place: number, piece: string) => {
        if (piece !== '') await onText!(place, piece);
      };
      const texts = await search(decoder, prompts, {
        config,
        stops: (generated) => holdsOne(config.stop_strings, generated, tokenizer),
        ...(onText && { onToken: async (place, token) => give(place, await streams[place]!.push([token])) }),
        signal,
      });
      return Promise.all(
        texts.map(async ({ tokens, finish }, place) => {
          const text = await tokenizer.decode(tokens);
          if (onText) await give(place, config.num_beams > 1 ? text : await streams[place]!.end());
          return { text, tokens, finish };
        }),
      );
    },

    close: () => decoder.close(),
  };
}

/** As in training: what an encoder reads begins with the model's prefix, and what is gone on with has no token that ends it. */
async function idsOf(text: string, { task, file }: Model, tokenizer: Tokenizer): Promise<number[]> {
  const prefix = task === 'seq2seq' && typeof file.prefix === 'string' ? file.prefix : '';
  const [sequence] = await tokenizer.encode([prefix + text]);
  return task === 'seq2seq' ? sequence!.ids : withoutEnd(sequence!);
}

const withoutEnd = ({ ids, sequenceIds }: Sequence): number[] => ids.slice(0, sequenceIds.findLastIndex((text) => text !== null) + 1);

/** Looks at the last tokens only: what is before them was looked at as it came. */
async function holdsOne(stopStrings: readonly string[], generated: number[], tokenizer: Tokenizer): Promise<boolean> {
  const longest = Math.max(...stopStrings.map((text) => Buffer.byteLength(text)));
  const text = await tokenizer.decode(generated.slice(-(longest + LEAD)));
  return stopStrings.some((stop) => text.includes(stop));
}

/** Tokens more than a stop string can have: a decoder may treat the first ones otherwise. */
const LEAD = 4;
