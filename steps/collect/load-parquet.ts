/** Fills the table `raw` from Parquet. */
import { VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { type Database, literal, QueryError, quote, type TableColumn } from '../ml/data/database.ts';
import { refuseNul } from '../ml/data/encodings.ts';
import { type Loading, noteMissing } from './loading.ts';

export async function loadParquet({ database, files, note }: Loading): Promise<void> {
  await database.run('CREATE TABLE sources (path VARCHAR, __source VARCHAR)');
  const sources = await database.append('sources', [VARCHAR, VARCHAR]);
  const named = new Map<string, string[]>();
  const paths: string[] = [];
  for (const { path, source } of files) {
    const names = (await columnsOf(database, path, source)).map(({ name }) => name);
    refuseNul(names, source, () => 'Rename that column.');
    const taken = names.find((name) => OUR_COLUMNS.includes(name.toLowerCase()));
    if (taken) throw new StepError(`${source}: the column name ${taken} is reserved`, 'Rename that column.');
    named.set(source, names);
    sources.add(path, source);
    paths.push(path);
  }
  sources.close();
  noteMissing(named, note);
  // Files may lack columns that others have, and may order them differently.
  const reading = (more = '') =>
    `read_parquet([${paths.map(literal).join(', ')}], union_by_name = true, hive_partitioning = false, filename = '__file', file_row_number = true${more})`;
  const texts = await textsInBytes(database, reading);
  const decoded = texts.map((name) => `decode(${quote(name)}) AS ${quote(name)}`);
  try {
    await database.run(
      `CREATE TABLE raw AS SELECT __source, __row, data.* EXCLUDE (__row, __file, file_row_number)${decoded.length > 0 ? ` REPLACE (${decoded.join(', ')})` : ''}
       FROM (SELECT *, file_row_number + 1 AS __row FROM ${reading()}) AS data LEFT JOIN sources ON path = __file`,
    );
  } catch (error) {
    if (error instanceof QueryError) throw new StepError(`the Parquet files cannot be read: ${error.message}`);
    throw error;
  }
  await nanIsMissing(database, note);
}

/** Columns that are added to those of a Parquet file while it is read. */
const OUR_COLUMNS = ['__source', '__row', '__file', 'file_row_number'];

async function columnsOf(database: Database, path: string, source: string): Promise<TableColumn[]> {
  try {
    return await database.columns(`read_parquet(${literal(path)})`);
  } catch (error) {
    if (error instanceof QueryError) throw new StepError(`${source}: cannot be read as Parquet: ${error.message.replaceAll(path, source)}`);
    throw error;
  }
}

/** Columns of bytes that are valid texts but lack the annotation, which some writers leave out. */
async function textsInBytes(database: Database, reading: (more?: string) => string): Promise<string[]> {
  const bytes = (await database.columns(reading())).filter(({ type }) => type === 'BLOB');
  const texts: string[] = [];
  for (const { name } of bytes) {
    try {
      await database.run(`SELECT count(decode(${quote(name)})) FROM ${reading()}`);
      texts.push(name);
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      // Pictures, say. `select` may leave them out; what is kept of them is refused.
    }
  }
  return texts;
}

/** pandas and others write a missing number as NaN. */
export async function nanIsMissing(database: Database, note: Loading['note']): Promise<void> {
  for (const { name, type } of await database.columns('raw')) {
    if (type !== 'DOUBLE' && type !== 'FLOAT') continue;
    const column = quote(name);
    const { n } = await database.row<{ n: number }>(`SELECT count(*) FILTER (isnan(${column})) AS n FROM raw`);
    if (n === 0) continue;
    await database.run(`UPDATE raw SET ${column} = NULL WHERE isnan(${column})`);
    note(`${n} ${n === 1 ? 'value' : 'values'} of \`${name}\` ${n === 1 ? 'is' : 'are'} NaN and treated as missing`);
  }
}
