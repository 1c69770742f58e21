/** Label sets of a table: their order, and whether a model can learn from them. */

import { StepError } from '../../../engine/step.ts';
import { quote, type Row, type TableColumn } from '../data/database.ts';
import { listed } from '../models/json.ts';
import type { PreparationContext } from './task.ts';

/** Labels that are numbers are sorted by value, so that 0, 1, 2 … keep their positions; all others by bytes. */
export function labelsInOrder(names: string[], type: string): string[] {
  const numbers = /INT|DOUBLE|FLOAT|DECIMAL/.test(type);
  return [...new Set(names)].sort(numbers ? (a, b) => Number(a) - Number(b) : (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** A SQL condition for rows without a value in this column: null, an empty text, or NaN. */
export function isMissing({ name, type }: TableColumn): string {
  const column = quote(name);
  if (type.endsWith('[]')) return `${column} IS NULL`;
  return `(${column} IS NULL OR ${column}::VARCHAR = ''${/^(FLOAT|DOUBLE)$/.test(type) ? ` OR isnan(${column})` : ''})`;
}

/**
 * The rows that have a value in each of the columns. Rows without one are an error, or dropped if the option says so.
 */
export async function labelledRows({ database, table, options, log }: PreparationContext, columns: TableColumn[]): Promise<string> {
  const missing = columns.map(isMissing).join(' OR ');
  const { rows, without, first } = await database.row<{ rows: number; without: number; first: string | null }>(
    `SELECT count(*) AS rows, count(*) FILTER (WHERE ${missing}) AS without, min(id) FILTER (WHERE ${missing}) AS first FROM ${table}`,
  );
  if (without === 0) return table;
  const names = columns.map(({ name }) => `\`${name}\``).join(' or ');
  if (options.missing !== 'drop')
    throw new StepError(
      `${without} of ${rows} rows have no label: ${names} is empty, first in row ${first}`,
      '`missing: drop` leaves such rows out.',
      ['label'],
    );
  if (without === rows) throw new StepError(`no row has a label: ${names} is empty in all ${rows}`, undefined, ['label']);
  log(`${without} of ${rows} rows have no label and are dropped (missing: drop)`);
  return `(SELECT * FROM ${table} WHERE NOT (${missing}))`;
}

export interface LabelCount extends Row {
  label: string;
  rows: number;
  /** How many of them are in the split `train`. */
  trained: number;
}

/**
 * The labels in the order of the model if it names them and nothing is to be trained; otherwise those of the data, of
 * which training needs at least two. `option`: the one that names the column.
 */
export function labelSet(found: LabelCount[], type: string, source: PreparationContext, option: string): string[] {
  const { known, splits, warn } = source;
  if (known) {
    refuseUnknown(found, known, option);
    return known;
  }
  const labels = labelsInOrder(
    found.map(({ label }) => label),
    type,
  );
  warnAlike(labels, warn);
  if (splits.has('train')) {
    const trained = found.filter((one) => one.trained > 0).map(({ label }) => label);
    if (trained.length < 2)
      throw new StepError(
        `all rows of the split "train" have the same label, "${trained[0]}"`,
        'A classifier needs at least two labels to learn from.',
      );
    warnUntrained(labels, trained, warn);
  }
  return labels;
}

export function refuseUnknown(found: LabelCount[], known: string[], option: string): void {
  const unknown = found.filter(({ label }) => !known.includes(label));
  if (unknown.length === 0) return;
  const rows = unknown.reduce((sum, one) => sum + one.rows, 0);
  throw new StepError(
    `the model does not know the label ${listed(unknown.map(({ label }) => label))}, which the data have ${rows} times`,
    `Its labels are ${listed(known)}. Rename the others in collect with \`select\`, or leave their rows out with \`where\`.`,
    [option],
  );
}

export function warnUntrained(labels: string[], trained: string[], warn: PreparationContext['warn']): void {
  const unseen = labels.filter((label) => !trained.includes(label));
  if (unseen.length > 0) warn(`no training row has the label ${listed(unseen)}: the model cannot learn it`);
}

/** Labels such as "spam", "Spam" and "spam " usually mean the same. */
function warnAlike(labels: string[], warn: PreparationContext['warn']): void {
  for (const label of labels) {
    const same = labels.filter((other) => plain(other) === plain(label));
    if (same.length > 1 && same[0] === label)
      warn(
        `the labels ${same.map((one) => JSON.stringify(one)).join(' and ')} differ only in case or spaces, and count as ${same.length} labels`,
      );
  }
}

const plain = (label: string): string => label.trim().toLowerCase();

/** Rows without a text are trained on as empty texts, so a warning reports them. */
export async function warnEmpty({ database, table, warn }: PreparationContext, columns: string[]): Promise<void> {
  const nulls = columns.map((column) => `${quote(column)} IS NULL`).join(' OR ');
  const { rows, empty } = await database.row<{ rows: number; empty: number }>(
    `SELECT count(*) AS rows, count(*) FILTER (WHERE ${nulls}) AS empty FROM ${table}`,
  );
  if (empty > 0) warn(`${empty} of ${rows} rows have no text and are taken as empty texts`);
}
