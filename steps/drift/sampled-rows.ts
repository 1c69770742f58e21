/** Reads a sample of both tables. New texts are preprocessed as those of the reference were, so that cleaning is no drift. */
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import type { Database, TableColumn } from '../ml/data/database.ts';
import { beginsWith, type Preprocessing, preprocess, readPreprocessing, remainingSteps, stepsOf } from '../ml/data/preprocessing.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { namesOf, requireColumn, tableOf } from '../ml/data/table.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

export interface SampledTable {
  ids: string[];
  /** For each row the texts of its columns. */
  texts: string[][];
  /** Null for a row without a label; undefined if there is no column of labels. */
  labels: (string | null)[] | undefined;
  /** All rows of the table, also those that were not drawn. */
  rows: number;
}

export interface SampledRows {
  reference: SampledTable;
  current: SampledTable;
  columns: string[];
  /** The preprocessing of the reference, and now of the new texts too. */
  preprocessing: Preprocessing;
  /** The column of labels that is compared, if any. */
  label: string | undefined;
}

export async function readSides(database: Database, { inputs, options, warn }: Context): Promise<SampledRows> {
  const tables = { reference: tableOf(inputs.reference), current: tableOf(inputs.data) };
  const available = { reference: await database.columns(tables.reference), current: await database.columns(tables.current) };
  const pairs = Object.values(available).every((side) => side.some(({ name }) => name === 'text_pair'));
  const columns = [options.text ?? (await namesOf(inputs.reference)).text ?? (pairs ? ['text', 'text_pair'] : 'text')].flat();
  for (const side of Object.values(available)) for (const name of columns) requireColumn(side, name, 'text');
  const has = (side: TableColumn[], name: string) => side.some((column) => column.name === name && !column.type.endsWith('[]'));
  const wanted = options.label ?? (inputs.model === undefined ? 'label' : undefined);
  if (options.label !== undefined) for (const side of Object.values(available)) requireColumn(side, options.label, 'label');
  const label = wanted !== undefined && Object.values(available).every((side) => has(side, wanted)) ? wanted : undefined;
  const preprocessing = await readPreprocessing(inputs.reference);
  const own = await readPreprocessing(inputs.data);
  if (!beginsWith(preprocessing, own))
    warn(
      'the new rows were cleaned in another way than the reference, which counts as drift: clean both alike, or give the new rows as they are',
    );
  const remaining = remainingSteps(preprocessing, own);
  const split = has(available.reference, 'split') ? `split::VARCHAR = ${literal(options.split)}` : 'true';
  const read = (table: string, condition: string, name: string) => readSide(database, { table, condition, name, columns, label }, options);
  const [reference, current] = [await read(tables.reference, split, 'reference'), await read(tables.current, 'true', 'data')];
  const clean = (texts: string[]) => Promise.all(texts.map((text, k) => preprocess(text, stepsOf(remaining, columns[k]!))));
  return { reference, current: { ...current, texts: await Promise.all(current.texts.map(clean)) }, columns, preprocessing, label };
}

interface Wanted {
  table: string;
  condition: string;
  /** The input, for messages. */
  name: string;
  columns: string[];
  label: string | undefined;
}

async function readSide(
  database: Database,
  { table, condition, name, columns, label }: Wanted,
  { sample, seed, split }: Context['options'],
): Promise<SampledTable> {
  const { rows } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${table} WHERE ${condition}`);
  if (rows === 0)
    throw new StepError(
      condition === 'true' ? `\`${name}\` has no rows` : `\`${name}\` has no rows in the split "${split}"`,
      'Inspect the step that made the table: `tunesmith show`.',
      [condition === 'true' ? name : 'split'],
    );
  const texts = columns.map((column, k) => `coalesce(${quote(column)}::VARCHAR, '') AS t${k}`);
  const found = await database.rows<Record<string, string | null>>(
    `SELECT id::VARCHAR AS id, ${texts.join(', ')}, ${label === undefined ? 'NULL' : `${quote(label)}::VARCHAR`} AS label FROM ${table}
     WHERE ${condition} ORDER BY md5(id::VARCHAR || ${literal(` ${seed}`)}), id LIMIT ${sample}`,
  );
  return {
    rows,
    ids: found.map(({ id }) => id!),
    texts: found.map((row) => columns.map((_, k) => row[`t${k}`]!)),
    labels: label === undefined ? undefined : found.map((row) => row.label!),
  };
}
