/**
 * Metrics of declared slices: groups of rows by a column, an SQL expression, the length of a text or the terms in it.
 * The gap of a slice is the difference between the metric of the best slice and its own; the gap of a set of slices is
 * that of its worst slice. Only slices with enough rows count for it.
 */

import { StepError } from '../../engine/contract/step.ts';
import { type BootstrapOptions, type Bootstrapped, bootstrap, type MetricsOf } from '../ml/metrics/bootstrap.ts';
import { endsIn, type IntervalEnds, missingEnds } from '../ml/metrics/intervals.ts';
import type { MeasuredSlice, SliceReport } from '../ml/metrics/subgroup-report.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { UnitsOf } from '../ml/tasks/resampling.ts';
import { gapIntervals } from './slice-gaps.ts';
import type { SliceDefinition } from './slice-options.ts';
import { type PredictedRows, rowsOfSlices, type Slice } from './slice-rows.ts';

/** What the slices of an evaluation need. */
export interface Slicing {
  predictions: PredictedRows;
  /** The metrics of some rows, NaN if undefined. */
  metricsOf: MetricsOf;
  /** Why a metric is undefined on these rows. */
  whyUndefined(metric: string, value: number, rows: Int32Array): string;
  /** The metrics to report; the first one compares slices. */
  metrics: readonly string[];
  /** All rows of the split. */
  rows: Int32Array;
  unitsOf: UnitsOf;
  /** Without it there are no intervals. */
  bootstrap?: BootstrapOptions | undefined;
  signal: AbortSignal;
  warn(message: string): void;
  log(message: string): void;
}

export async function measureSlices(definitions: Record<string, SliceDefinition>, slicing: Slicing): Promise<Record<string, SliceReport>> {
  const reports: [string, SliceReport][] = [];
  for (const [name, definition] of Object.entries(definitions)) {
    slicing.signal.throwIfAborted();
    const metric = mainMetric(name, definition, slicing.metrics);
    const { slices, notes } = await rowsOfSlices(slicing.predictions, name, definition);
    for (const note of notes) slicing.log(note);
    for (const slice of slices) if (slice.rows.length === 0) slicing.warn(`slices.${name}: ${emptyReason(slice.name, definition)}`);
    reports.push([name, reportOf(slices, { metric, definition, slicing })]);
  }
  // fromEntries makes own properties even for names such as `__proto__`.
  return Object.fromEntries(reports);
}

export function mainMetric(name: string, { metric }: SliceDefinition, metrics: readonly string[]): string {
  if (metric === undefined) return metrics[0]!;
  if (metrics.includes(metric)) return metric;
  throw new StepError(
    `slices.${name}: evaluate does not compute ${metric} for slices`,
    `Use one of ${metrics.join(', ')}, or add it to \`metrics\`.`,
    ['slices', name, 'metric'],
  );
}

function emptyReason(slice: string, { terms }: SliceDefinition): string {
  return terms && slice !== '(none)' ? `no text contains a term of \`${slice}\`` : `no row is in the slice \`${slice}\``;
}

interface Judged {
  rows: Int32Array;
  measured: MeasuredSlice;
  /** The main metric; NaN if it is undefined. */
  value: number;
  counts: boolean;
}

function reportOf(
  slices: Slice[],
  { metric, definition, slicing }: { metric: string; definition: SliceDefinition; slicing: Slicing },
): SliceReport {
  const { min_rows = 10 } = definition;
  const sign = betterOf(metric) === 'higher' ? 1 : -1;
  const judged = slices.map((slice, i): Judged => {
    const measured = measure(slice, i, definition, slicing);
    const value = measured.metrics[metric] ?? Number.NaN;
    return { rows: slice.rows, measured, value, counts: slice.rows.length >= min_rows && !Number.isNaN(value) };
  });
  const rank = ({ counts, value }: Judged) => (counts ? sign * value : Number.isNaN(value) ? Number.POSITIVE_INFINITY : Number.MAX_VALUE);
  judged.sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : b.measured.rows - a.measured.rows));
  const counting = judged.filter(({ counts }) => counts);
  const about = { by: kindOf(definition, slicing.predictions.text), metric, min_rows };
  if (counting.length < 2) {
    const why = `${counting.length === 0 ? 'no slice has' : 'only one slice has'} at least ${min_rows} rows and a defined ${metric}`;
    return { ...about, gap: null, undefined: why, slices: judged.map(({ measured }) => measured) };
  }
  const [worst, best] = [counting[0]!, counting.at(-1)!];
  for (const one of counting) one.measured.gap = Math.abs(best.value - one.value);
  const parts = counting.map((one) => one.rows);
  const intervals = slicing.bootstrap && gapIntervals(parts, metric, slicing.bootstrap, slicing);
  for (const [i, own] of intervals?.entries() ?? []) {
    const { measured } = counting[i]!;
    measured.gap_interval = endsIn(own);
    if (own.why !== undefined) measured.undefined = { ...measured.undefined, ...missingEnds('gap', own.why) };
  }
  const interval = intervals?.[0];
  return {
    ...about,
    gap: Math.abs(best.value - worst.value),
    ...(interval && { interval: endsIn(interval) }),
    ...(interval?.why !== undefined && { no_interval: interval.why }),
    slices: judged.map(({ measured }) => measured),
  };
}

const kindOf = ({ column, where, length, unit = 'characters', terms, in: text }: SliceDefinition, usual: string): string => {
  if (column !== undefined) return `column ${column}`;
  if (where !== undefined) return `where ${where}`;
  return terms ? `terms in ${text ?? usual}` : unit === 'tokens' ? 'number of tokens' : `length of ${length} in ${unit}`;
};

function measure({ name, rows }: Slice, place: number, definition: SliceDefinition, slicing: Slicing): MeasuredSlice {
  const { metrics, metricsOf, whyUndefined } = slicing;
  const why: Record<string, string> = {};
  if (rows.length === 0) {
    for (const metric of metrics) why[metric] = emptyReason(name, definition);
    const none = Object.fromEntries(metrics.map((metric) => [metric, null]));
    return { slice: name, rows: 0, metrics: none, gap: null, undefined: why };
  }
  const all = metricsOf(rows);
  const values = Object.fromEntries(
    metrics.map((metric) => {
      if (Number.isFinite(all[metric]!)) return [metric, all[metric]!];
      why[metric] = whyUndefined(metric, all[metric]!, rows);
      return [metric, null];
    }),
  );
  const drawn = slicing.bootstrap && drawnFrom(rows, place, slicing);
  const intervals: Record<string, IntervalEnds> = {};
  for (const metric of drawn ? metrics.filter((name) => values[name] !== null) : []) {
    const { interval } = drawn![metric]!;
    intervals[metric] = endsIn(interval);
    Object.assign(why, missingEnds(metric, interval.why));
  }
  return {
    slice: name,
    rows: rows.length,
    metrics: values,
    ...(drawn && { intervals }),
    gap: null,
    ...(Object.keys(why).length > 0 && { undefined: why }),
  };
}

/** Each slice has its own stream of random numbers: the samples of two slices must not depend on each other. */
function drawnFrom(
  rows: Int32Array,
  place: number,
  { metricsOf, metrics, unitsOf, bootstrap: options }: Slicing,
): Record<string, Bootstrapped> {
  const reported = (some: Int32Array) => {
    const all = metricsOf(some);
    return Object.fromEntries(metrics.map((metric) => [metric, all[metric]!]));
  };
  return bootstrap(reported, unitsOf(rows), { ...options!, seed: options!.seed + 1 + place });
}
