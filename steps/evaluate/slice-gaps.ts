/** Confidence intervals of the gaps between slices: in each bootstrap sample, the same slices are compared. */

import { type BootstrapOptions, bootstrap, enlarged, type Interval, type MetricsOf } from '../ml/metrics/bootstrap.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import type { UnitsOf } from '../ml/tasks/resampling.ts';

/**
 * The intervals of the gaps, for each slice but the best, which comes last. `rows`: all rows of the split. The
 * samples are those of the metrics of the whole split, so a slice is larger in some of them than in others. A gap is undefined in a
 * sample that lacks one of its two slices.
 */
export function gapIntervals(
  slices: Int32Array[],
  metric: string,
  options: BootstrapOptions,
  { rows, unitsOf, metricsOf }: { rows: Int32Array; unitsOf: UnitsOf; metricsOf: MetricsOf },
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
