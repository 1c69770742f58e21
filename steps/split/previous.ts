/** The rows of an earlier split, which keep their split. */
import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import { type Database, QueryError } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';

/** What identifies rows. */
export interface Identity {
  /** SQL for the unit of a row: its group, or its content. */
  unit: string;
  /** SQL for a row's content. */
  content: string;
  /** The columns of `group`, and the content columns that `unit` reads. */
  group: string[];
  key: string[];
}

/** The earlier split besides its table. */
export interface Former {
  /** The content columns of its units, as `madeOf` writes them; undefined if the file does not record them. */
  key?: string;
  /** SQL for its file, if that also has the ids of rows. */
  ids?: string;
  /** Whether ids are all it has to identify rows. */
  byId: boolean;
}

/** How an assignment records the columns of its units. */
export const madeOf = (columns: string[]): string => columns.join(', ');

/**
 * Makes the table `former`: `unit` and `split`. The file has units, the columns that make them, or ids; `hashed` (id,
 * unit) maps ids to units. An assignment whose units consist of other columns is an error.
 */
export async function readPrevious(database: Database, previous: string, splits: string[], identity: Identity): Promise<Former> {
  const file = existsSync(path.join(previous, 'data.parquet')) ? path.join(previous, 'data.parquet') : previous;
  if ((await stat(file)).isDirectory())
    throw refusal('previous: the folder contains no data.parquet', 'Give the `data` or the `assignment` of a split step, or one file.');
  const relation = await relationOf(file);
  const columns = (await readable(file, () => database.columns(relation))).map(({ name }) => name);
  if (!columns.includes('split'))
    throw refusal(`previous: ${path.basename(file)} has no column \`split\``, `Its columns are ${columns.join(', ')}.`);
  const numbered = `(SELECT *, row_number() OVER () AS __row FROM ${relation})`;
  await readable(file, () => refuseOdd(database, numbered, splits));
  await database.run(`CREATE TABLE former AS ${await formerRows(database, numbered, columns, identity)}`);
  await refuseTorn(database);
  const key = columns.includes('unit') ? await refuseOtherUnits(database, relation, columns, identity) : undefined;
  const byId = !columns.includes('unit') && ![...identity.group, ...identity.key].every((name) => columns.includes(name));
  return { byId, ...(key !== undefined && { key }), ...(columns.includes('id') && { ids: relation }) };
}

/** Returns the content columns of the units, if any. */
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
    throw refusal(
      `previous was made with ${was}, and this split has ${is}: its rows cannot be identified`,
      `Set \`${other}\` as it was, or give the earlier output \`data\` as \`previous\`: it contains the columns themselves.`,
    );
  }
  return found.map((one) => one.key).find((one) => one !== '');
}

/** Warns of rows of `previous` that are in the data but were not identified. */
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
        `${count(rows, 'row')} ${rows === 1 ? 'has' : 'have'} an id of previous but another ${columns}: ${rows === 1 ? 'it is' : 'they are'} assigned anew, possibly to another split`,
      );
  }
  if (group.length > 0) {
    const { rows } = await database.row<{ rows: number }>(
      `SELECT count(*) AS rows FROM input JOIN hashed USING (id) WHERE ${unknown} AND substr(sha256(${content}), 1, 32) IN (SELECT unit FROM former)`,
    );
    if (rows > 0)
      warnings.push(
        `previous identifies ${count(rows, 'row')} by content, not by ${columns}, because it was made with another \`group\`. They are assigned anew, possibly to another split`,
      );
  }
  const [units, own] = byId ? [`(SELECT DISTINCT id::VARCHAR AS unit FROM ${ids})`, 'id'] : ['former', 'unit'];
  const { total, here } = await database.row<{ total: number; here: number }>(
    `SELECT count(*) AS total, count(*) FILTER (WHERE unit IN (SELECT ${own} FROM hashed)) AS here FROM ${units}`,
  );
  const why = 'check whether it was made with another `key` or `group`, or from other data.';
  if (here === 0) warnings.push(`previous contains none of the rows: ${why}`);
  else if (here * 2 < total) {
    const what = byId ? count(total, 'id') : count(total, 'content or group', 'contents or groups');
    warnings.push(
      `the data contain ${number(here)} of the ${what} of previous: ${why} All other rows are assigned anew, possibly to another split`,
    );
  }
  return warnings;
}

const number = (value: number) => value.toLocaleString('en-US');
const count = (n: number, one: string, many = `${one}s`): string => `${number(n)} ${n === 1 ? one : many}`;

/** The error points to `previous` in the pipeline. */
const refusal = (message: string, hint: string): StepError => new StepError(message, hint, ['previous']);

async function readable<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    throw refusal(
      `previous: ${path.basename(file)} cannot be read: ${error.message}`,
      'Give the output `assignment` of a split step, or a CSV, JSON lines or Parquet file.',
    );
  }
}

/** A step's output has no file extension, so the content identifies the format. */
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

/** Each unit with its split and the first row of the file that assigns it to that split. */
async function formerRows(database: Database, numbered: string, columns: string[], { unit, group, key }: Identity): Promise<string> {
  const own = [...group, ...key];
  const rows = (units: string) => `SELECT unit, split::VARCHAR AS split, min(__row) AS row FROM (${units}) GROUP BY ALL`;
  if (columns.includes('unit')) return rows(`SELECT unit::VARCHAR AS unit, split, __row FROM ${numbered}`);
  if (own.every((name) => columns.includes(name))) {
    const types = new Map((await database.columns('input')).map(({ name, type }) => [name, type]));
    const typed = own.map((name) => `TRY_CAST(${quote(name)} AS ${types.get(name)}) AS ${quote(name)}`);
    return rows(`SELECT ${unit} AS unit, split, __row FROM (SELECT ${typed.join(', ')}, split, __row FROM ${numbered})`);
  }
  if (columns.includes('id'))
    return rows(`SELECT unit, former.split AS split, __row FROM ${numbered} AS former JOIN hashed ON hashed.id = former.id::VARCHAR`);
  throw refusal(
    `previous has none of the columns that identify rows: \`unit\`, ${own.map((name) => `\`${name}\``).join(' and ')}, or \`id\``,
    `Its columns are ${columns.join(', ')}. The output \`assignment\` of a split step has \`unit\`.`,
  );
}

async function refuseOdd(database: Database, numbered: string, splits: string[]): Promise<void> {
  const names = await database.rows<{ split: string | null; rows: number; first: number }>(
    `SELECT split::VARCHAR AS split, count(*) AS rows, min(__row) AS first FROM ${numbered} GROUP BY ALL ORDER BY first`,
  );
  const odd = names.find(({ split }) => !splits.includes(split ?? ''));
  if (odd)
    throw refusal(
      `previous has ${count(odd.rows, 'row')} in the split ${JSON.stringify(odd.split)}${odd.rows > 1 ? ', first in' : ':'} row ${odd.first}, but \`ratios\` defines ${splits.join(', ')}`,
      'Two ratios are train and test; three are train, validation and test.',
    );
}

async function refuseTorn(database: Database): Promise<void> {
  const [first] = await database.rows<{ torn: number; splits: string[]; rows: number[] }>(
    `SELECT count(*) OVER () AS torn, list(split ORDER BY row) AS splits, list(row ORDER BY row) AS rows
     FROM former GROUP BY unit HAVING count(*) > 1 ORDER BY min(row) LIMIT 1`,
  );
  if (!first) return;
  const places = first.rows.map((row, i) => `row ${row} (${first.splits[i]})`);
  throw refusal(
    `previous assigns ${count(first.torn, 'content or group', 'contents or groups')} to more than one split${first.torn > 1 ? ', for example' : ':'} ${places.join(' and ')}`,
    'Rows of one unit must be in the same split: correct the file, or set `group` and `key` as they were.',
  );
}
