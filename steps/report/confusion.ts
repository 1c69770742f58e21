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

/** A cell of the matrix, or what is wrong with a label of sets. */
type Found = { rows: number; row: number; right?: boolean } & ({ column: number } | { kind: 'missed' | 'added' });

/** The groups that have examples in the report: the most frequent mistakes, and then what was right. */
export function groupsOf({ labels, counts, sets }: Confusion, { words }: { words: boolean }): ConfusedGroup[] {
  const found: Found[] = [];
  for (const [row, counted] of counts?.entries() ?? [])
    for (const [column, rows] of counted.entries()) if (rows > 0) found.push({ rows, right: row === column, row, column });
  for (const [row, { missed, added }] of sets?.entries() ?? []) {
    if (missed > 0) found.push({ rows: missed, row, kind: 'missed' });
    if (added > 0) found.push({ rows: added, row, kind: 'added' });
  }
  found.sort((a, b) => Number(a.right ?? false) - Number(b.right ?? false) || b.rows - a.rows);
  // There may be a million cells, so only the groups that are shown get a heading.
  return found.slice(0, MOST_GROUPS).map((one) => groupOf(one, labels, counted(one.rows, words ? 'word' : 'row')));
}

function groupOf(found: Found, labels: string[], size: string): ConfusedGroup {
  const { rows, row, right } = found;
  const label = labels[row]!;
  const quoted = (text: string) => `“${visible(text)}”`;
  if ('kind' in found) {
    const { kind } = found;
    const what = kind === 'missed' ? 'missed' : 'predicted wrongly';
    const how = kind === 'missed' ? { missed: label } : { added: label };
    return { id: setAnchor(row, kind), heading: `${quoted(label)} ${what}: ${size}`, rows, how };
  }
  const prediction = labels[found.column]!;
  const what = right ? 'predicted correctly' : `predicted as ${quoted(prediction)}`;
  const id = cellAnchor(row, found.column);
  return { id, heading: `${quoted(label)} ${what}: ${size}`, rows, how: { label, prediction }, ...(right && { right }) };
}

const MOST_GROUPS = 25;
