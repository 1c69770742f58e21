/**
 * What metrics count of each example, in growing typed arrays: a few bytes per example, however many there are. A metric
 * of some examples, such as a slice or a bootstrap sample, adds up their numbers.
 */

type Numbers = Float64Array | Int32Array | Uint8Array;

/** `width` numbers of each example. */
export class PerExample {
  #values: Numbers;
  #views: Numbers[] | undefined;
  #used = 0;

  constructor(
    readonly width: number,
    kind: Float64ArrayConstructor | Int32ArrayConstructor | Uint8ArrayConstructor = Float64Array,
  ) {
    this.#values = new kind(width << 8);
  }

  /** The number of examples. */
  get count(): number {
    return this.width === 0 ? 0 : this.#used / this.width;
  }

  add(numbers: ArrayLike<number>): void {
    if (this.#used + this.width > this.#values.length) {
      const grown = new (this.#values.constructor as Float64ArrayConstructor)(2 * this.#values.length);
      grown.set(this.#values);
      this.#values = grown;
      this.#views = undefined;
    }
    this.#values.set(numbers, this.#used);
    this.#used += this.width;
  }

  /** Number `k` of an example. */
  at(example: number, k: number): number {
    return this.#values[example * this.width + k]!;
  }

  /** Number `k` of each of these examples, in their order; default: of all. */
  column(k: number, rows?: Int32Array): Float64Array {
    const column = new Float64Array(rows?.length ?? this.count);
    for (let i = 0; i < column.length; i++) column[i] = this.at(rows ? rows[i]! : i, k);
    return column;
  }

  /** The numbers of each of these examples, as views; default: of all. */
  each(rows?: Int32Array): Numbers[] {
    const { width } = this;
    if (this.#views?.length !== this.count)
      this.#views = Array.from({ length: this.count }, (_, i) => this.#values.subarray(i * width, (i + 1) * width));
    return rows ? Array.from(rows, (row) => this.#views![row]!) : this.#views!;
  }

  /** The sum of each number over these examples; default: over all. */
  sums(rows?: Int32Array): Float64Array {
    const { width } = this;
    const sums = new Float64Array(width);
    const count = rows?.length ?? this.count;
    for (let i = 0; i < count; i++) {
      const start = (rows ? rows[i]! : i) * width;
      for (let k = 0; k < width; k++) sums[k]! += this.#values[start + k]!;
    }
    return sums;
  }
}
