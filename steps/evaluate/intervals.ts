/** Confidence intervals of the metrics of an evaluation. */

import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { bootstrap, type Units } from '../ml/metrics/bootstrap.ts';
import { bootstrapOptions } from '../ml/metrics/interval-options.ts';
import { type Intervals, intervalsIn } from '../ml/metrics/intervals.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import { readGroups } from '../ml/tasks/groups.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

/** What is drawn from, and measured. */
interface Resampled {
  split: Pick<Split, 'rows'>;
  metrics(rows?: Int32Array): Record<string, number>;
  strata?: ArrayLike<number> | undefined;
}

const groupIn = ({ intervals }: Context['options']): string | undefined => (intervals ? intervals.group : undefined);

/**
 * For each example the number of its group in the column of `intervals.group`, read before the long work; undefined without the
 * option. An example without a value is a group of its own.
 */
export async function readUnits({ options, inputs: { data } }: Context, split: Split): Promise<Int32Array | undefined> {
  const group = groupIn(options);
  if (group === undefined) return undefined;
  if (data === undefined)
    throw new StepError('`intervals.group` needs the input `data`, which has the column', 'Give the `data` that the tokens were made of.', [
      'intervals',
      'group',
    ]);
  const { of } = await readGroups(split, data, group, 'intervals');
  return of.map((place, example) => (place < 0 ? -1 - example : place));
}

export const allRows = ({ rows }: Pick<Split, 'rows'>): Int32Array => Int32Array.from({ length: rows }, (_, row) => row);

/** Undefined if the option turns them off. */
export function intervalsOf({ options }: Context, { split, metrics }: Resampled, unitsOf: UnitsOf): Intervals | undefined {
  const given = bootstrapOptions(options.intervals);
  if (given === undefined) return undefined;
  const units = unitsOf(allRows(split));
  return intervalsIn(bootstrap(metrics, units, given), given, { group: groupIn(options), stratified: units.strata !== undefined });
}

/** What the bootstrap draws, of some rows. */
export type UnitsOf = (rows: Int32Array) => Units;

/** Groups, strata or rows, as the option says. */
export function unitsIn({ options }: Context, groups: Int32Array | undefined, strata: Resampled['strata']): UnitsOf {
  const stratify = bootstrapOptions(options.intervals)?.stratify;
  return (rows) => ({ rows, ...(groups && { groups }), ...(!groups && stratify && strata && { strata }) });
}
