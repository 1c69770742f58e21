/**
 * Slices that nobody declared: values of one column, or of two columns together, whose rows have a higher error than all
 * other rows. They are sorted by the lower bound of the difference. The bounds hold for all tested combinations together
 * (Bonferroni), so that small slices with a high error by chance do not come first.
 */

import { quote } from '../ml/data/sql.ts';
import { picked, quantile } from '../ml/metrics/counts.ts';
import { meansInterval, newcombeInterval, type SampleSums } from '../ml/metrics/proportions.ts';
import type { DiscoveredSlice, DiscoveryReport } from '../ml/metrics/subgroup-report.ts';
import { sameAsLabel } from './predictions.ts';
import { CODE_NAMES, codesOf, frequentValues, type PredictedRows, requireSliceColumn, valueText } from './slice-rows.ts';

/** The value of each row in a column, as an index of `values`. */
export interface CodedColumn {
  name: string;
  values: string[];
  codes: Int32Array;
}

interface DiscoveryOptions {
  /** Combinations with fewer rows, and those with fewer other rows, are not tested. */
  min_rows: number;
  /** The number of combinations that are returned. */
  max: number;
  level: number;
}

/** `tested`: the number of combinations with enough rows. */
export function discoverSlices(
  columns: CodedColumn[],
  errors: Float64Array,
  { min_rows, max, level }: DiscoveryOptions,
): { tested: number; found: DiscoveredSlice[] } {
  const all = sampleOf(errors);
  const shares = errors.every((error) => error === 0 || error === 1);
  const candidates = [...columns.map((column) => [column]), ...pairsOf(columns)].flatMap((parts) =>
    samplesOf(parts, errors)
      .filter(({ sample }) => sample.rows >= min_rows && all.rows - sample.rows >= min_rows)
      .map((candidate) => ({ parts, ...candidate })),
  );
  const adjusted = 1 - (1 - level) / Math.max(1, candidates.length);
  const judged = candidates.map(({ parts, codes, sample }) => {
    const rest = { rows: all.rows - sample.rows, sum: all.sum - sample.sum, squares: all.squares - sample.squares };
    const { low, high } = shares
      ? newcombeInterval({ hits: sample.sum, rows: sample.rows }, { hits: rest.sum, rows: rest.rows }, adjusted)
      : meansInterval(sample, rest, adjusted);
    const [error, others] = [sample.sum / sample.rows, rest.sum / rest.rows];
    const where = Object.fromEntries(parts.map(({ name, values }, p) => [name, values[codes[p]!]!]));
    return { where, rows: sample.rows, error, rest: others, difference: error - others, low, high };
  });
  const lowOf = new Map(judged.map((one) => [keyOf(one.where), one.low]));
  const found = judged
    .filter(({ low, where }) => low > 0 && partsOf(where).every((part) => low > (lowOf.get(part) ?? Number.NEGATIVE_INFINITY)))
    .sort((a, b) => b.low - a.low || b.rows - a.rows);
  return { tested: candidates.length, found: found.slice(0, max) };
}

const keyOf = (where: Record<string, string>): string => JSON.stringify(Object.entries(where));

/** The single values of a combination: it must say more than each of them. */
function partsOf(where: Record<string, string>): string[] {
  const entries = Object.entries(where);
  return entries.length < 2 ? [] : entries.map((entry) => JSON.stringify([entry]));
}

const pairsOf = (columns: CodedColumn[]): CodedColumn[][] => columns.flatMap((one, i) => columns.slice(i + 1).map((other) => [one, other]));

function sampleOf(errors: Float64Array): SampleSums {
  const sample = { rows: errors.length, sum: 0, squares: 0 };
  for (const error of errors) {
    sample.sum += error;
    sample.squares += error ** 2;
  }
  return sample;
}

/** For each combination of values that occurs. */
function samplesOf(parts: CodedColumn[], errors: Float64Array): { codes: number[]; sample: SampleSums }[] {
  const width = parts[1]?.values.length ?? 1;
  const cells = parts[0]!.values.length * width;
  const [rows, sums, squares] = [new Int32Array(cells), new Float64Array(cells), new Float64Array(cells)];
  const [first, second] = parts.map(({ codes }) => codes);
  for (let i = 0; i < errors.length; i++) {
    const cell = first![i]! * width + (second ? second[i]! : 0);
    rows[cell]!++;
    sums[cell]! += errors[i]!;
    squares[cell]! += errors[i]! ** 2;
  }
  return Array.from(rows.keys())
    .filter((cell) => rows[cell]! > 0)
    .map((cell) => ({
      codes: [Math.floor(cell / width), cell % width].slice(0, parts.length),
      sample: { rows: rows[cell]!, sum: sums[cell]!, squares: squares[cell]! },
    }));
}

/* What the predictions say about each row. */

/** Columns with more different values are no groups. */
const MOST_VALUES = 20;

/** `candidates`: columns that may be groups. Unless the option `columns` lists them, only those with few values and numbers are. */
export async function discoverIn(
  predictions: PredictedRows,
  { columns, min_rows = 20, max = 10 }: { columns?: string[]; min_rows?: number; max?: number },
  candidates: string[],
): Promise<DiscoveryReport> {
  const used = columns ?? (await groupColumns(predictions, candidates));
  const coded: CodedColumn[] = [];
  for (const column of used) coded.push(await codedColumn(predictions, column));
  const correct = predictions.columns.some(({ name }) => name === 'correct');
  const errors = await numbersOf(predictions, correct ? 'CASE WHEN correct THEN 0 ELSE 1 END' : 'loss');
  const known = Int32Array.from(errors.keys()).filter((row) => Number.isFinite(errors[row]!));
  const of = coded.map(({ codes, ...column }) => ({ ...column, codes: known.map((row) => codes[row]!) }));
  const { tested, found } = discoverSlices(of, picked(errors, known), { min_rows, max, level: LEVEL });
  const none =
    tested === 0
      ? `no combination of ${used.length === 0 ? 'columns' : used.join(', ')} has at least ${min_rows} rows, and as many other rows`
      : `none of ${tested} combinations has a clearly higher error than the other rows`;
  return {
    error: correct ? 'the share of rows that are predicted incorrectly' : 'the mean loss',
    columns: used,
    min_rows,
    ...(known.length < errors.length && { without_error: errors.length - known.length }),
    tested,
    level: LEVEL,
    slices: found,
    ...(found.length === 0 && { undefined: none }),
  };
}

const LEVEL = 0.95;

/** The numbers of an SQL expression, in the order of the rows; NaN if missing. */
async function numbersOf({ database, table }: PredictedRows, sql: string): Promise<number[]> {
  const numbers: number[] = [];
  // Values that JSON cannot represent come as texts.
  for await (const chunk of database.stream<{ value: number | string | null }>(`SELECT (${sql})::DOUBLE AS value FROM ${table}`))
    for (const { value } of chunk) numbers.push(value === null ? Number.NaN : Number(value));
  return numbers;
}

/** Of these columns, those with few values, and numbers. */
async function groupColumns(predictions: PredictedRows, candidates: string[]): Promise<string[]> {
  const { database, table, columns } = predictions;
  const found: string[] = [];
  for (const { name, type } of columns.filter((one) => candidates.includes(one.name))) {
    if (isNumber(type)) found.push(name);
    else if (!type.endsWith('[]') && !/^(STRUCT|MAP)/.test(type)) {
      const { count } = await database.row<{ count: number }>(
        `SELECT count(DISTINCT ${valueText(predictions, name)}) AS count FROM ${table}`,
      );
      if (count <= MOST_VALUES) found.push(name);
    }
  }
  return found;
}

/** Whether each row has its label in this column. */
export async function agreesWithLabel({ database, table, columns }: PredictedRows, column: string): Promise<boolean> {
  const [label, given] = ['label', column].map((name) => columns.find((one) => one.name === name));
  const same = label && given && sameAsLabel(label.type, given.type);
  if (same === undefined) return false;
  const { different } = await database.row<{ different: number }>(
    `SELECT count(*) AS different FROM (SELECT label AS own, ${quote(column)} AS given FROM ${table}) WHERE NOT coalesce(${same}, false)`,
  );
  return different === 0;
}

const isNumber = (type: string): boolean => /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$/.test(type);

/** Its most frequent values; numbers with many values are cut at their quartiles. */
async function codedColumn(predictions: PredictedRows, column: string): Promise<CodedColumn> {
  const { type } = requireSliceColumn(predictions, column, ['discover', 'columns']);
  const { count, values } = await frequentValues(predictions, column, MOST_VALUES);
  if (!isNumber(type) || count <= MOST_VALUES)
    return { name: column, values: [...values, ...CODE_NAMES], codes: await codesOf(predictions, column, values) };
  const numbers = await numbersOf(predictions, quote(column));
  const sorted = Float64Array.from(numbers).filter(Number.isFinite).sort();
  const edges = [...new Set([0.25, 0.5, 0.75].map((share) => quantile(sorted, share)))];
  const short = (edge: number) => String(Number(edge.toPrecision(4)));
  const names = [...edges, Number.NaN].map((edge, i) =>
    i === 0 ? `< ${short(edges[0]!)}` : i === edges.length ? `≥ ${short(edges.at(-1)!)}` : `${short(edges[i - 1]!)} to < ${short(edge)}`,
  );
  const codes = numbers.map((value) => (Number.isNaN(value) ? names.length : edges.filter((edge) => value >= edge).length));
  return { name: column, values: [...names, CODE_NAMES[1]!], codes: Int32Array.from(codes) };
}
