/**
 * The KV cache: keys and values of the tokens of each row so far, and free slots, per layer [rows, heads, slots, width]. A program
 * reads them in place and returns only those of new tokens, so that little is copied. Rows come and go one by one.
 */

import type { HostTensors } from '../runtime/runtime.ts';

interface CacheSizes {
  layers: number;
  heads: number;
  width: number;
  /** Whether an encoder reads the prompts, whose keys and values are then kept, too. */
  source: boolean;
}

/** The sequence of a text. A cache moves its rows. */
export interface CacheRow {
  /** Its index in the inputs and outputs of a program. */
  at: number;
}

export class KeyValueCache {
  readonly #rows: CacheRow[] = [];
  /** Of the rows' own tokens. */
  readonly #own: Slots;
  /** Of the tokens of their prompts, if an encoder reads those. */
  readonly #source: Slots | undefined;

  constructor(private readonly sizes: CacheSizes) {
    this.#own = new Slots(sizes, 'past_', 'past_mask');
    if (sizes.source) this.#source = new Slots(sizes, 'cross_', 'encoder_attention_mask');
  }

  /** In the order of a program's inputs and outputs. */
  get rows(): readonly CacheRow[] {
    return this.#rows;
  }

  /** The tokens of a row so far. */
  lengthOf({ at }: CacheRow): number {
    return this.#own.lengths[at]!;
  }

  /** The program's inputs. They are views that are valid only until the cache changes. */
  get inputs(): HostTensors {
    return { ...this.#own.inputs(this.#rows.length), ...this.#source?.inputs(this.#rows.length) };
  }

  /** Adds rows without tokens. */
  begin(count: number): void {
    this.#fit(count, () => 1);
    for (let i = 0; i < count; i++) this.#add();
  }

  /** Stores an encoder's output for the prompts of all rows. `lengths`: of the prompts, whose padding is on the right. */
  read(outputs: HostTensors, lengths: readonly number[]): void {
    this.#source!.append(outputs, 'cross_', lengths);
  }

  /** Stores the keys and values of new tokens of all rows from a program's outputs; `lengths`: how many each row has, before padding. */
  append(outputs: HostTensors, lengths: readonly number[]): void {
    this.#own.append(outputs, '', lengths);
  }

  /** Copies the rows of another cache, by default all of them. */
  copy(other: KeyValueCache, rows: readonly CacheRow[] = other.#rows): CacheRow[] {
    this.#fit(rows.length, (i) => other.#all[i]!.used(rows));
    return rows.map((row) => {
      const copy = this.#add();
      for (const [i, slots] of this.#all.entries()) slots.copyRow(other.#all[i]!, row.at, copy.at);
      return copy;
    });
  }

  /** A cache with copies of these rows. */
  copyOf(rows: readonly CacheRow[]): KeyValueCache {
    const cache = new KeyValueCache(this.sizes);
    cache.copy(this, rows);
    return cache;
  }

  /** Some rows with those that are copied from them: the i-th is what `rows[parents[i]]` is. A row without children ends. */
  choose(rows: readonly CacheRow[], parents: readonly number[]): CacheRow[] {
    const kept = new Set(parents.map((parent) => rows[parent]!));
    this.#drop(rows.filter((row) => !kept.has(row)));
    return parents.map((parent) => {
      const row = rows[parent]!;
      return kept.delete(row) ? row : this.copy(this, [row])[0]!;
    });
  }

  /** Removes rows and frees memory. */
  remove(rows: readonly CacheRow[]): void {
    this.#drop(rows);
    this.#fit(0, () => 0);
  }

  #drop(rows: readonly CacheRow[]): void {
    for (const row of rows) {
      const last = this.#rows.pop()!;
      if (last !== row) {
        for (const slots of this.#all) slots.copyRow(slots, last.at, row.at);
        last.at = row.at;
        this.#rows[last.at] = last;
      }
      for (const slots of this.#all) slots.clearRow(this.#rows.length);
    }
  }

  /** `used`: slots that the new rows need. */
  #fit(more: number, used: (block: number) => number): void {
    for (const [i, slots] of this.#all.entries()) slots.fit(this.#rows.length + more, Math.max(used(i), slots.used(this.#rows)));
  }

  get #all(): Slots[] {
    return this.#source ? [this.#own, this.#source] : [this.#own];
  }

  #add(): CacheRow {
    const row = { at: this.#rows.length };
    this.#rows.push(row);
    return row;
  }
}

/** Keys and values by the names of a program's inputs: past_key.0, past_value.0, past_key.1 … */
class Slots {
  /** The number of filled slots of each row, which are the first ones. */
  lengths = new Int32Array(0);
  #buffers = new Map<string, Float32Array<ArrayBuffer>>();
  #mask = new Int32Array(0);
  /** Of the buffers: there may be more rows than are in use. */
  #rows = 0;
  #slots = 0;

  constructor(
    private readonly sizes: Omit<CacheSizes, 'source'>,
    private readonly prefix: string,
    private readonly maskName: string,
  ) {}

  /** For the first rows. */
  inputs(rows: number): HostTensors {
    const { heads, width } = this.sizes;
    const shape = [rows, heads, this.#slots, width];
    const inputs: HostTensors = {
      [this.maskName]: { dtype: 'int32', shape: [rows, this.#slots], data: this.#mask.subarray(0, rows * this.#slots) },
    };
    for (const [name, data] of this.#buffers) inputs[name] = { dtype: 'float32', shape, data: data.subarray(0, rows * this.#rowSize) };
    return inputs;
  }

  /** The slots that the longest of the rows fills. */
  used(rows: readonly CacheRow[]): number {
    return rows.reduce((most, { at }) => Math.max(most, this.lengths[at]!), 0);
  }

  append(outputs: HostTensors, prefix: string, lengths: readonly number[]): void {
    const { layers, heads, width } = this.sizes;
    this.fit(
      lengths.length,
      lengths.reduce((most, length, row) => Math.max(most, this.lengths[row]! + length), 0),
    );
    for (let layer = 0; layer < layers; layer++) {
      for (const kind of KINDS) {
        const { data, shape } = outputs[`${prefix}${kind}.${layer}`]!;
        const from = data as Float32Array;
        const to = this.#buffers.get(`${this.prefix}${kind}.${layer}`)!;
        const padded = shape[2]! * width;
        for (const [row, length] of lengths.entries())
          for (let lane = row * heads; length > 0 && lane < (row + 1) * heads; lane++)
            to.set(from.subarray(lane * padded, lane * padded + length * width), (lane * this.#slots + this.lengths[row]!) * width);
      }
    }
    for (const [row, length] of lengths.entries()) {
      const start = row * this.#slots + this.lengths[row]!;
      this.#mask.fill(1, start, start + length);
      this.lengths[row]! += length;
    }
  }

  copyRow(from: Slots, source: number, target: number): void {
    const { heads } = this.sizes;
    const length = from.lengths[source]!;
    for (const [name, buffer] of this.#buffers)
      copyLanes(from.#buffers.get(name)!, source * heads, from.#slots, buffer, target * heads, this.#slots, {
        lanes: heads,
        length: length * this.sizes.width,
        width: this.sizes.width,
      });
    this.lengths[target] = length;
    this.#mask.fill(0, target * this.#slots, (target + 1) * this.#slots).fill(1, target * this.#slots, target * this.#slots + length);
  }

  clearRow(row: number): void {
    this.lengths[row] = 0;
    this.#mask.fill(0, row * this.#slots, (row + 1) * this.#slots);
  }

  /** Makes room for these rows and slots, and frees memory if that is far too much. */
  fit(rows: number, slots: number): void {
    const short = rows > this.#rows || slots > this.#slots;
    const lavish = rows < this.#rows / 4 || multipleOf(STEP, slots) < this.#slots / 2;
    if (!short && !lavish) return;
    const [beforeRows, before] = [Math.min(rows, this.#rows), this.#slots];
    // Grows by a quarter, so that a token moves only a few times and few free slots are read.
    this.#rows = rows > this.#rows ? Math.max(rows, Math.ceil(this.#rows * GROWTH)) : lavish ? rows : this.#rows;
    this.#slots = multipleOf(STEP, slots > before ? Math.max(slots, before * GROWTH) : lavish ? slots : before);
    const { layers, heads, width } = this.sizes;
    const lengths = new Int32Array(this.#rows);
    lengths.set(this.lengths.subarray(0, beforeRows));
    for (let layer = 0; layer < layers; layer++) {
      for (const kind of KINDS) {
        const name = `${this.prefix}${kind}.${layer}`;
        const resized = new Float32Array(this.#rows * this.#rowSize);
        const buffer = this.#buffers.get(name);
        for (let row = 0; buffer && row < beforeRows; row++)
          copyLanes(buffer, row * heads, before, resized, row * heads, this.#slots, { lanes: heads, length: lengths[row]! * width, width });
        this.#buffers.set(name, resized);
      }
    }
    this.lengths = lengths;
    this.#mask = new Int32Array(this.#rows * this.#slots);
    for (const [row, length] of lengths.entries()) this.#mask.fill(1, row * this.#slots, row * this.#slots + length);
  }

  get #rowSize(): number {
    return this.sizes.heads * this.#slots * this.sizes.width;
  }
}

function copyLanes(
  from: Float32Array,
  firstFrom: number,
  slotsFrom: number,
  to: Float32Array,
  firstTo: number,
  slotsTo: number,
  { lanes, length, width }: { lanes: number; length: number; width: number },
): void {
  for (let lane = 0; lane < lanes; lane++) {
    const start = (firstFrom + lane) * slotsFrom * width;
    to.set(from.subarray(start, start + length), (firstTo + lane) * slotsTo * width);
  }
}

const KINDS = ['key', 'value'] as const;

/**
 * Slots are multiples of this. Sums over a row's slots then have the same order in onnxruntime's vector code, whatever other rows
 * need, so that a text does not depend on them.
 */
const STEP = 64;

/** The slots of each row, at most, where the longest row has so many tokens. */
export const mostSlots = (tokens: number): number => multipleOf(STEP, GROWTH * tokens);

const GROWTH = 1.25;

const multipleOf = (step: number, least: number): number => step * Math.ceil(least / step);
