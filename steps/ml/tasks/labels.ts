/** The labels of a table: their columns, their order, and whether a model can learn from them. */

import { StepError } from '../../../engine/contract/step.ts';
import type { Database, Row, TableColumn } from '../data/database.ts';
import { literal, quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
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

/** The rows that have a value in each of the columns. Rows without one are an error, or dropped if the option says so. */
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
export function labelSet(counts: LabelCount[], type: string, source: PreparationContext, option: string): string[] {
  const { known, splits, warn } = source;
  if (known) {
    refuseUnknown(counts, known, option);
    return known;
  }
  const labels = labelsInOrder(
    counts.map(({ label }) => label),
    type,
  );
  warnAlike(labels, warn);
  if (splits.has('train')) {
    const trained = counts.filter((one) => one.trained > 0).map(({ label }) => label);
    if (trained.length < 2)
      throw new StepError(
        `all rows of the split "train" have the same label, "${trained[0]}"`,
        'A classifier needs at least two labels to learn from.',
      );
    warnUntrained(labels, counts, warn);
  }
  return labels;
}

export function refuseUnknown(counts: LabelCount[], known: string[], option: string): void {
  const unknown = counts.filter(({ label }) => !known.includes(label));
  if (unknown.length === 0) return;
  const rows = unknown.reduce((sum, one) => sum + one.rows, 0);
  throw new StepError(
    `the model does not know the label ${listed(unknown.map(({ label }) => label))}, which ${rows} ${rows === 1 ? 'row has' : 'rows have'}`,
    `Its labels are ${listed(known)}. Rename the others in collect with \`select\`, or leave their rows out with \`where\`.`,
    [option],
  );
}

export function warnUntrained(labels: string[], counts: LabelCount[], warn: PreparationContext['warn']): void {
  const unseen = labels.filter((label) => !counts.some((one) => one.label === label && one.trained > 0));
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

/* Columns that give each row any number of labels. */

interface Sets {
  table: string;
  /** Labels that the option lists, not found in the rows. */
  names?: string[];
  /** SQL for the list of a row's labels. */
  list: string;
}

export async function labelLists(source: PreparationContext, name: string): Promise<Sets> {
  const column = requireColumn(source.columns, name, 'label');
  if (!column.type.endsWith('[]'))
    throw new StepError(
      `the column \`${name}\` contains ${column.type}, not lists`,
      'multi_label_classification needs a column of lists, or several columns of 0 and 1: `label: [toxic, insult]`.',
      ['label'],
    );
  const table = await labelledRows(source, [column]);
  const list = `${quote(name)}::VARCHAR[]`;
  const wrong = await source.database.rows<{ id: string }>(
    `SELECT id FROM ${table} WHERE len(list_filter(${list}, lambda x: x IS NULL OR x = '')) > 0 ORDER BY id LIMIT 1`,
  );
  if (wrong.length > 0)
    throw new StepError(
      `row ${wrong[0]!.id}: the list of labels in \`${name}\` contains null or an empty text`,
      'Clean it in collect with `select`.',
      ['label'],
    );
  const { repeated, rows, flags } = await source.database.row<{ repeated: number; rows: number; flags: number }>(
    `SELECT count(*) FILTER (WHERE len(labels) > len(list_distinct(labels))) AS repeated, count(*) AS rows,
       count(*) FILTER (WHERE len(list_filter(labels, lambda x: lower(x) NOT IN ('0', '1', '0.0', '1.0', 'true', 'false'))) = 0 AND len(labels) > 1) AS flags
     FROM (SELECT ${list} AS labels FROM ${table})`,
  );
  if (repeated > 0 && flags === rows)
    throw new StepError(
      `the lists in \`${name}\` contain 0 and 1 at the positions of labels, not the names of labels`,
      `Make a column of each position in collect, \`select: { toxic: "${name}[1]", insult: "${name}[2]" }\`, and list the columns here: \`label: [toxic, insult]\`.`,
      ['label'],
    );
  if (repeated > 0) source.warn(`${repeated} of ${rows} rows contain a label twice in \`${name}\`; it counts once`);
  return { table, list };
}

/** Columns that hold 0 and 1, or false and true, and nothing else. */
export async function flagColumns(source: PreparationContext, names: string[]): Promise<Sets> {
  const { known, columns, database } = source;
  const flags = names.map((name) => requireColumn(columns, name, 'label'));
  const without = known?.filter((label) => !names.includes(label)) ?? [];
  if (without.length > 0)
    throw new StepError(
      `the model also predicts ${listed(without)}, and \`label\` has no column for it`,
      `Its labels are ${listed(known!)}.`,
      ['label'],
    );
  const unknown = known ? names.filter((name) => !known.includes(name)) : [];
  if (unknown.length > 0)
    throw new StepError(`the model does not know the label ${listed(unknown)}`, `Its labels are ${listed(known!)}.`, ['label']);
  const table = await labelledRows(source, flags);
  await refuseOtherFlags(database, table, names, ['label']);
  const each = names.map((name) => `CASE WHEN ${flag(name)} = 1 THEN ${literal(name)} END`);
  return { table, names, list: `list_filter([${each.join(', ')}], lambda x: x IS NOT NULL)` };
}

/** Refuses other values in columns of flags, which have a value in each row. `option`: the one that lists the columns. */
export async function refuseOtherFlags(database: Database, table: string, names: string[], option: string[]): Promise<void> {
  for (const name of names) {
    const [wrong] = await database.rows<{ id: string; value: string; rows: number }>(
      `SELECT id, ${quote(name)}::VARCHAR AS value, count(*) OVER () AS rows FROM ${table} WHERE coalesce(${flag(name)} NOT IN (0, 1), true) ORDER BY id LIMIT 1`,
    );
    if (wrong)
      throw new StepError(
        `row ${wrong.id}: \`${name}\` is ${JSON.stringify(wrong.value)}, not 0, 1, false or true${wrong.rows > 1 ? ` (in ${wrong.rows} rows)` : ''}`,
        `A text has a label or does not. To turn a share into a label, use a threshold in collect: \`select: { ${name}: "${name} >= 0.5" }\`.`,
        option,
      );
  }
}

/** SQL for 1, 0, or any other value. */
export const flag = (name: string): string =>
  `(CASE lower(${quote(name)}::VARCHAR) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE TRY_CAST(${quote(name)}::VARCHAR AS DOUBLE) END)`;
