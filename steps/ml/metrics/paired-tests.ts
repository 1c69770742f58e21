/**
 * Tests whether two models differ, on their predictions of the same examples: McNemar's test (1947) for a metric that is
 * the share of correct examples, and the paired bootstrap (Efron & Tibshirani 1993, chapter 16) for every other metric.
 */

import { type BootstrapOptions, bootstrap, type Interval, type MetricsOf, type Units } from './bootstrap.ts';
import { chiSquaredTail, fairCoinCdf } from './distributions.ts';

export interface McNemar {
  test: 'mcnemar';
  /** Examples that only the first, and only the second model predicts correctly. */
  onlyFirst: number;
  onlySecond: number;
  /** Below 25 discordant examples the p-value is that of the exact binomial test. */
  exact: boolean;
  /** The smaller of both counts if the test is exact, otherwise chi-squared with continuity correction. */
  statistic: number;
  /** Two-sided. */
  p: number;
}

const FEW = 25;

/** `first` and `second`: for each example whether the model predicts it correctly. Equals statsmodels' mcnemar. */
export function mcnemar(first: ArrayLike<boolean | number>, second: ArrayLike<boolean | number>): McNemar {
  let [onlyFirst, onlySecond] = [0, 0];
  for (let i = 0; i < first.length; i++) {
    if (first[i] && !second[i]) onlyFirst++;
    if (second[i] && !first[i]) onlySecond++;
  }
  const discordant = onlyFirst + onlySecond;
  const exact = discordant < FEW;
  const statistic = exact ? Math.min(onlyFirst, onlySecond) : (Math.abs(onlyFirst - onlySecond) - 1) ** 2 / discordant;
  const p = exact ? Math.min(1, 2 * fairCoinCdf(statistic, discordant)) : chiSquaredTail(statistic);
  return { test: 'mcnemar', onlyFirst, onlySecond, exact, statistic, p };
}

export interface PairedBootstrap {
  test: 'paired bootstrap';
  /** The metric of the second model minus that of the first. */
  difference: number;
  interval: Interval;
  /** Two-sided; NaN if the difference is undefined. */
  p: number;
}

/**
 * Both models are measured on the same bootstrap samples. The p-value is twice the share of samples in which the difference
 * has the other sign or is 0, where the observed difference counts as one more sample (Davison & Hinkley 1997, section 4.2).
 */
export function pairedBootstrap(
  first: MetricsOf,
  second: MetricsOf,
  metric: string,
  units: Units,
  options: BootstrapOptions,
): PairedBootstrap {
  const differenceOf = (rows: Int32Array) => ({ [metric]: second(rows)[metric]! - first(rows)[metric]! });
  const difference = differenceOf(units.rows)[metric]!;
  const { interval, replicates } = bootstrap(differenceOf, units, options)[metric]!;
  return { test: 'paired bootstrap', difference, interval, p: signTail(difference, replicates) };
}

/** Two-sided. Samples without a value do not count. */
export function signTail(difference: number, differences: readonly number[]): number {
  if (Number.isNaN(difference)) return Number.NaN;
  const defined = differences.filter((value) => !Number.isNaN(value));
  const [below, above] = [defined.filter((value) => value <= 0).length, defined.filter((value) => value >= 0).length];
  return Math.min(1, (2 * (1 + Math.min(below, above))) / (1 + defined.length));
}
