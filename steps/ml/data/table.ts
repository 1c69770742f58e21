/**
 * The table that steps exchange: a folder with `data.parquet` ordered by `id`, and its description `card.json`
 * (docs/artifacts.md). The same rows give the same bytes, on any number of threads.
 */

import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { Database, TableColumn } from './database.ts';
import { carryRecord, MAKE_AGAIN, readRecord } from './preprocessing.ts';
import { literal, quote } from './sql.ts';

export type { TableColumn as Column } from './database.ts';

interface DataCard {
  rows: number;
  columns: TableColumn[];
  /** The number of rows of each label, the most frequent ones first, if there is a column of labels. At most 1,000 labels. */
  labels?: Record<string, number>;
  /** The number of rows whose label is missing, if there are any. */
  unlabelled?: number;
  /** Lengths of the texts in characters, if there is a column of texts. */
  lengths?: { min: number; median: number; p95: number; max: number };
  /** Dropped rows, by reason. */
  dropped: Record<string, number>;
}

/** Settings of collect that later steps need. */
export interface Names {
  /** The column of texts, if it is not `text`. */
  text?: string | undefined;
  /** The original names of columns that `select` renamed. */
  renamed?: Record<string, string>;
}

/** The settings that a table carries. */
export async function namesOf(folder: string): Promise<Names> {
  const file = join(folder, 'card.json');
  if (!existsSync(file)) return {};
  const { text, renamed } = JSON.parse(await readFile(file, 'utf8')) as Names;
  return { ...(text !== undefined && { text }), ...(renamed && { renamed }) };
}

interface CardOptions {
  /** The column of labels; default `label`. */
  label?: string;
  dropped?: Record<string, number>;
  names?: Names;
  /** Further counts of the step. */
  counted?: Record<string, Json>;
  /** The rows are in their order. Otherwise they are sorted by `id`, for which they must fit in memory or spill. */
  sorted?: true;
}

/** Writes the rows of `relation` (a table, a view or a query in parentheses), which must have a column `id`. */
export async function writeTable(database: Database, relation: string, folder: string, options: CardOptions = {}): Promise<DataCard> {
  await mkdir(folder, { recursive: true });
  const columns = await database.columns(`(SELECT id, * EXCLUDE (id) FROM ${relation})`);
  // One thread and fixed row groups: otherwise the bytes would depend on which thread finished first.
  await database.run('SET threads = 1');
  await database.run(
    `COPY (SELECT ${columns.map((column) => quote(column.name)).join(', ')} FROM ${relation}${options.sorted ? '' : ' ORDER BY id'})
     TO ${literal(join(folder, 'data.parquet'))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 10240)`,
  );
  const card = await describe(database, tableOf(folder), columns, options);
  await writeFile(join(folder, 'card.json'), `${JSON.stringify({ ...card, ...options.names, ...options.counted }, null, 2)}\n`);
  return card;
}

/** The table in a folder, as a relation for SQL. `numbered`: with the column `file_row_number`, which counts the rows from 0. */
export function tableOf(folder: string, { numbered = false } = {}): string {
  const file = join(folder, 'data.parquet');
  if (!existsSync(file))
    throw new StepError(`${folder} contains no data.parquet`, 'Give the `data` of a collect, clean or split step, not your own files.');
  return `read_parquet(${literal(file)}${numbered ? ', file_row_number = true' : ''})`;
}

/** `option`: the option that names the column. */
export function requireColumn(columns: TableColumn[], name: string, ...option: string[]): TableColumn {
  const column = columns.find((candidate) => candidate.name === name);
  if (column) return column;
  throw new StepError(
    `the data have no column \`${name}\``,
    `The columns are ${columns.map((candidate) => `\`${candidate.name}\``).join(', ')}. To make another, use \`select\` of collect: \`select: { ${name}: … }\`.`,
    option.length > 0 ? option : undefined,
  );
}

/** A regression may have as many different labels as rows. */
const MOST_LABELS = 1000;

async function describe(database: Database, table: string, columns: TableColumn[], options: CardOptions): Promise<DataCard> {
  const { rows } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${table}`);
  const card: DataCard = { rows, columns, dropped: options.dropped ?? {} };
  const label = columns.find((column) => column.name === (options.label ?? 'label'));
  if (label) {
    const value = quote(label.name);
    const counts = await database.rows<{ label: string; rows: number }>(
      `SELECT ${value}::VARCHAR AS label, count(*) AS rows FROM ${table} WHERE ${value} IS NOT NULL
       GROUP BY ALL ORDER BY rows DESC, label LIMIT ${MOST_LABELS}`,
    );
    card.labels = Object.fromEntries(counts.map((count) => [count.label, count.rows]));
    const { unlabelled } = await database.row<{ unlabelled: number }>(`SELECT count(*) AS unlabelled FROM ${table} WHERE ${value} IS NULL`);
    if (unlabelled > 0) card.unlabelled = unlabelled;
  }
  const text = options.names?.text ?? 'text';
  if (columns.some((column) => column.name === text && column.type === 'VARCHAR') && rows > 0)
    card.lengths = await database.row<NonNullable<DataCard['lengths']>>(
      `SELECT min(n) AS min, quantile_disc(n, 0.5) AS median, quantile_disc(n, 0.95) AS p95, max(n) AS max
       FROM (SELECT length(${quote(text)}) AS n FROM ${table})`,
    );
  return card;
}

/*
 * Records which data a table was collected from. `collect` writes the record as `sources.json`, which is copied with
 * data, tokens, model and bundle; the model card lists the sources. The file contains no path of the machine and no
 * credentials.
 */

export interface DataSource {
  /** An address with its commit or version, a package, a database, or the name of a file. */
  name: string;
  /** The number of files or folders from this source. */
  files: number;
}

export interface DataSources {
  /** The number of collected rows. */
  rows: number;
  sources: DataSource[];
}

/** Undefined if the sources are unknown, because another step made the table. @throws StepError for a damaged file */
export async function readSources(folder: string): Promise<DataSources | undefined> {
  const file = join(folder, NAME);
  const record = await readRecord(file);
  if (record === undefined) return undefined;
  const { rows, sources } = (record ?? {}) as Partial<DataSources>;
  const whole = Array.isArray(sources) && sources.every((one) => typeof one?.name === 'string' && typeof one.files === 'number');
  if (typeof rows !== 'number' || !whole) throw new StepError(`${file} does not contain \`rows\` and a list of \`sources\``, MAKE_AGAIN);
  return { rows, sources };
}

export async function writeSources(folder: string, sources: DataSources): Promise<void> {
  await writeFile(join(folder, NAME), `${JSON.stringify({ version: 1, ...sources }, null, 2)}\n`);
}

/** Copies the record of a folder to what is made of it. */
export const carrySources = (from: string, to: string): Promise<void> => carryRecord(NAME, from, to);

const NAME = 'sources.json';
