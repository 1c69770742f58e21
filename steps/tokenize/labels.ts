/** Label sets of a table: their order, and whether something can be learned from them. */
import { StepError } from '../../engine/step.ts';
import { quote } from '../data/database.ts';
import { listed } from '../models/checkpoint.ts';
import type { Source } from './tokenize.ts';

/** Labels that are numbers go by value, so that 0, 1, 2 … keep their places; all others by bytes. */
export function labelsInOrder(names: string[], type: string): string[] {
  const numbers = /INT|DOUBLE|FLOAT|DECIMAL/.test(type);
  return [...new Set(names)].sort(numbers ? (a, b) => Number(a) - Number(b) : (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

export function refuseUnlabelled(counts: { label: string | null; rows: number }[], label: string): void {
  const unlabelled = sum(counts.filter((count) => count.label === null));
  if (unlabelled > 0) {
    throw new StepError(
      `${unlabelled} of ${sum(counts)} rows have no label`,
      `Leave them out when collecting: \`where: '"${label}" is not null'\`.`,
    );
  }
}

/** `trained`: the labels of the split train. */
export function requireTwo(labels: string[], trained: string[], warn: Source['warn']): void {
  const seen = new Set(trained);
  if (seen.size < 2) {
    throw new StepError(
      `all rows of the split "train" have one label, "${trained[0]}"`,
      'A classifier needs at least two labels to learn from.',
    );
  }
  const unseen = labels.filter((name) => !seen.has(name));
  if (unseen.length > 0) warn(`no training text has the label ${listed(unseen)}: it cannot be learned`);
}

/** Rows without a text are learned from, too, as empty texts: whoever did not mean that should know. */
export async function warnEmpty({ database, table, warn }: Source, columns: string[]): Promise<void> {
  const nulls = columns.map((column) => `${quote(column)} IS NULL`).join(' OR ');
  const { rows, empty } = await database.row<{ rows: number; empty: number }>(
    `SELECT count(*) AS rows, count(*) FILTER (WHERE ${nulls}) AS empty FROM ${table}`,
  );
  if (empty > 0) warn(`${empty} of ${rows} rows have no text; they are taken as empty texts`);
}

const sum = (counts: { rows: number }[]): number => counts.reduce((total, { rows }) => total + rows, 0);
