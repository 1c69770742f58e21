/** What the bootstrap of an evaluation draws: examples, or whole groups of them. */

import { StepError } from '../../../engine/contract/step.ts';
import { bootstrap, type MetricsOf, type Units } from '../metrics/bootstrap.ts';
import { bootstrapOptions, type IntervalsGiven } from '../metrics/interval-options.ts';
import { type Intervals, intervalsIn } from '../metrics/intervals.ts';
import type { Split } from '../models/token-dataset.ts';
import { readGroups } from './groups.ts';

/** What the bootstrap draws, of some rows. */
export type UnitsOf = (rows: Int32Array) => Units;

export const allRows = ({ rows }: Pick<Split, 'rows'>): Int32Array => Int32Array.from({ length: rows }, (_, row) => row);

/**
 * For each example the number of its group in the column of `intervals.group`, read before the long work; undefined without the
 * option. An example without a value is a group of its own.
 */
export async function readUnits(
  examples: Pick<Split, 'rows' | 'examples'>,
  data: string | undefined,
  intervals: IntervalsGiven,
): Promise<Int32Array | undefined> {
  const group = intervals ? intervals.group : undefined;
  if (group === undefined) return undefined;
  if (data === undefined)
    throw new StepError('`intervals.group` needs the input `data`, which has the column', 'Give the `data` that the tokens were made of.', [
      'intervals',
      'group',
    ]);
  const { of } = await readGroups(examples, data, group, 'intervals');
  return of.map((place, example) => (place < 0 ? -1 - example : place));
}

/**
 * Groups, strata or rows, as the option says; without intervals, the default is drawn, for comparisons. `strata`: the class of each
 * example, if it has one of several.
 */
export function unitsIn(intervals: IntervalsGiven, groups: Int32Array | undefined, strata: ArrayLike<number> | undefined): UnitsOf {
  const { stratify } = bootstrapOptions(intervals || {})!;
  return (rows) => ({ rows, ...(groups && { groups }), ...(!groups && stratify && strata && { strata }) });
}

/** Undefined if the option turns them off. */
export function intervalsOf(intervals: IntervalsGiven, metricsOf: MetricsOf, units: Units): Intervals | undefined {
  const given = bootstrapOptions(intervals);
  if (!given) return undefined;
  return intervalsIn(bootstrap(metricsOf, units, given), given, {
    group: intervals ? intervals.group : undefined,
    stratified: units.strata !== undefined,
  });
}
