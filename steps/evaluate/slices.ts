/**
 * Metrics of declared slices: groups of rows by a column, an SQL expression, the length of a text or the terms in it.
 * The gap of a slice is the difference between the metric of the best slice and its own; the gap of a set of slices is
 * that of its worst slice. Only slices with enough rows count for it.
 */

import { StepError } from '../../engine/contract/step.ts';
import { type BootstrapOptions, type Bootstrapped, bootstrap, enlarged, type Interval, type MetricsOf } from '../ml/metrics/bootstrap.ts';
import { endsIn, type IntervalEnds, missingEnds } from '../ml/metrics/intervals.ts';
import type { MeasuredSlice, SliceReport } from '../ml/metrics/subgroups.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { UnitsOf } from '../ml/tasks/resampling.ts';
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

/**
 * The intervals of the gaps, for each slice but the best, which comes last. The samples are those of the metrics of the whole split,
 * so a slice is larger in some of them than in others. In each sample the same slices are compared. A gap is undefined in a sample
 * that lacks one of its two slices.
 */
export function gapIntervals(
  slices: Int32Array[],
  metric: string,
  options: BootstrapOptions,
  { rows, unitsOf, metricsOf }: Pick<Slicing, 'rows' | 'unitsOf' | 'metricsOf'>,
): Interval[] {
  const sign = betterOf(metric) === 'higher' ? 1 : -1;
  const partsOf = partition(slices, rows.length);
  const gapsOf = (sample: Int32Array) => {
    const values = partsOf(sample).map((part) => (part.length === 0 ? Number.NaN : metricsOf(part)[metric]!));
    return Object.fromEntries(values.slice(0, -1).map((value, i) => [i, sign * (values.at(-1)! - value)]));
  };
  const drawn = bootstrap(gapsOf, unitsOf(rows), options);
  return slices.slice(0, -1).map((_, i) => drawn[i]!.interval);
}

/** Sorts a sample of `count` rows into slices, which may overlap. The parts are only valid until the next call. */
function partition(slices: Int32Array[], count: number): (sample: Int32Array) => Int32Array[] {
  // The slices of row r are slicesOf[begins[r]] to slicesOf[begins[r + 1] − 1].
  const begins = new Int32Array(count + 1);
  for (const slice of slices) for (const row of slice) begins[row + 1]!++;
  for (let row = 0; row < count; row++) begins[row + 1]! += begins[row]!;
  const slicesOf = new Int32Array(begins[count]!);
  const next = begins.slice();
  for (const [k, slice] of slices.entries()) for (const row of slice) slicesOf[next[row]!++] = k;
  const parts = slices.map((slice) => new Int32Array(slice.length));
  const lengths = new Int32Array(slices.length);
  return (sample) => {
    lengths.fill(0);
    for (let i = 0; i < sample.length; i++) {
      const row = sample[i]!;
      for (let e = begins[row]!; e < begins[row + 1]!; e++) {
        const k = slicesOf[e]!;
        if (lengths[k] === parts[k]!.length) parts[k] = enlarged(parts[k]!, lengths[k]! + 1);
        parts[k]![lengths[k]!++] = row;
      }
    }
    return parts.map((part, k) => part.subarray(0, lengths[k]));
  };
}
