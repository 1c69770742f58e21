/** The first rows of a table file. */
import { Database, literal, QueryError, type Row } from '../data/database.ts';
import type { Preview } from './preview.ts';

/** Undefined if the file is not a table. */
export async function previewTable(path: string, kind: 'parquet' | 'csv' | 'tsv' | 'jsonl', limit: number): Promise<Preview | undefined> {
  const file = literal(path);
  const relation = {
    parquet: `read_parquet(${file})`,
    csv: `read_csv(${file})`,
    tsv: `read_csv(${file}, delim = '\t')`,
    jsonl: `read_json(${file}, format = 'newline_delimited')`,
  }[kind];
  const database = await Database.open();
  try {
    const columns = await database.columns(relation);
    const { rows: total } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${relation}`);
    const rows = await database.rows(`SELECT * FROM ${relation} LIMIT ${limit}`);
    const header = columns.map(({ name }) => name);
    return {
      title: `table, ${total.toLocaleString('en-US')} ${total === 1 ? 'row' : 'rows'}`,
      table: {
        header,
        rows: rows.map((row: Row) => header.map((name) => shown(row[name]))),
        numeric: columns.map(({ type }) => /INT|DOUBLE|FLOAT|DECIMAL/.test(type) && !/\[\]|STRUCT|MAP/.test(type)),
      },
      ...(total > rows.length ? { rest: `+ ${(total - rows.length).toLocaleString('en-US')} more rows` } : {}),
    };
  } catch (error) {
    if (error instanceof QueryError) return undefined;
    throw error;
  } finally {
    database.close();
  }
}

function shown(value: Row[string] | undefined): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
