/** Rows of a table file: the first ones, those that fulfil a condition, or the first ones in the order of a column. */

import { nearest, StepError } from '../../engine/contract/step.ts';
import { Database, QueryError, type Row, type TableColumn } from '../ml/data/database.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { more, number, type Preview } from './part.ts';

export type TableKind = 'parquet' | 'csv' | 'tsv' | 'jsonl';

/** Rows without a value come last in both directions. */
export interface Sort {
  column: string;
  descending: boolean;
}

/** What is shown of a table. */
export interface TableSelection {
  sort?: Sort | undefined;
  /** Names of columns; default: all. */
  columns?: string[] | undefined;
  /** An SQL expression. */
  where?: string | undefined;
}

/** Undefined if the file is no table. */
export async function previewTable(
  path: string,
  kind: TableKind,
  limit: number,
  { sort, columns: chosen, where }: TableSelection = {},
): Promise<Preview | undefined> {
  const file = literal(path);
  const relation = {
    parquet: `read_parquet(${file})`,
    csv: `read_csv(${file})`,
    tsv: `read_csv(${file}, delim = '\t')`,
    jsonl: `read_json(${file}, format = 'newline_delimited')`,
  }[kind];
  const database = await Database.open();
  try {
    const all = await database.columns(relation);
    const columns = chosen?.map((name) => columnOf(name, all)) ?? all;
    const order = sort ? orderBy(sort, all) : '';
    const filter = where === undefined ? '' : await filterBy(where, { database, relation, columns: all });
    const countOf = (rows: string) => database.row<{ count: number }>(`SELECT count(*) AS count FROM ${rows}`);
    const { count } = await countOf(relation);
    const { count: total } = filter === '' ? { count } : await countOf(`${relation} ${filter}`);
    const rows = await database.rows(`SELECT * FROM ${relation} ${filter} ${order} LIMIT ${limit}`);
    const header = columns.map(({ name }) => name);
    const found = `${number(count)} ${count === 1 ? 'row' : 'rows'}`;
    return {
      title: `table, ${filter === '' ? found : `${number(total)} of ${found} where ${where}`}${sort ? `, by ${sort.column}, ${sort.descending ? 'highest' : 'lowest'} first` : ''}`,
      table: {
        header,
        rows: rows.map((row: Row) => header.map((name) => shown(row[name]))),
        numeric: columns.map(({ type }) => /INT|DOUBLE|FLOAT|DECIMAL/.test(type) && !/\[\]|STRUCT|MAP/.test(type)),
      },
      ...more(total - rows.length, 'rows'),
    };
  } catch (error) {
    if (error instanceof QueryError) return undefined;
    throw error;
  } finally {
    database.close();
  }
}

function columnOf(name: string, columns: TableColumn[]): TableColumn {
  const names = columns.map((column) => column.name);
  const found = columns[names.indexOf(name)];
  if (found) return found;
  const near = nearest(name, names);
  throw new StepError(
    `the table has no column "${name}"`,
    `${near === undefined ? '' : `Did you mean "${near}"? `}Its columns are ${names.join(', ')}.`,
  );
}

/** SQL that keeps the rows for which the expression is true. */
async function filterBy(
  where: string,
  { database, relation, columns }: { database: Database; relation: string; columns: TableColumn[] },
): Promise<string> {
  const filter = `WHERE (\n${where}\n)::BOOLEAN`;
  try {
    await database.run(`SELECT 1 FROM ${relation} ${filter} LIMIT 0`);
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    throw new StepError(`--where ${where}: ${error.message}`, `The columns are ${columns.map(({ name }) => quote(name)).join(', ')}.`);
  }
  return filter;
}

/** Equal values stay in the order of their ids, so that the same rows are shown each time. */
function orderBy({ column, descending }: Sort, columns: TableColumn[]): string {
  columnOf(column, columns);
  const ids = column !== 'id' && columns.some(({ name }) => name === 'id') ? ', id' : '';
  return `ORDER BY ${quote(column)} ${descending ? 'DESC' : 'ASC'} NULLS LAST${ids}`;
}

function shown(value: Row[string] | undefined): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
