/**
 * Figures of how much a feature differs between two sets of rows: the population stability index, the two-sample Kolmogorov–Smirnov
 * test and the chi-squared test of homogeneity. The tests compare them with SciPy and NumPy.
 */

import { quantile } from './counts.ts';
import { chiSquaredTail, kolmogorovTail } from './distributions.ts';

/** The share of an empty bin in the population stability index, whose logarithm would otherwise be infinite. */
export const EMPTY_SHARE = 1e-4;

/** The number of quantiles of the reference that are bounds of bins, plus one. */
const BINS = 10;

/** Σ (current − reference) · ln(current / reference) over the shares of the bins. */
export function stabilityIndex(reference: readonly number[], current: readonly number[]): number {
  const [was, is] = [reference, current].map(shares) as [number[], number[]];
  return was.reduce((sum, share, i) => sum + (is[i]! - share) * Math.log(is[i]! / share), 0);
}

const shares = (counts: readonly number[]): number[] => {
  const all = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => Math.max(count / all, EMPTY_SHARE));
};

/**
 * The upper bounds of the bins: the deciles of the reference, each once. A bin contains its upper bound; the last one has none. A value
 * that many rows have can be several deciles, so that there are fewer bins.
 */
export function binsOf(reference: Float64Array): number[] {
  const sorted = reference.toSorted();
  const bounds = Array.from({ length: BINS - 1 }, (_, i) => quantile(sorted, (i + 1) / BINS));
  return [...new Set(bounds)];
}

/** How many values are in each bin. */
export function binned(values: Float64Array, bounds: readonly number[]): number[] {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  for (const value of values) {
    const bin = bounds.findIndex((bound) => value <= bound);
    counts[bin < 0 ? bounds.length : bin]!++;
  }
  return counts;
}

export interface DistributionTest {
  statistic: number;
  p: number;
}

/** The two-sided test whether two samples have the same distribution. With ties, the p-value is an upper bound. */
export function kolmogorovSmirnov(first: Float64Array, second: Float64Array): DistributionTest {
  const [a, b] = [first.toSorted(), second.toSorted()];
  const [n, m] = [a.length, b.length];
  let [i, j, statistic] = [0, 0, 0];
  while (i < n && j < m) {
    const value = Math.min(a[i]!, b[j]!);
    while (i < n && a[i] === value) i++;
    while (j < m && b[j] === value) j++;
    statistic = Math.max(statistic, Math.abs(i / n - j / m));
  }
  const p = n * m <= MOST_PATHS ? exactTail(statistic, n, m) : kolmogorovTail(statistic * Math.sqrt((n * m) / (n + m)));
  return { statistic, p: Math.min(1, Math.max(0, p)) };
}

/** The exact p-value takes a step for each pair of rows. */
const MOST_PATHS = 1e8;

/**
 * The probability that a random order of n and m values has a statistic of at least `statistic`: that a path over a grid leaves a band
 * (Hodges 1958). `passed[j]` is the probability for the first i and j values.
 */
function exactTail(statistic: number, n: number, m: number): number {
  // Between the statistic and the greatest smaller one.
  const bound = (Math.round(statistic * n * m) - 0.5) / (n * m);
  const passed = new Float64Array(m + 1);
  for (let j = 1; j <= m; j++) passed[j] = j / m > bound ? 1 : 0;
  for (let i = 1; i <= n; i++) {
    if (i / n > bound) passed[0] = 1;
    for (let j = 1; j <= m; j++) {
      const outside = Math.abs(i / n - j / m) > bound;
      passed[j] = outside ? 1 : (i * passed[j]! + j * passed[j - 1]!) / (i + j);
    }
  }
  return passed[m]!;
}

export interface Homogeneity extends DistributionTest {
  degrees: number;
  /** The smallest expected count. Below 5, the p-value is not exact. */
  expected: number;
}

/** The chi-squared test whether two samples have the same shares of categories. Undefined for a single category. */
export function chiSquared(first: readonly number[], second: readonly number[]): Homogeneity | undefined {
  const columns = first.map((count, i) => [count, second[i]!] as const).filter(([a, b]) => a + b > 0);
  if (columns.length < 2) return undefined;
  const [n, m] = [0, 1].map((row) => columns.reduce((sum, pair) => sum + pair[row]!, 0)) as [number, number];
  let [statistic, smallest] = [0, Number.POSITIVE_INFINITY];
  for (const pair of columns)
    for (const [row, size] of [n, m].entries()) {
      const expected = ((pair[0] + pair[1]) * size) / (n + m);
      statistic += (pair[row]! - expected) ** 2 / expected;
      smallest = Math.min(smallest, expected);
    }
  const degrees = columns.length - 1;
  return { statistic, degrees, p: chiSquaredTail(statistic, degrees), expected: smallest };
}
