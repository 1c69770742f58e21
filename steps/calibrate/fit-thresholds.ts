/** Which thresholds a model gets: for each label that needs one, and for each value of a column. */

import { StepError } from '../../engine/contract/step.ts';
import type { ModelCalibration, Thresholds } from '../ml/models/calibration.ts';
import type { Groups } from '../ml/tasks/groups.ts';
import type { Scored } from './temperature.ts';
import { type Aim, type Chosen, chooseThreshold } from './thresholds.ts';

interface Labelled {
  labels: string[];
  scored: Scored;
  /** Calibrated, row by row. */
  probabilities: Float64Array;
  /** The labels, as indices, that get a threshold; those in one list share theirs. */
  sharing: number[][];
}

export interface Grouping extends Groups {
  column: string;
  /** How predict and serve read the column. */
  reading: Pick<ModelCalibration, 'group_type' | 'group_in_files'>;
  /** Values with fewer rows get no thresholds of their own. */
  least: number;
}

export interface FittedThresholds extends Required<Pick<ModelCalibration, 'thresholds'>>, Pick<ModelCalibration, 'group_thresholds'> {
  /** What each threshold achieves. */
  table: (Chosen & { label: string; group?: string })[];
  /** Why a label has no threshold. */
  missing: Record<string, string>;
  /** Why a value of the column, or a label for it, has no threshold of its own. */
  missingForGroups: Record<string, string>;
}

export function fitThresholds(labelled: Labelled, aim: Aim, grouping: Grouping | undefined): FittedThresholds {
  const rows = Int32Array.from({ length: labelled.probabilities.length / labelled.scored.width }, (_, row) => row);
  const { thresholds, table, missing } = thresholdsOf(labelled, aim, rows);
  if (table.length === 0)
    throw new StepError(`no label can get a threshold: ${reasons(missing)}`, 'Each needs rows that have it and rows that do not.', [
      'threshold',
    ]);
  if (!grouping) return { thresholds, table, missing, missingForGroups: {} };
  const sharing = labelled.sharing.filter((shared) => !Object.hasOwn(missing, nameOf(shared, labelled)));
  const missingForGroups: Record<string, string> = {};
  const { column, least, names, of } = grouping;
  const members = names.map((): number[] => []);
  for (const row of rows) if (of[row]! >= 0) members[of[row]!]!.push(row);
  const groups: Record<string, Thresholds> = Object.create(null);
  for (const [i, name] of names.entries()) {
    const group = { column, name };
    if (members[i]!.length < least) {
      missingForGroups[whoIs(group)] = `it has ${members[i]!.length} of at least ${least} rows (min_group_rows)`;
      continue;
    }
    const own = thresholdsOf({ ...labelled, sharing }, aim, Int32Array.from(members[i]!), group);
    if (Object.keys(own.thresholds).length > 0) groups[name] = { ...thresholds, ...own.thresholds };
    table.push(...own.table);
    Object.assign(missingForGroups, own.missing);
  }
  if (Object.keys(groups).length === 0)
    throw new StepError(
      `no value of \`${column}\` can get thresholds of its own: ${names.length === 0 ? 'the column is empty' : reasons(missingForGroups)}`,
      'Use a column with fewer values, a larger validation split or a smaller min_group_rows.',
      ['group'],
    );
  return { thresholds, group_thresholds: groups, table, missing, missingForGroups };
}

interface Group {
  column: string;
  name: string;
}

/** For these rows. */
function thresholdsOf(labelled: Labelled, aim: Aim, rows: Int32Array, group?: Group) {
  const { labels, scored, probabilities, sharing } = labelled;
  const fitted: Pick<FittedThresholds, 'thresholds' | 'table' | 'missing'> = { thresholds: {}, table: [], missing: {} };
  for (const shared of sharing) {
    const label = nameOf(shared, labelled);
    const who = group ? `${label} for ${whoIs(group)}` : label;
    const scores = new Float64Array(rows.length * shared.length);
    const truth = new Uint8Array(scores.length);
    for (const [i, row] of rows.entries())
      for (const [j, k] of shared.entries()) {
        scores[i * shared.length + j] = probabilities[row * scored.width + k]!;
        truth[i * shared.length + j] = Number(applies(scored, row, k));
      }
    const positives = truth.reduce((sum, flag) => sum + flag, 0);
    if (positives === 0 || positives === truth.length) {
      fitted.missing[who] = positives === 0 ? 'no row has it' : 'every row has it';
      continue;
    }
    const chosen = chooseThreshold(scores, truth, aim, who);
    for (const k of shared) fitted.thresholds[labels[k]!] = chosen.threshold;
    fitted.table.push({ label, ...(group && { group: group.name }), ...chosen });
  }
  return fitted;
}

const applies = ({ truth, width, independent }: Scored, row: number, k: number): boolean =>
  independent ? truth[row * width + k] === 1 : truth[row] === k;

/** What messages call labels that share a threshold. */
const nameOf = (shared: number[], { labels }: Labelled): string => (shared.length === 1 ? labels[shared[0]!]! : 'all labels');

const whoIs = ({ column, name }: Group): string => `${column} = ${name}`;

/** For a message: the first three. */
export function reasons(missing: Record<string, string>): string {
  const all = Object.entries(missing).map(([who, why]) => `${who} (${why})`);
  return all.length <= 3 ? all.join(', ') : `${all.slice(0, 3).join(', ')} and ${all.length - 3} more`;
}
