/** What a metrics file says about the confidence intervals of its metrics. */

import type { BootstrapOptions, Bootstrapped, Interval } from './bootstrap.ts';

/** The ends of an interval; null if it is undefined. */
export interface IntervalEnds {
  low: number | null;
  high: number | null;
  /** The share of the samples on which the metric is defined, unless it is defined on all of them. */
  usable?: number;
  /** It is much narrower than without `stratify`. */
  narrow?: true;
}

export function endsIn({ low, high, why, usable, narrow }: Interval): IntervalEnds {
  return {
    ...(why === undefined ? { low, high } : { low: null, high: null }),
    ...(usable !== undefined && { usable }),
    ...(narrow && { narrow }),
  };
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
    intervals[name] = endsIn(interval);
    Object.assign(reasons, missingEnds(name, interval.why));
  }
  const unit = group === undefined ? 'examples' : `groups of ${group}`;
  return { report: { intervals, interval: { level, method, resamples, unit, stratified, seed } }, undefined: reasons };
}

/** Why the ends of an interval are undefined, by their flat names. */
export const missingEnds = (name: string, why: string | undefined): Record<string, string> =>
  why === undefined ? {} : { [`${name}.lower`]: why, [`${name}.upper`]: why };

/** For `context.metric`. */
export function endsOf(intervals: Record<string, IntervalEnds> | undefined, name: string): { low?: number; high?: number } {
  const { low, high } = intervals?.[name] ?? { low: null, high: null };
  return low === null || high === null ? {} : { low, high };
}

/** For a log: a value and the ends of its interval, if it has one. */
export function within(value: number | null, { low, high }: Partial<IntervalEnds> = {}): string {
  const [shown, ...ends] = [value, low ?? null, high ?? null].map((one) => (one !== null && Number.isFinite(one) ? one.toFixed(4) : 'n/a'));
  return typeof low === 'number' && value !== null ? `${shown} [${ends.join(', ')}]` : shown!;
}

/** What the log says about intervals: which are undefined and why, and which some samples are left out of. */
export function notesOnIntervals(intervals: Record<string, IntervalEnds>, reasons: Record<string, string>): string[] {
  const missing = Object.entries(reasons).filter(([name]) => name.endsWith('.lower'));
  const partial = Object.entries(intervals).filter(([, { low, usable }]) => low !== null && usable !== undefined);
  return [
    ...[...Map.groupBy(missing, ([, why]) => why)].map(
      ([why, of]) => `no interval of ${of.map(([name]) => name.slice(0, -'.lower'.length)).join(', ')}: ${why}`,
    ),
    ...[...Map.groupBy(partial, ([, { usable }]) => usable!)].map(
      ([usable, of]) =>
        `interval of ${of.map(([name]) => name).join(', ')}: ${percent(1 - usable)} of the bootstrap samples are left out, because the metric is undefined on them`,
    ),
  ];
}

/** Undefined if no interval is too narrow. */
export function noteOnNarrow(intervals: Record<string, IntervalEnds>): string | undefined {
  const names = Object.keys(intervals).filter((name) => intervals[name]!.narrow);
  if (names.length === 0) return undefined;
  return `the intervals of ${names.join(', ')} say too little about the uncertainty: each sample has as many examples of each label as the split, and the predictions hardly vary within a label. \`intervals: { stratify: false }\` draws the labels at random, too`;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
