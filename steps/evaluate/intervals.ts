/** Confidence intervals of the metrics of an evaluation. */

import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { quote } from '../ml/data/sql.ts';
import { tableOf } from '../ml/data/table.ts';
import { bootstrap, type Units } from '../ml/metrics/bootstrap.ts';
import { bootstrapOptions } from '../ml/metrics/interval-options.ts';
import { type Intervals, intervalsIn } from '../ml/metrics/intervals.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

/** What is drawn from, and measured. */
interface Resampled {
  split: Pick<Split, 'rows'>;
  metrics(rows?: Int32Array): Record<string, number>;
  strata?: ArrayLike<number> | undefined;
}

const groupIn = ({ intervals }: Context['options']): string | undefined => (intervals ? intervals.group : undefined);

/** Checks the column of `intervals.group`, before the long work. */
export async function checkGroup({ options, inputs: { data } }: Context): Promise<void> {
  const group = groupIn(options);
  if (group === undefined) return;
  const refuse = (why: string, hint: string): never => {
    throw new StepError(why, hint, ['intervals', 'group']);
  };
  if (data === undefined)
    return refuse('`intervals.group` needs the input `data`, which has the column', 'Give the `data` that the tokens were made of.');
  const database = await Database.open();
  try {
    const columns = (await database.columns(tableOf(data))).map(({ name }) => name);
    if (!columns.includes(group)) refuse(`the data have no column \`${group}\` to group by`, `Their columns are ${columns.join(', ')}.`);
  } finally {
    database.close();
  }
}

/** Undefined if the option turns them off. */
export function intervalsOf({ options }: Context, { split, metrics }: Resampled, unitsOf: UnitsOf): Intervals | undefined {
  const given = bootstrapOptions(options.intervals);
  if (given === undefined) return undefined;
  const units = unitsOf(Int32Array.from({ length: split.rows }, (_, row) => row));
  return intervalsIn(bootstrap(metrics, units, given), given, { group: groupIn(options), stratified: units.strata !== undefined });
}

/** What the bootstrap draws, of some rows. */
export type UnitsOf = (rows: Int32Array) => Units;

/** Groups, strata or rows, as the option says. */
export async function unitsIn({ options, outputs }: Context, { strata }: Pick<Resampled, 'strata'>): Promise<UnitsOf> {
  const group = groupIn(options);
  const groups = group === undefined ? undefined : await groupsOf(group, outputs.predictions!);
  const stratify = bootstrapOptions(options.intervals)?.stratify;
  return (rows) => ({ rows, ...(groups && { groups }), ...(!groups && stratify && strata && { strata }) });
}

/** For each row the number of its group. A row without a value is a group of its own. */
async function groupsOf(column: string, predictions: string): Promise<Int32Array> {
  const database = await Database.open();
  try {
    const groups: number[] = [];
    const numbers = new Map<string, number>();
    const sql = `SELECT ${quote(column)}::VARCHAR AS name FROM ${tableOf(predictions)}`;
    for await (const rows of database.stream<{ name: string | null }>(sql))
      for (const { name } of rows) {
        if (name !== null && !numbers.has(name)) numbers.set(name, numbers.size);
        groups.push(name === null ? -1 - groups.length : numbers.get(name)!);
      }
    return Int32Array.from(groups);
  } finally {
    database.close();
  }
}
