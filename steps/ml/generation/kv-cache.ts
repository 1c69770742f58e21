/**
 * The KV cache: keys and values of the tokens so far, and free slots, per layer [rows, heads, slots, width]. A program reads them
 * in place and returns only those of new tokens, so that nothing is copied.
 */

import { decodingOf } from '../models/family.ts';
import type { Model } from '../models/model-folder.ts';
import type { HostTensor, HostTensors, Inference, Runtime } from '../runtime/runtime.ts';

/** A language model as a search sees it: rows of token sequences that grow by one token per step. */
export interface SearchDecoder {
  /** The size of the vocabulary. */
  readonly vocabulary: number;
  /** The maximum number of tokens of a sequence. */
  readonly context: number;
  /** Begins one row for each prompt. */
  start(prompts: readonly (readonly number[])[]): Promise<SearchRows>;
}

export interface SearchRows {
  /** What each row's sequence begins with: the prompt or, if an encoder reads the prompt, the decoder's start token. */
  readonly begun: readonly (readonly number[])[];
  /** Logits of each row's next token, [rows, vocabulary]; valid until the rows advance. */
  logits: Float32Array;
  /** Row i becomes what row `parents[i]` was, followed by `tokens[i]`. A row without children ends; a row may have several. */
  advance(parents: readonly number[], tokens: readonly number[]): Promise<void>;
}

interface CacheSizes {
  layers: number;
  heads: number;
  width: number;
}

export class KeyValueCache {
  /** By the names of the program's inputs: past_key.0, past_value.0, past_key.1 … */
  readonly #buffers = new Map<string, Float32Array<ArrayBuffer>>();
  #mask: Int32Array;
  #rows: number;
  #slots: number;
  #used = 0;

  constructor(
    private readonly sizes: CacheSizes,
    rows: number,
    slots: number,
  ) {
    this.#rows = rows;
    this.#slots = slots;
    this.#mask = new Int32Array(rows * slots);
    for (let layer = 0; layer < sizes.layers; layer++)
      for (const kind of KINDS) this.#buffers.set(`past_${kind}.${layer}`, new Float32Array(rows * this.#rowSize));
  }

  get #rowSize(): number {
    return this.sizes.heads * this.#slots * this.sizes.width;
  }

  /** The program's inputs. They are views that are valid only until the cache changes. */
  get inputs(): HostTensors {
    const { heads, width } = this.sizes;
    const shape = [this.#rows, heads, this.#slots, width];
    const inputs: HostTensors = { past_mask: { dtype: 'int32', shape: [this.#rows, this.#slots], data: this.#mask } };
    for (const [name, data] of this.#buffers) inputs[name] = { dtype: 'float32', shape, data };
    return inputs;
  }

  /** Stores the keys and values of `tokens` new tokens of each row from a program's outputs; those whose mask is 0 are padding. */
  append(outputs: HostTensors, mask: Int32Array, tokens: number): void {
    if (this.#used + tokens > this.#slots) this.#grow(this.#used + tokens);
    const { layers, heads, width } = this.sizes;
    for (let layer = 0; layer < layers; layer++) {
      for (const kind of KINDS) {
        const from = outputs[`${kind}.${layer}`]!.data as Float32Array;
        const to = this.#buffers.get(`past_${kind}.${layer}`)!;
        for (let lane = 0; lane < this.#rows * heads; lane++)
          to.set(from.subarray(lane * tokens * width, (lane + 1) * tokens * width), (lane * this.#slots + this.#used) * width);
      }
    }
    for (let row = 0; row < this.#rows; row++)
      this.#mask.set(mask.subarray(row * tokens, (row + 1) * tokens), row * this.#slots + this.#used);
    this.#used += tokens;
  }

  /** Row i becomes what row `parents[i]` was. */
  choose(parents: readonly number[]): void {
    if (parents.length === this.#rows && parents.every((parent, row) => parent === row)) return;
    const size = this.#rowSize;
    let spare = new Float32Array(0);
    for (const [name, buffer] of this.#buffers) {
      // The buffer that the previous layer no longer needs receives the next one's rows.
      const chosen = spare.length === parents.length * size ? spare : new Float32Array(parents.length * size);
      for (const [row, parent] of parents.entries()) this.#copyRow(buffer, parent, chosen, row);
      this.#buffers.set(name, chosen);
      spare = buffer;
    }
    const mask = new Int32Array(parents.length * this.#slots);
    for (const [row, parent] of parents.entries())
      mask.set(this.#mask.subarray(parent * this.#slots, (parent + 1) * this.#slots), row * this.#slots);
    this.#mask = mask;
    this.#rows = parents.length;
  }

  /** The slots that are used. */
  #copyRow(from: Float32Array, parent: number, to: Float32Array, row: number): void {
    const { heads, width } = this.sizes;
    const lane = this.#slots * width;
    for (let head = 0; head < heads; head++) {
      const start = (parent * heads + head) * lane;
      to.set(from.subarray(start, start + this.#used * width), (row * heads + head) * lane);
    }
  }

  /** Grows by a quarter, so that a token moves only a few times and few free slots are read. */
  #grow(least: number): void {
    const { heads, width } = this.sizes;
    const slots = Math.max(least + ROOM, Math.ceil(this.#slots * 1.25));
    for (const [name, buffer] of this.#buffers) {
      const larger = new Float32Array(this.#rows * heads * slots * width);
      for (let lane = 0; lane < this.#rows * heads; lane++)
        larger.set(buffer.subarray(lane * this.#slots * width, (lane * this.#slots + this.#used) * width), lane * slots * width);
      this.#buffers.set(name, larger);
    }
    const mask = new Int32Array(this.#rows * slots);
    for (let row = 0; row < this.#rows; row++)
      mask.set(this.#mask.subarray(row * this.#slots, row * this.#slots + this.#used), row * slots);
    this.#mask = mask;
    this.#slots = slots;
  }
}

const KINDS = ['key', 'value'] as const;

/** Free slots of a new cache, besides those of the prompts. */
export const ROOM = 32;

/** The rows `parents` of a tensor [rows, …], in that order. */
export function rowsOf({ dtype, shape, data }: HostTensor, parents: readonly number[]): HostTensor {
  const size = data.length / shape[0]!;
  const chosen = new (data.constructor as Float32ArrayConstructor)(parents.length * size);
  for (const [row, parent] of parents.entries()) chosen.set(data.subarray(parent * size, (parent + 1) * size) as Float32Array, row * size);
  return { dtype, shape: [parents.length, ...shape.slice(1)], data: chosen };
}

/**
 * A generating model as a search sees it. `startToken`: the first of an encoder-decoder's texts. `packed`: opens slowly, then
 * runs faster.
 */
export function openDecoder(
  model: Model,
  runtime: Runtime,
  { startToken, packed = false }: { startToken: number; packed?: boolean },
): SearchDecoder & { close(): Promise<void> } {
  const { cache: sizes, encode, decode } = decodingOf(model)!;
  const decoding = runtime.inference(decode.program, model.weights, decode.axes, { packed });
  const encoding = encode && runtime.inference(encode.program, model.weights, encode.axes);
  return {
    vocabulary: model.config.vocab_size,
    context: encoding ? Number.POSITIVE_INFINITY : model.family.maxLength(model.config),

    async start(prompts) {
      if (!encoding) return begin(prompts, undefined);
      const source = paddedRight(prompts, model.config.pad_token_id);
      const states = await encoding.run(source);
      return begin(
        prompts.map(() => [startToken]),
        { ...states, encoder_attention_mask: source.attention_mask! },
      );
    },

    async close() {
      await decoding.dispose();
      await encoding?.dispose();
    },
  };

  async function begin(begun: readonly (readonly number[])[], source: HostTensors | undefined): Promise<SearchRows> {
    const slots = ROOM + Math.max(...begun.map(({ length }) => length));
    const rows = new CachedRows(decoding, new KeyValueCache(sizes, begun.length, slots), begun, source);
    await rows.read(begun);
    return rows;
  }
}

class CachedRows implements SearchRows {
  logits: Float32Array = new Float32Array(0);
  /** The encoder's output for the prompts, [rows, …]; that of a row is at `#prompts[row]`. */
  #source: HostTensors | undefined;
  #prompts: number[];
  /** The number of tokens of each row so far. */
  #lengths: number[];

  constructor(
    private readonly decoding: Inference,
    private readonly cache: KeyValueCache,
    readonly begun: readonly (readonly number[])[],
    source: HostTensors | undefined,
  ) {
    this.#source = source;
    this.#prompts = begun.map((_, row) => row);
    this.#lengths = begun.map(() => 0);
  }

  async advance(parents: readonly number[], tokens: readonly number[]): Promise<void> {
    this.cache.choose(parents);
    this.#lengths = parents.map((parent) => this.#lengths[parent]!);
    const prompts = parents.map((parent) => this.#prompts[parent]!);
    // Beams of one prompt read the same encoder output.
    if (this.#source && (prompts.length !== this.#prompts.length || prompts.some((prompt, row) => prompt !== this.#prompts[row])))
      this.#source = Object.fromEntries(Object.entries(this.#source).map(([name, tensor]) => [name, rowsOf(tensor, parents)]));
    this.#prompts = prompts;
    await this.read(tokens.map((token) => [token]));
  }

  /** Appends tokens to each row, with padding before those of short rows, so that the next slots of all rows are the same. */
  async read(tokens: readonly (readonly number[])[]): Promise<void> {
    const width = Math.max(...tokens.map(({ length }) => length));
    const ids = new Int32Array(tokens.length * width);
    const mask = new Int32Array(tokens.length * width);
    const positions = new Int32Array(tokens.length * width);
    for (const [row, own] of tokens.entries()) {
      const start = (row + 1) * width - own.length;
      ids.set(own, start);
      mask.fill(1, start, start + own.length);
      for (let i = 0; i < own.length; i++) positions[start + i] = this.#lengths[row]! + i;
      this.#lengths[row]! += own.length;
    }
    const shape = [tokens.length, width];
    const outputs = await this.decoding.run({
      input_ids: { dtype: 'int32', shape, data: ids },
      attention_mask: { dtype: 'int32', shape, data: mask },
      position_ids: { dtype: 'int32', shape, data: positions },
      // All slots are free at first, so that one graph reads prompts and later tokens.
      ...this.cache.inputs,
      ...this.#source,
    });
    this.cache.append(outputs, mask, width);
    this.logits = outputs.logits!.data as Float32Array;
  }
}

function paddedRight(prompts: readonly (readonly number[])[], padding: number): Record<'input_ids' | 'attention_mask', HostTensor> {
  const width = Math.max(...prompts.map(({ length }) => length));
  const shape = [prompts.length, width];
  const ids = new Int32Array(prompts.length * width).fill(padding);
  const mask = new Int32Array(prompts.length * width);
  for (const [row, prompt] of prompts.entries()) {
    ids.set(prompt, row * width);
    mask.fill(1, row * width, row * width + prompt.length);
  }
  return { input_ids: { dtype: 'int32', shape, data: ids }, attention_mask: { dtype: 'int32', shape, data: mask } };
}
