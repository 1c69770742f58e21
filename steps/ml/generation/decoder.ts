/**
 * A generating model as searches see it. Searches that run at the same time share the runs of the model: each step appends one
 * token to every row of all of them. A search joins once its prompts are read, a part of them between two steps, and leaves with
 * its end. Its tokens do not depend on the others.
 */

import { decodingOf } from '../models/family.ts';
import { type DescribedModel, describedOf, type Model } from '../models/model-folder.ts';
import type { HostTensors, Inference, Runtime } from '../runtime/runtime.ts';
import { type CacheRow, KeyValueCache } from './kv-cache.ts';

/** A language model as a search sees it: rows of token sequences that grow by one token per step. */
export interface SearchDecoder {
  /** The size of the vocabulary. */
  readonly vocabulary: number;
  /** The maximum number of tokens of a sequence. */
  readonly context: number;
  /** Begins one row for each prompt. Rejects with the signal's reason once that is aborted. */
  start(prompts: readonly (readonly number[])[], signal?: AbortSignal): Promise<SearchRows>;
}

export interface SearchRows {
  /** What each row's sequence begins with: the prompt or, if an encoder reads the prompt, the decoder's start token. */
  readonly begun: readonly (readonly number[])[];
  /** Logits of each row's next token, [rows, vocabulary]; valid until the rows advance. */
  logits: Float32Array;
  /** Row i becomes what row `parents[i]` was, followed by `tokens[i]`. A row without children ends; a row may have several. */
  advance(parents: readonly number[], tokens: readonly number[]): Promise<void>;
  /** All rows end: the steps of other searches wait for this one until then. */
  end(): void;
}

/** What runs the programs of `decodingOf`. */
interface Inferences {
  decode: Inference;
  encode?: Inference | undefined;
}

/** `startToken`: the first of an encoder-decoder's texts. `packed`: opens slowly, then runs faster. */
export function openDecoder(model: Model, runtime: Runtime, { startToken, packed = false }: { startToken: number; packed?: boolean }) {
  const { encode, decode } = decodingOf(model)!;
  const inferences = {
    decode: runtime.inference(decode.program, model.weights, decode.axes, { packed }),
    encode: encode && runtime.inference(encode.program, model.weights, encode.axes, { packed }),
  };
  return decoderOf(describedOf(model), inferences, startToken);
}

export function decoderOf(
  model: DescribedModel,
  { decode: decoding, encode: encoding }: Inferences,
  startToken: number,
): SearchDecoder & { close(): Promise<void> } {
  const { cache: sizes } = decodingOf(model)!;
  const newCache = () => new KeyValueCache({ ...sizes, source: encoding !== undefined });
  const steps = new Steps(decoding, newCache());
  return {
    vocabulary: model.config.vocab_size,
    context: encoding ? Number.POSITIVE_INFINITY : model.family.maxLength(model.config),

    async start(prompts, signal) {
      const cache = newCache();
      cache.begin(prompts.length);
      const lengths = prompts.map(({ length }) => length);
      if (encoding) cache.read(await encoding.run(paddedRight(prompts, lengths, model.config.pad_token_id)), lengths);
      return steps.join(encoding ? prompts.map(() => [startToken]) : prompts, cache, signal);
    },

    async close() {
      await steps.idle;
      await decoding.dispose();
      await encoding?.dispose();
    },
  };
}

/** Prompts that are read. */
interface Reading {
  prompts: readonly (readonly number[])[];
  cache: KeyValueCache;
  /** The number of tokens of each prompt that are read. */
  read: number;
  logits: Float32Array[];
  signal: AbortSignal | undefined;
  resolve(rows: SearchRows): void;
  reject(reason: unknown): void;
}

/** Tokens of each prompt of a search that are read at once: other searches wait for as long. */
export const readAtOnce = (prompts: number): number => Math.max(16, Math.ceil(128 / prompts));

/** Runs the model for all searches, once at a time. */
class Steps {
  /** Settles when nothing runs. */
  idle: Promise<void> = Promise.resolve();
  readonly #reading: Reading[] = [];
  readonly #searches = new Set<JoinedRows>();
  #running = false;

  constructor(
    private readonly decoding: Inference,
    readonly cache: KeyValueCache,
  ) {}

  join(prompts: readonly (readonly number[])[], cache: KeyValueCache, signal: AbortSignal | undefined): Promise<SearchRows> {
    return new Promise((resolve, reject) => {
      this.#reading.push({ prompts, cache, read: 0, logits: [], signal, resolve, reject });
      this.go();
    });
  }

  leave(search: JoinedRows): void {
    this.#searches.delete(search);
    this.go();
  }

  /** Called whenever there may be something to do. */
  go(): void {
    if (this.#running) return;
    this.#running = true;
    this.idle = this.#run();
  }

  /** Reads a part of one search's prompts, then takes a step, until all searches choose tokens. */
  async #run(): Promise<void> {
    while (this.#running) {
      const reading = this.#reading.shift();
      if (reading) await this.#read(reading);
      const searches = [...this.#searches];
      if (searches.length > 0 && searches.every(({ chosen }) => chosen)) await this.#step(searches);
      else this.#running = this.#reading.length > 0;
    }
  }

  async #read(reading: Reading): Promise<void> {
    const { prompts, cache, read, signal } = reading;
    try {
      signal?.throwIfAborted();
      const end = read + readAtOnce(prompts.length);
      const tokens = prompts.map((prompt) => prompt.slice(read, end));
      const logits = await this.#append(cache, tokens);
      for (const [row, { length }] of tokens.entries()) if (length > 0) reading.logits[row] = logits(row);
      reading.read = end;
      if (prompts.some(({ length }) => length > end)) this.#reading.push(reading);
      else {
        const search = new JoinedRows(this, prompts, this.cache.copy(cache));
        search.take(reading.logits);
        this.#searches.add(search);
        reading.resolve(search);
      }
    } catch (error) {
      reading.reject(error);
    }
  }

  /** If the model fails with all rows together, each search takes the step alone, so that only those fail that cause it. */
  async #step(searches: readonly JoinedRows[]): Promise<void> {
    const next: number[][] = this.cache.rows.map(() => []);
    for (const { rows, chosen } of searches) for (const [i, row] of rows.entries()) next[row.at] = [chosen!.tokens[i]!];
    try {
      const logits = await this.#append(this.cache, next);
      for (const search of searches) search.take(search.rows.map(({ at }) => logits(at)));
    } catch (error) {
      if (searches.length === 1) searches[0]!.fail(error);
      else for (const search of searches) await this.#stepAlone(search);
    }
  }

  async #stepAlone(search: JoinedRows): Promise<void> {
    const alone = this.cache.copyOf(search.rows);
    try {
      const logits = await this.#append(
        alone,
        search.chosen!.tokens.map((token) => [token]),
      );
      this.cache.remove(search.rows);
      search.rows = this.cache.copy(alone);
      search.take(search.rows.map((_, row) => logits(row)));
    } catch (error) {
      search.fail(error);
    }
  }

  /** Appends tokens to each row. Returns the logits of a row's next token. */
  async #append(cache: KeyValueCache, tokens: readonly (readonly number[])[]): Promise<(row: number) => Float32Array> {
    const lengths = tokens.map(({ length }) => length);
    const inputs = paddedRight(tokens, lengths, 0);
    const { shape } = inputs.input_ids;
    const positions = new Int32Array(shape[0]! * shape[1]!);
    for (const [row, length] of lengths.entries())
      for (let i = 0; i < length; i++) positions[row * shape[1]! + i] = cache.lengthOf(cache.rows[row]!) + i;
    const position_ids = { dtype: 'int32' as const, shape, data: positions };
    // All slots are free at first, so that one graph reads prompts and later tokens.
    const outputs = await this.decoding.run({ ...inputs, position_ids, ...cache.inputs });
    cache.append(outputs, lengths);
    const { data } = outputs.logits!;
    const vocabulary = data.length / tokens.length;
    return (row) => (data as Float32Array).subarray(row * vocabulary, (row + 1) * vocabulary);
  }
}

/** The rows of one search among those of all. */
class JoinedRows implements SearchRows {
  logits = new Float32Array(0);
  /** The tokens of its next step, once it has chosen them. */
  chosen: { tokens: readonly number[]; resolve(): void; reject(error: unknown): void } | undefined;

  constructor(
    private readonly steps: Steps,
    readonly begun: readonly (readonly number[])[],
    public rows: CacheRow[],
  ) {}

  advance(parents: readonly number[], tokens: readonly number[]): Promise<void> {
    this.rows = this.steps.cache.choose(this.rows, parents);
    return new Promise((resolve, reject) => {
      this.chosen = { tokens, resolve, reject };
      this.steps.go();
    });
  }

  end(): void {
    this.steps.cache.remove(this.rows);
    this.rows = [];
    this.steps.leave(this);
  }

  take(logits: readonly Float32Array[]): void {
    const width = logits[0]!.length;
    if (this.logits.length !== logits.length * width) this.logits = new Float32Array(logits.length * width);
    for (const [row, own] of logits.entries()) this.logits.set(own, row * width);
    const chosen = this.chosen;
    this.chosen = undefined;
    chosen?.resolve();
  }

  fail(error: unknown): void {
    const chosen = this.chosen;
    this.chosen = undefined;
    chosen?.reject(error);
  }
}

function paddedRight(
  rows: readonly (readonly number[])[],
  lengths: readonly number[],
  padding: number,
): Record<'input_ids' | 'attention_mask', HostTensors[string]> {
  const width = Math.max(...lengths);
  const shape = [rows.length, width];
  const ids = new Int32Array(rows.length * width).fill(padding);
  const mask = new Int32Array(rows.length * width);
  for (const [row, own] of rows.entries()) {
    ids.set(own, row * width);
    mask.fill(1, row * width, row * width + own.length);
  }
  return { input_ids: { dtype: 'int32', shape, data: ids }, attention_mask: { dtype: 'int32', shape, data: mask } };
}
