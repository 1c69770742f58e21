/** The rows of a former split, which keep their places. */
import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type Column, type Database, literal, QueryError, quote } from '../data/database.ts';

/** What identifies rows: SQL for a row's unit, and the columns that it reads. */
export interface Identity {
  unit: string;
  columns: string[];
}

/**
 * Makes the table `former`: `unit` and `split`. The file has units, the columns that make them, or ids; `hashed` (id, unit) knows the
 * units of ids.
 */
export async function readPrevious(database: Database, previous: string, splits: string[], identity: Identity): Promise<void> {
  const file = existsSync(path.join(previous, 'data.parquet')) ? path.join(previous, 'data.parquet') : previous;
  if ((await stat(file)).isDirectory())
    throw new StepError('previous: the folder holds no data.parquet', 'Give the `data` or the `assignment` of a split step, or one file.');
  const relation = await relationOf(file);
  const columns = (await columnsOf(database, relation, file)).map(({ name }) => name);
  if (!columns.includes('split'))
    throw new StepError(`previous: ${path.basename(file)} has no column \`split\``, `Its columns are ${columns.join(', ')}.`);
  await database.run(`CREATE TABLE former AS ${await formerRows(database, relation, columns, identity)}`);
  await refuseOdd(database, splits);
}

async function columnsOf(database: Database, relation: string, file: string): Promise<Column[]> {
  try {
    return await database.columns(relation);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    throw new StepError(
      `previous: ${path.basename(file)} cannot be read: ${error.message}`,
      'Give the output `assignment` of a split step, or a CSV, JSON lines or Parquet file.',
    );
  }
}

/** Files without a name's ending are told apart by their content, as an output of a step has none. */
async function relationOf(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const head = (await handle.read(Buffer.alloc(256), 0, 256, 0)).buffer.toString('latin1').trimStart();
    if (head.startsWith('PAR1')) return `read_parquet(${literal(file)})`;
    if (head.startsWith('{') || head.startsWith('[')) return `read_json(${literal(file)})`;
    return `read_csv(${literal(file)}, header = true, all_varchar = true)`;
  } finally {
    await handle.close();
  }
}

async function formerRows(database: Database, relation: string, columns: string[], { unit, columns: own }: Identity): Promise<string> {
  if (columns.includes('unit')) return `SELECT DISTINCT unit::VARCHAR AS unit, split::VARCHAR AS split FROM ${relation}`;
  if (own.every((name) => columns.includes(name))) {
    const types = new Map((await database.columns('input')).map(({ name, type }) => [name, type]));
    const typed = own.map((name) => `TRY_CAST(${quote(name)} AS ${types.get(name)}) AS ${quote(name)}`);
    return `SELECT DISTINCT ${unit} AS unit, split::VARCHAR AS split FROM (SELECT ${typed.join(', ')}, split FROM ${relation})`;
  }
  if (columns.includes('id'))
    return `SELECT DISTINCT unit, former.split::VARCHAR AS split FROM ${relation} AS former JOIN hashed ON hashed.id = former.id::VARCHAR`;
  throw new StepError(
    `previous has none of the columns by which rows are known again: \`unit\`, ${own.map((name) => `\`${name}\``).join(' and ')}, or \`id\``,
    `Its columns are ${columns.join(', ')}. The output \`assignment\` of a split step has \`unit\`.`,
  );
}

async function refuseOdd(database: Database, splits: string[]): Promise<void> {
  const names = await database.rows<{ split: string | null; rows: number }>('SELECT split, count(*) AS rows FROM former GROUP BY split');
  const odd = names.find(({ split }) => !splits.includes(split ?? ''));
  if (odd)
    throw new StepError(
      `previous has ${odd.rows} ${odd.rows === 1 ? 'row' : 'rows'} in the split ${JSON.stringify(odd.split)}, and \`ratios\` makes ${splits.join(', ')}`,
      'Two ratios are train and test, three are train, validation and test.',
    );
  const { torn } = await database.row<{ torn: number }>(
    'SELECT count(*) AS torn FROM (SELECT unit FROM former GROUP BY unit HAVING count(*) > 1)',
  );
  if (torn > 0)
    throw new StepError(
      `previous puts ${torn} ${torn === 1 ? 'content or group' : 'contents or groups'} into more than one split`,
      'Rows that stay together must have one split: mend the file, or set `group` and `key` as they were.',
    );
}
