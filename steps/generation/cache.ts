/**
 * The KV cache: keys and values of the tokens so far, in slots of which some are free: per layer [rows, heads, slots,
 * width]. A program reads them in place and returns only those of new tokens, so that the cost of a step does not
 * grow with copying.
 */
import type { HostTensor, HostTensors } from '../runtime/runtime.ts';

export interface CacheSizes {
  layers: number;
  heads: number;
  width: number;
}

export class KeyValueCache {
  readonly #sizes: CacheSizes;
  /** By the names of the program's inputs: past_key.0, past_value.0, past_key.1 … */
  readonly #buffers = new Map<string, Float32Array<ArrayBuffer>>();
  #mask: Int32Array;
  #rows: number;
  #slots: number;
  #used = 0;

  constructor(sizes: CacheSizes, rows: number, slots: number) {
    this.#sizes = sizes;
    this.#rows = rows;
    this.#slots = slots;
    this.#mask = new Int32Array(rows * slots);
    for (let layer = 0; layer < sizes.layers; layer++)
      for (const kind of KINDS) this.#buffers.set(`past_${kind}.${layer}`, new Float32Array(rows * this.#rowSize));
  }

  get #rowSize(): number {
    return this.#sizes.heads * this.#slots * this.#sizes.width;
  }

  /** The program's inputs. They are views that are valid only until the cache changes. */
  get inputs(): HostTensors {
    const { heads, width } = this.#sizes;
    const shape = [this.#rows, heads, this.#slots, width];
    const inputs: HostTensors = { past_mask: { dtype: 'int32', shape: [this.#rows, this.#slots], data: this.#mask } };
    for (const [name, data] of this.#buffers) inputs[name] = { dtype: 'float32', shape, data };
    return inputs;
  }

  /**
   * Stores the keys and values of `tokens` new tokens of each row from a program's outputs; those whose mask is 0 are
   * padding.
   */
  append(outputs: HostTensors, mask: Int32Array, tokens: number): void {
    if (this.#used + tokens > this.#slots) this.#grow(this.#used + tokens);
    const { layers, heads, width } = this.#sizes;
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
    const { heads, width } = this.#sizes;
    const lane = this.#slots * width;
    for (let head = 0; head < heads; head++) {
      const start = (parent * heads + head) * lane;
      to.set(from.subarray(start, start + this.#used * width), (row * heads + head) * lane);
    }
  }

  /** Grows by a quarter, so that a token moves only a few times and few free slots are read. */
  #grow(least: number): void {
    const { heads, width } = this.#sizes;
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
