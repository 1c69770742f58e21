/** What a metrics file says about the confidence intervals of its metrics. */

import type { BootstrapOptions, Bootstrapped } from './bootstrap.ts';

/** The ends of an interval; null if it is undefined. */
export interface IntervalEnds {
  low: number | null;
  high: number | null;
}

export interface IntervalReport {
  /** For each metric. */
  intervals: Record<string, IntervalEnds>;
  /** How they were computed. */
  interval: BootstrapOptions & {
    /** What is drawn: `examples`, or `groups of COLUMN`. */
    unit: string;
    /** Whether each sample has as many examples of each label as the split. */
    stratified: boolean;
  };
}

export interface Intervals {
  report: IntervalReport;
  /** Why an interval is undefined, for `METRIC.lower` and `METRIC.upper`. */
  undefined: Record<string, string>;
}

export function intervalsIn(
  drawn: Record<string, Bootstrapped>,
  { resamples, level, method, seed }: BootstrapOptions,
  { group, stratified }: { group?: string | undefined; stratified: boolean },
): Intervals {
  const intervals: Record<string, IntervalEnds> = {};
  const reasons: Record<string, string> = {};
  for (const [name, { interval }] of Object.entries(drawn)) {
    const { low, high, why } = interval;
    intervals[name] = why === undefined ? { low, high } : { low: null, high: null };
    if (why !== undefined) reasons[`${name}.lower`] = reasons[`${name}.upper`] = why;
  }
  const unit = group === undefined ? 'examples' : `groups of ${group}`;
  return { report: { intervals, interval: { level, method, resamples, unit, stratified, seed } }, undefined: reasons };
}

/** For `context.metric`. */
export function endsOf(intervals: Record<string, IntervalEnds> | undefined, name: string): { low?: number; high?: number } {
  const { low, high } = intervals?.[name] ?? { low: null, high: null };
  return low === null || high === null ? {} : { low, high };
}

/** One line for each reason: the metrics without an interval. */
export function missingIntervals(reasons: Record<string, string>): string[] {
  const names = Object.entries(reasons).filter(([name]) => name.endsWith('.lower'));
  return [...Map.groupBy(names, ([, why]) => why)].map(
    ([why, of]) => `no interval of ${of.map(([name]) => name.slice(0, -'.lower'.length)).join(', ')}: ${why}`,
  );
}
