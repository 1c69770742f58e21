/**
 * Tests whether two models differ, on their predictions of the same examples: McNemar's test (1947) for a metric that is
 * the share of correct examples, and the paired bootstrap (Efron & Tibshirani 1993, chapter 16) for every other metric.
 */

import { type BootstrapOptions, type Bootstrapped, bootstrap, type Interval, type MetricsOf, type Units } from './bootstrap.ts';
import { chiSquaredTail, fairCoinCdf } from './distributions.ts';
import type { IntervalEnds } from './intervals.ts';

export interface McNemar {
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
  return { onlyFirst, onlySecond, exact, statistic, p };
}

type TestName = 'mcnemar' | 'paired bootstrap';

export interface PairedTest {
  test: TestName;
  /** The metric of each model. */
  first: number;
  second: number;
  /** That of the second model minus that of the first, with its bootstrap interval. */
  difference: number;
  interval: Interval;
  /** Two-sided; NaN if the difference is undefined. */
  p: number;
  mcnemar?: McNemar;
}

interface Pairing {
  /** If a metric is the share of correct examples: for each example whether each model predicts it correctly. */
  correct(metric: string): { first: ArrayLike<boolean | number>; second: ArrayLike<boolean | number> } | undefined;
  units: Units;
  options: BootstrapOptions;
}

/**
 * For each metric. Both models are measured on the same bootstrap samples. The p-value of the paired bootstrap is twice the share of
 * samples in which the difference has the other sign or is 0, where the observed difference counts as one more sample (Davison &
 * Hinkley 1997, section 4.2).
 */
export function pairedTests(first: MetricsOf, second: MetricsOf, { correct, units, options }: Pairing): Record<string, PairedTest> {
  const differencesOf = (rows: Int32Array) => {
    const [one, other] = [first(rows), second(rows)];
    return Object.fromEntries(Object.entries(one).map(([name, value]) => [name, other[name]! - value]));
  };
  const [ofFirst, ofSecond] = [first(units.rows), second(units.rows)];
  const test = (name: string, { value: difference, interval, replicates }: Bootstrapped): PairedTest => {
    const pairs = correct(name);
    const ofCounts = pairs && mcnemar(pairs.first, pairs.second);
    return {
      test: ofCounts ? 'mcnemar' : 'paired bootstrap',
      first: ofFirst[name]!,
      second: ofSecond[name]!,
      difference,
      interval,
      p: ofCounts?.p ?? signTail(difference, replicates),
      ...(ofCounts && { mcnemar: ofCounts }),
    };
  };
  return Object.fromEntries(Object.entries(bootstrap(differencesOf, units, options)).map(([name, drawn]) => [name, test(name, drawn)]));
}

/** Two-sided. Samples without a value do not count. */
export function signTail(difference: number, differences: readonly number[]): number {
  if (Number.isNaN(difference)) return Number.NaN;
  const defined = differences.filter((value) => !Number.isNaN(value));
  const [below, above] = [defined.filter((value) => value <= 0).length, defined.filter((value) => value >= 0).length];
  return Math.min(1, (2 * (1 + Math.min(below, above))) / (1 + defined.length));
}

/* What the metrics file of evaluate says about a comparison. */

/** Null if undefined. */
export interface ComparedMetric {
  /** Of the evaluated model, and of the other one. */
  value: number | null;
  other: number | null;
  /** The first minus the second. */
  difference: number | null;
  interval: IntervalEnds;
  p: number | null;
  test: TestName;
  /** For McNemar's test: whether it is exact, and the rows that only one of the models predicts correctly. */
  exact?: boolean;
  only_this?: number;
  only_other?: number;
  /** Why the models cannot be compared, and why the difference has no interval. */
  undefined?: string;
  no_interval?: string;
}

export interface ComparisonReport {
  rows: number;
  level: number;
  resamples: number;
  seed: number;
  metrics: Record<string, ComparedMetric>;
}

export function testInWords({
  test,
  exact,
  only_this,
  only_other,
}: Pick<ComparedMetric, 'test' | 'exact' | 'only_this' | 'only_other'>): string {
  if (test !== 'mcnemar') return test;
  return `McNemar, ${exact ? 'exact' : 'chi-squared'}: ${only_this} rows correct only here, ${only_other} only there`;
}
