/** Sums, means, and scores from counts, with scikit-learn's definitions (zero_division = 0). */

export interface Counts {
  /** True positives, predicted ones, and true ones. */
  hits: number;
  claimed: number;
  support: number;
}

export type Scores = { precision: number; recall: number; f1: number; support: number };

export const scoresOf = ({ hits, claimed, support }: Counts): Scores => ({
  precision: ratio(hits, claimed),
  recall: ratio(hits, support),
  f1: ratio(2 * hits, claimed + support),
  support,
});

export const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

export const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** NaN for an empty list. */
export const mean = (numbers: readonly number[]): number => total(numbers) / numbers.length;
