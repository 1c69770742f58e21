/** Which rows of the predictions are in each slice. */

import { StepError } from '../../engine/contract/step.ts';
import { type Database, QueryError, type TableColumn } from '../ml/data/database.ts';
import { quote, quotingAdvice } from '../ml/data/sql.ts';
import { containsAny } from '../ml/data/terms.ts';
import { quantile, splitAtSpace } from '../ml/metrics/counts.ts';
import type { SliceDefinition } from './slice-options.ts';

export interface Slice {
  name: string;
  /** Positions in the predictions. */
  rows: Int32Array;
}

export interface SlicedRows {
  slices: Slice[];
  /** What the user should know, such as that values share a slice. */
  notes: string[];
}

/** The predictions, as far as slices read them. */
export interface PredictedRows {
  database: Database;
  /** A relation for SQL, in the order of the rows. */
  table: string;
  columns: TableColumn[];
  /** Whether evaluate was given `data`. */
  withData: boolean;
  /** The column of texts by default. */
  text: string;
  /** The number of tokens of each row. */
  tokens(): Promise<Float64Array>;
}

/** Names of slices that are no values. */
const MISSING = '(missing)';
const OTHER = '(other)';
const NONE = '(none)';
/** An empty text. */
export const EMPTY = '(empty)';

export async function rowsOfSlices(predictions: PredictedRows, name: string, definition: SliceDefinition): Promise<SlicedRows> {
  const { column, where, length, terms } = definition;
  if (column !== undefined) return byValue(predictions, name, column, definition.max ?? 20);
  if (where !== undefined) return byCondition(predictions, name, where);
  if (length !== undefined) return byLength(predictions, name, { ...definition, length });
  return byTerms(predictions, name, terms!, definition.in ?? predictions.text);
}

/** Checks that the predictions have a column. `option`: the option that names it. */
export function requireSliceColumn(
  { columns, withData }: Pick<PredictedRows, 'columns' | 'withData'>,
  name: string,
  option: string[],
): TableColumn {
  const column = columns.find((one) => one.name === name);
  if (column) return column;
  throw new StepError(
    `${option.join('.')}: there is no column \`${name}\``,
    withData
      ? `The columns are ${columns.map((one) => `\`${one.name}\``).join(', ')}.`
      : 'Give evaluate the input `data`, the data that the tokens were made from: their columns can then be used.',
    option,
  );
}

/** The values of an SQL expression, in the order of the rows. */
async function* valuesOf<V>({ database, table }: PredictedRows, sql: string): AsyncGenerator<V | null> {
  for await (const chunk of database.stream<{ value: any }>(`SELECT ${sql} AS value FROM ${table}`))
    for (const { value } of chunk) yield value;
}

/** SQL of a value as text. NaN is a missing value. */
export function valueText({ columns }: Pick<PredictedRows, 'columns'>, column: string): string {
  const type = columns.find(({ name }) => name === column)?.type;
  const text = `${quote(column)}::VARCHAR`;
  return type === 'DOUBLE' || type === 'FLOAT' ? `CASE WHEN NOT isnan(${quote(column)}) THEN ${text} END` : text;
}

/** The most frequent values of a column as texts, without missing values, and the number of all values. */
export async function frequentValues(predictions: PredictedRows, column: string, most: number) {
  const { database, table } = predictions;
  const value = valueText(predictions, column);
  const { count } = await database.row<{ count: number }>(`SELECT count(DISTINCT ${value}) AS count FROM ${table}`);
  const values = await database.rows<{ value: string }>(
    `SELECT ${value} AS value FROM ${table} WHERE (${value}) IS NOT NULL GROUP BY ALL ORDER BY count(*) DESC, value LIMIT ${most}`,
  );
  return { count, values: values.map((row) => row.value) };
}

/** For each row the index of its value; then come `(other)` and `(missing)`, which no row may have. */
export async function codesOf(predictions: PredictedRows, column: string, values: string[]): Promise<Int32Array> {
  const places = new Map(values.map((value, place) => [value, place]));
  const codes: number[] = [];
  for await (const value of valuesOf<string>(predictions, valueText(predictions, column)))
    codes.push(value === null ? values.length + 1 : (places.get(value) ?? values.length));
  return Int32Array.from(codes);
}

export const CODE_NAMES = [OTHER, MISSING];

async function byValue(predictions: PredictedRows, name: string, column: string, max: number): Promise<SlicedRows> {
  requireSliceColumn(predictions, column, ['slices', name, 'column']);
  const { count, values } = await frequentValues(predictions, column, max);
  const own = count > max ? values.slice(0, max - 1) : values;
  const slices = slicesOf(await codesOf(predictions, column, own), [...own.map((value) => (value === '' ? EMPTY : value)), ...CODE_NAMES]);
  return {
    slices: slices.filter(({ rows }) => rows.length > 0),
    notes: count > max ? [`slices.${name}: \`${column}\` has ${count} values; the ${own.length} most frequent have a slice each`] : [],
  };
}

async function byCondition(predictions: PredictedRows, name: string, where: string): Promise<SlicedRows> {
  const option = ['slices', name, 'where'];
  const sql = `(\n${where}\n)::BOOLEAN`;
  const { database, table, columns, withData } = predictions;
  try {
    // With the id, because an expression that aggregates rows would otherwise be valid.
    await database.run(`SELECT count(id), count(value) FROM (SELECT id, ${sql} AS value FROM ${table})`);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    const why = /GROUP BY/.test(error.message)
      ? 'the expression is evaluated for each row, so it cannot aggregate rows as count(*) does'
      : error.message;
    const names = columns.map((one) => `\`${one.name}\``).join(', ');
    const known = `The columns are ${names}.${quotingAdvice(columns, where, error.message)}`;
    throw new StepError(
      `${option.join('.')}: ${where}: ${why}`,
      withData ? known : `${known} To use columns of the data, give evaluate the input \`data\`.`,
      option,
    );
  }
  const codes: number[] = [];
  for await (const value of valuesOf<boolean>(predictions, sql)) codes.push(value === null ? 2 : value ? 0 : 1);
  return { slices: withoutEmptyMissing(slicesOf(Int32Array.from(codes), [name, `not ${name}`, MISSING])), notes: [] };
}

async function byLength(predictions: PredictedRows, name: string, definition: SliceDefinition & { length: string }): Promise<SlicedRows> {
  const { length, unit = 'characters' } = definition;
  const lengths =
    unit === 'tokens'
      ? await predictions.tokens()
      : await lengthsOf(predictions, textIn(predictions, length, ['slices', name, 'length']), unit);
  const edges = definition.edges ?? quartilesOf(lengths);
  const codes = lengths.map((own) => (Number.isNaN(own) ? edges.length + 1 : edges.filter((edge) => own >= edge).length));
  const names = Array.from({ length: edges.length + 1 }, (_, i) => nameOfRange(edges[i - 1], edges[i]));
  const slices = withoutEmptyMissing(slicesOf(Int32Array.from(codes), [...names, MISSING]));
  return {
    slices: slices.map((slice) => ({ ...slice, name: slice.name === MISSING ? MISSING : `${slice.name} ${unit}` })),
    notes: [],
  };
}

/** `text`: SQL. NaN for a missing text. */
async function lengthsOf(predictions: PredictedRows, text: string, unit: 'characters' | 'words'): Promise<Float64Array> {
  const lengths: number[] = [];
  for await (const value of valuesOf<string | number>(predictions, unit === 'words' ? text : `length(${text})`))
    lengths.push(value === null ? Number.NaN : typeof value === 'string' ? splitAtSpace(value).length : value);
  return Float64Array.from(lengths);
}

/** Whole numbers that cut the lengths into four parts of about equal size; fewer if many texts have the same length. */
function quartilesOf(lengths: Float64Array): number[] {
  const sorted = lengths.filter((own) => !Number.isNaN(own)).sort();
  if (sorted.length === 0) return [];
  const cuts = [0.25, 0.5, 0.75].map((share) => Math.ceil(quantile(sorted, share)));
  return [...new Set(cuts)].filter((cut) => cut > sorted[0]!);
}

function nameOfRange(from: number | undefined, to: number | undefined): string {
  if (from === undefined) return to === undefined ? 'all' : `< ${to}`;
  if (to === undefined) return `≥ ${from}`;
  return Number.isInteger(to) && Number.isInteger(from) ? (to - 1 === from ? `${from}` : `${from}–${to - 1}`) : `${from} to < ${to}`;
}

async function byTerms(
  predictions: PredictedRows,
  name: string,
  terms: string[] | Record<string, string[]>,
  column: string,
): Promise<SlicedRows> {
  const texts = textIn(predictions, column, ['slices', name, 'in']);
  const lists = Array.isArray(terms) ? [[name, terms] as const] : Object.entries(terms);
  const tests = lists.map(([, list]) => containsAny(list));
  const rows: number[][] = [...lists, NONE, MISSING].map(() => []);
  let row = 0;
  for await (const text of valuesOf<string>(predictions, texts)) {
    const found = text === null ? [] : tests.flatMap((test, i) => (test(text) ? [i] : []));
    for (const place of found) rows[place]!.push(row);
    if (found.length === 0) rows[text === null ? lists.length + 1 : lists.length]!.push(row);
    row++;
  }
  const names = [...lists.map(([list]) => list), NONE, MISSING];
  return { slices: withoutEmptyMissing(names.map((own, i) => ({ name: own, rows: Int32Array.from(rows[i]!) }))), notes: [] };
}

/** SQL of the texts in a column. Words are joined by spaces, as the task does. */
function textIn(predictions: PredictedRows, column: string, option: string[]): string {
  const { type } = requireSliceColumn(predictions, column, option);
  if (type === 'VARCHAR') return quote(column);
  if (type === 'VARCHAR[]') return `array_to_string(${quote(column)}, ' ')`;
  throw new StepError(
    `${option.join('.')}: the column \`${column}\` contains ${type}, not texts`,
    'Use a column of texts, or of lists of words.',
    option,
  );
}

function slicesOf(codes: Int32Array, names: string[]): Slice[] {
  const rows: number[][] = names.map(() => []);
  for (let row = 0; row < codes.length; row++) rows[codes[row]!]!.push(row);
  return names.map((name, i) => ({ name, rows: Int32Array.from(rows[i]!) }));
}

const withoutEmptyMissing = (slices: Slice[]): Slice[] => slices.filter(({ name, rows }) => name !== MISSING || rows.length > 0);
