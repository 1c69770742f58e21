/**
 * Reweighing (Kamiran & Calders 2012, "Data preprocessing techniques for classification without discrimination"): the
 * loss of a row has the weight P(group) · P(label) / P(group, label), counted in the training split. With these weights,
 * group and label are independent of each other. The values equal those of AIF360.
 */

import type { Batch } from '../ml/models/batches.ts';
import type { Split } from '../ml/models/token-dataset.ts';
import type { HostTensor } from '../ml/runtime/runtime.ts';
import { type Groups, readGroups } from '../ml/tasks/groups.ts';
import { classesOf } from './loss-weights.ts';
import type { TrainContext } from './step.ts';

/** The weight of each sequence of the training split; undefined without the option. */
export async function rowWeightsOf(
  { options, inputs, log, warn }: TrainContext,
  labels: string[],
  split: Split,
): Promise<Float32Array | undefined> {
  const data = inputs['reweigh.data'];
  if (!options.reweigh || data === undefined) return undefined;
  const groups = await groupsOf(split, data, [options.reweigh.group].flat());
  const classes = classesOf(split);
  const weights = reweighed(groups, classes);
  const found = new Map<string, { group: string; label: string; rows: number; weight: number }>();
  for (const [i, group] of groups.entries()) {
    const key = `${group}\0${classes[i]}`;
    const known = found.get(key);
    if (known) known.rows++;
    else found.set(key, { group, label: labels[classes[i]!]!, rows: 1, weight: weights[i]! });
  }
  if (new Set(groups).size === 1) warn(`reweigh has no effect: all rows of the training split are in the group ${groups[0]}`);
  const listed = [...found.values()].sort((a, b) => (a.group === b.group ? (a.label < b.label ? -1 : 1) : a.group < b.group ? -1 : 1));
  for (const { group, label, rows, weight } of listed.slice(0, MOST_LINES))
    log(`reweigh: ${group}, ${label}: ${rows} rows with the weight ${weight.toPrecision(4)}`);
  if (listed.length > MOST_LINES) log(`reweigh: and ${listed.length - MOST_LINES} more combinations of a group and a label`);
  return weights;
}

const MOST_LINES = 20;

/** The group of each row; a missing value is a group of its own. */
async function groupsOf(split: Split, data: string, columns: string[]): Promise<string[]> {
  const all: Groups[] = [];
  for (const column of columns) all.push(await readGroups(split, data, column, 'reweigh'));
  return Array.from({ length: split.rows }, (_, i) => all.map(({ names, of }) => names[of[i]!] ?? '(missing)').join(' / '));
}

/** The weight of each row by its group and its label. */
export function reweighed(groups: readonly string[], classes: Int32Array): Float32Array {
  const count = <K>(keys: Iterable<K>) => {
    const counts = new Map<K, number>();
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
    return counts;
  };
  const both = groups.map((group, i) => `${classes[i]} ${group}`);
  const [ofGroup, ofClass, ofBoth] = [count(groups), count(classes), count(both)];
  return Float32Array.from(
    groups,
    (group, i) => (ofGroup.get(group)! * ofClass.get(classes[i]!)!) / (groups.length * ofBoth.get(both[i]!)!),
  );
}

/** The input of the loss for a batch. */
export const weightsInput = (weights: Float32Array, { sequences }: Batch): HostTensor => ({
  dtype: 'float32',
  shape: [sequences.length],
  data: Float32Array.from(sequences, (sequence) => weights[sequence]!),
});
