/** Which labels are confused, how often, and the groups of rows with each kind of confusion. */

import { type EvaluationFile, listOf, numberOf } from './artifacts.ts';
import { counted, visible } from './document.ts';
import type { Confused, PredictionTable } from './predictions.ts';

/** A classifier's labels and counts, from its metrics file or from its predictions. */
export interface Confusion {
  labels: string[];
  /** Undefined for sets of labels. */
  counts?: number[][];
  /** For each label, how often a set has it rightly, has it too many, and lacks it. */
  sets?: { hits: number; added: number; missed: number }[];
}

export async function confusionOf(
  evaluation: EvaluationFile | undefined,
  rows: PredictionTable | undefined,
): Promise<Confusion | undefined> {
  const labels = listOf(evaluation?.file.labels).filter((label) => typeof label === 'string');
  const counts = listOf(evaluation?.file.confusion_matrix).map((row) => listOf(row).map((n) => numberOf(n) ?? 0));
  if (labels.length > 0 && counts.length === labels.length && counts.every((row) => row.length === labels.length))
    return { labels, counts };
  const kind = rows?.kind;
  const own = rows && labels.length === 0 && (kind === 'label' || kind === 'labels' || kind === 'tags') ? await rows.labels() : labels;
  if (kind === 'label' || kind === 'tags') return { labels: own, counts: await rows!.confusion(own) };
  if (kind === 'labels') return { labels: own, sets: await rows!.setCounts(own) };
  return own.length > 0 ? { labels: own } : undefined;
}

/** Rows that are confused in one way. The confusion matrix links to them. */
export interface ConfusedGroup {
  /** The anchor. */
  id: string;
  heading: string;
  rows: number;
  how: Confused;
  /** The labels are confused, so the rows are no mistakes. */
  right?: boolean;
}

/** The anchor of the examples of a cell. */
export const cellAnchor = (row: number, column: number): string => `cell-${row}-${column}`;

/** The anchor of the examples of a label of a set. */
export const setAnchor = (row: number, kind: 'added' | 'missed'): string => `${kind}-${row}`;

/** The groups that have examples in the report: the most frequent mistakes, and then what was right. */
export function groupsOf({ labels, counts, sets }: Confusion, { words }: { words: boolean }): ConfusedGroup[] {
  const name = (label: string) => `“${visible(label)}”`;
  const unit = (n: number) => counted(n, words ? 'word' : 'row');
  const cells = (counts ?? []).flatMap((counted, row) =>
    counted.map((rows, column): ConfusedGroup => {
      const [label, prediction] = [labels[row]!, labels[column]!];
      const right = row === column;
      const heading = `${name(label)} ${right ? 'predicted correctly' : `predicted as ${name(prediction)}`}: ${unit(rows)}`;
      return { id: cellAnchor(row, column), heading, rows, how: { label, prediction }, ...(right && { right }) };
    }),
  );
  const ofSets = (sets ?? []).flatMap(({ added, missed }, row): ConfusedGroup[] => [
    { id: setAnchor(row, 'missed'), heading: `${name(labels[row]!)} missed: ${unit(missed)}`, rows: missed, how: { missed: labels[row]! } },
    {
      id: setAnchor(row, 'added'),
      heading: `${name(labels[row]!)} predicted wrongly: ${unit(added)}`,
      rows: added,
      how: { added: labels[row]! },
    },
  ]);
  return [...cells, ...ofSets]
    .filter(({ rows }) => rows > 0)
    .sort((a, b) => Number(a.right ?? false) - Number(b.right ?? false) || b.rows - a.rows)
    .slice(0, MOST_GROUPS);
}

const MOST_GROUPS = 25;
