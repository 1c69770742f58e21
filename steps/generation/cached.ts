/** A generating model as a search sees it: its decoder's program in a runtime, with a KV cache. */
import type { Model } from '../models/checkpoint.ts';
import { decodingOf } from '../models/decoding.ts';
import type { HostTensor, HostTensors, Inference, Runtime } from '../runtime/runtime.ts';
import { KeyValueCache, ROOM, rowsOf } from './cache.ts';
import type { Decoder, Rows } from './decoder.ts';

export interface CachedDecoder extends Decoder {
  close(): Promise<void>;
}

export interface DecoderOptions {
  /** The first token of an encoder-decoder's texts. */
  startToken: number;
  /** For many texts: it opens more slowly, and then runs faster. */
  packed?: boolean;
}

export function openDecoder(model: Model, runtime: Runtime, { startToken, packed = false }: DecoderOptions): CachedDecoder {
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

  async function begin(begun: readonly (readonly number[])[], source: HostTensors | undefined): Promise<Rows> {
    const rows = new CachedRows(decoding, new KeyValueCache(sizes, begun.length, ROOM + Math.max(...begun.map(({ length }) => length))), {
      begun,
      source,
    });
    await rows.read(begun);
    return rows;
  }
}

class CachedRows implements Rows {
  readonly begun: readonly (readonly number[])[];
  logits: Float32Array = new Float32Array(0);
  readonly #decoding: Inference;
  readonly #cache: KeyValueCache;
  /** The encoder's output for the prompts, [rows, …]; that of a row is at `#prompts[row]`. */
  #source: HostTensors | undefined;
  #prompts: number[];
  /** The number of tokens of each row so far. */
  #lengths: number[];

  constructor(
    decoding: Inference,
    cache: KeyValueCache,
    { begun, source }: { begun: readonly (readonly number[])[]; source: HostTensors | undefined },
  ) {
    this.begun = begun;
    this.#decoding = decoding;
    this.#cache = cache;
    this.#source = source;
    this.#prompts = begun.map((_, row) => row);
    this.#lengths = begun.map(() => 0);
  }

  async advance(parents: readonly number[], tokens: readonly number[]): Promise<void> {
    this.#cache.choose(parents);
    this.#lengths = parents.map((parent) => this.#lengths[parent]!);
    const prompts = parents.map((parent) => this.#prompts[parent]!);
    // Beams of one prompt read the same encoder output.
    if (this.#source && (prompts.length !== this.#prompts.length || prompts.some((prompt, row) => prompt !== this.#prompts[row])))
      this.#source = Object.fromEntries(Object.entries(this.#source).map(([name, tensor]) => [name, rowsOf(tensor, parents)]));
    this.#prompts = prompts;
    await this.read(tokens.map((token) => [token]));
  }

  /**
   * Appends tokens to each row, with padding before those of short rows, so that the next slots of all rows are the
   * same.
   */
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
    const outputs = await this.#decoding.run({
      input_ids: { dtype: 'int32', shape, data: ids },
      attention_mask: { dtype: 'int32', shape, data: mask },
      position_ids: { dtype: 'int32', shape, data: positions },
      // All slots are free at first, so that one graph reads prompts and later tokens.
      ...this.#cache.inputs,
      ...this.#source,
    });
    this.#cache.append(outputs, mask, width);
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
