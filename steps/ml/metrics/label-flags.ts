/** Which labels are true and which are predicted for each example, and how often, for any examples. */

import type { Counts } from './counts.ts';

/** Keeps only labels that are true or predicted, because most labels of an example are neither. */
export class LabelFlags {
  /** For each example where its entries end. An entry is 4 × label + 2 if the label is true + 1 if it is predicted. */
  readonly #ends: number[] = [];
  readonly #entries: number[] = [];

  /** @param labels the number of labels */
  constructor(readonly labels: number) {}

  /** Of the next example. */
  add(label: number, isTrue: boolean, isPredicted: boolean): void {
    const code = (isTrue ? 2 : 0) + (isPredicted ? 1 : 0);
    if (code > 0) this.#entries.push(4 * label + code);
  }

  /** Ends the example. */
  end(): void {
    this.#ends.push(this.#entries.length);
  }

  /** For each label how many of these examples have it, in truth and as a prediction; default: of all. */
  counts(rows?: Int32Array): Counts[] {
    const codes = new Int32Array(4 * this.labels);
    const count = rows?.length ?? this.#ends.length;
    for (let i = 0; i < count; i++) {
      const row = rows ? rows[i]! : i;
      for (let e = row === 0 ? 0 : this.#ends[row - 1]!; e < this.#ends[row]!; e++) codes[this.#entries[e]!]!++;
    }
    return Array.from({ length: this.labels }, (_, k) => {
      const [claimedOnly, trueOnly, hits] = [codes[4 * k + 1]!, codes[4 * k + 2]!, codes[4 * k + 3]!];
      return { hits, claimed: hits + claimedOnly, support: hits + trueOnly };
    });
  }
}
