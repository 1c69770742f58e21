/** Metrics of a ranking by score, with scikit-learn's definitions. Examples are sorted once, and samples of them only counted. */

export class Ranking {
  /** Examples by descending score. */
  readonly #order: Int32Array;
  /** By place in the order: whether the example is positive, and whether the next one has a lower score. */
  readonly #positive: Uint8Array;
  readonly #ends: Uint8Array;

  constructor(scores: ArrayLike<number>, isPositive: (example: number) => boolean) {
    const order = Int32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
    this.#order = order;
    this.#positive = Uint8Array.from(order, (example) => (isPositive(example) ? 1 : 0));
    this.#ends = Uint8Array.from(order, (example, place) => (scores[example] === scores[order[place + 1]!] ? 0 : 1));
  }

  /** The Mann-Whitney statistic: a tie counts one half. NaN if no example is positive, or all are. `times`: how often each counts. */
  areaUnderRoc(times?: ArrayLike<number>): number {
    let [hits, misses, tiedHits, tiedMisses, pairs] = [0, 0, 0, 0, 0];
    for (let place = 0; place < this.#order.length; place++) {
      const count = times ? times[this.#order[place]!]! : 1;
      if (this.#positive[place]) tiedHits += count;
      else tiedMisses += count;
      if (!this.#ends[place]) continue;
      pairs += tiedMisses * (hits + tiedHits / 2);
      hits += tiedHits;
      misses += tiedMisses;
      tiedHits = tiedMisses = 0;
    }
    return pairs / (hits * misses);
  }

  /** The mean precision over the positive examples, at the threshold of each. NaN if no example is positive. */
  averagePrecision(times?: ArrayLike<number>): number {
    let [seen, hits, tied, sum] = [0, 0, 0, 0];
    for (let place = 0; place < this.#order.length; place++) {
      const count = times ? times[this.#order[place]!]! : 1;
      seen += count;
      if (this.#positive[place]) tied += count;
      if (!this.#ends[place]) continue;
      hits += tied;
      if (tied > 0) sum += (tied * hits) / seen;
      tied = 0;
    }
    return sum / hits;
  }
}

/** The metrics of a ranking, by name. `times`: how often each example counts. */
export const RANKED = {
  roc_auc: (ranking: Ranking, times?: Int32Array) => ranking.areaUnderRoc(times),
  average_precision: (ranking: Ranking, times?: Int32Array) => ranking.averagePrecision(times),
};

export const isRanked = (name: string): name is keyof typeof RANKED => Object.hasOwn(RANKED, name);

/** How often each of `count` examples is in a sample. */
export function timesOf(rows: Int32Array, count: number): Int32Array {
  const times = new Int32Array(count);
  for (let i = 0; i < rows.length; i++) times[rows[i]!]!++;
  return times;
}
