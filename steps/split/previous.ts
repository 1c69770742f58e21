/** The rows of a former split, which keep their places. */
import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type Column, type Database, literal, QueryError, quote } from '../data/database.ts';

/** What identifies rows. */
export interface Identity {
  /** SQL for what stays together with a row: its group, or its content. */
  unit: string;
  /** SQL for a row's content. */
  content: string;
  /** The columns of `group`, and those of the content as far as `unit` reads them. */
  group: string[];
  key: string[];
}

/** The former split beside its table. */
export interface Former {
  /** The columns of contents that its units were made of, as `madeOf` writes them; undefined where the file does not say so. */
  key?: string;
  /** SQL for its file, where that has the ids of rows, too. */
  ids?: string;
  /** Whether it has nothing but ids to know rows by. */
  byId: boolean;
}

/** How an assignment names the columns that its units are made of. */
export const madeOf = (columns: string[]): string => columns.join(', ');

/**
 * Makes the table `former`: `unit` and `split`. The file has units, the columns that make them, or ids; `hashed` (id, unit) knows the
 * units of ids. An assignment whose units are made of other columns is refused.
 */
export async function readPrevious(database: Database, previous: string, splits: string[], identity: Identity): Promise<Former> {
  const file = existsSync(path.join(previous, 'data.parquet')) ? path.join(previous, 'data.parquet') : previous;
  if ((await stat(file)).isDirectory())
    throw new StepError('previous: the folder holds no data.parquet', 'Give the `data` or the `assignment` of a split step, or one file.');
  const relation = await relationOf(file);
  const columns = (await columnsOf(database, relation, file)).map(({ name }) => name);
  if (!columns.includes('split'))
    throw new StepError(`previous: ${path.basename(file)} has no column \`split\``, `Its columns are ${columns.join(', ')}.`);
  await database.run(`CREATE TABLE former AS ${await formerRows(database, relation, columns, identity)}`);
  await refuseOdd(database, splits);
  const key = columns.includes('unit') ? await refuseOtherUnits(database, relation, columns, identity) : undefined;
  const byId = !columns.includes('unit') && ![...identity.group, ...identity.key].every((name) => columns.includes(name));
  return { byId, ...(key !== undefined && { key }), ...(columns.includes('id') && { ids: relation }) };
}

/** Returns the columns of contents that the units were made of, if any. */
async function refuseOtherUnits(database: Database, relation: string, columns: string[], own: Identity): Promise<string | undefined> {
  if (!columns.includes('unit_group') || !columns.includes('unit_key')) return undefined;
  const found = await database.rows<{ group: string; key: string }>(
    `SELECT DISTINCT coalesce(unit_group::VARCHAR, '') AS "group", coalesce(unit_key::VARCHAR, '') AS key FROM ${relation} ORDER BY ALL`,
  );
  const [group, key] = [madeOf(own.group), madeOf(own.key)];
  for (const former of found) {
    const other = former.group !== group ? 'group' : key !== '' && former.key !== '' && former.key !== key ? 'key' : undefined;
    if (other === undefined) continue;
    const [was, is] = [former[other], other === 'group' ? group : key].map((names) =>
      names === '' ? `no \`${other}\`` : `\`${other}\` ${names}`,
    );
    throw new StepError(
      `previous was made with ${was}, and this split has ${is}: its rows would not be known again`,
      `Set \`${other}\` as it was, or give the former output \`data\` as \`previous\`: it has the columns themselves.`,
    );
  }
  return found.map((one) => one.key).find((one) => one !== '');
}

/** Signs that rows of `previous` are in the data, and are not known again. */
export async function warnOfUnknown(database: Database, { ids, byId }: Former, { group, key, content }: Identity): Promise<string[]> {
  const warnings: string[] = [];
  const columns = [...group, ...key].map((name) => `\`${name}\``).join(' and ');
  const unknown = 'unit NOT IN (SELECT unit FROM former)';
  if (ids !== undefined) {
    const { rows } = await database.row<{ rows: number }>(
      `SELECT count(*) AS rows FROM hashed WHERE ${unknown} AND id IN (SELECT id::VARCHAR FROM ${ids})`,
    );
    if (rows > 0)
      warnings.push(
        `${count(rows, 'row')} ${rows === 1 ? 'has' : 'have'} an id of previous and another ${columns}: they are split anew, and may leave their former split`,
      );
  }
  if (group.length > 0) {
    const { rows } = await database.row<{ rows: number }>(
      `SELECT count(*) AS rows FROM input JOIN hashed USING (id) WHERE ${unknown} AND substr(sha256(${content}), 1, 32) IN (SELECT unit FROM former)`,
    );
    if (rows > 0)
      warnings.push(
        `previous knows ${count(rows, 'row')} by content, and not by ${columns}: it was made with another \`group\`. They are split anew, and may leave their former split`,
      );
  }
  const [units, own] = byId ? [`(SELECT DISTINCT id::VARCHAR AS unit FROM ${ids})`, 'id'] : ['former', 'unit'];
  const { total, here } = await database.row<{ total: number; here: number }>(
    `SELECT count(*) AS total, count(*) FILTER (WHERE unit IN (SELECT ${own} FROM hashed)) AS here FROM ${units}`,
  );
  const why = 'was it made with another `key` or `group`, or of other data?';
  if (here === 0) warnings.push(`previous knows none of the rows: ${why}`);
  else if (here * 2 < total) {
    const what = byId ? count(total, 'id') : count(total, 'content or group', 'contents or groups');
    warnings.push(
      `the data have ${number(here)} of the ${what} of previous: ${why} All other rows are split anew, and may leave their former split`,
    );
  }
  return warnings;
}

const number = (value: number) => value.toLocaleString('en-US');
const count = (n: number, one: string, many = `${one}s`): string => `${number(n)} ${n === 1 ? one : many}`;

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

async function formerRows(database: Database, relation: string, columns: string[], { unit, group, key }: Identity): Promise<string> {
  const own = [...group, ...key];
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
