/** Rows of a table file: the first ones, or the first ones in the order of a column. */

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

/** Undefined if the file is no table. */
export async function previewTable(path: string, kind: TableKind, limit: number, sort?: Sort): Promise<Preview | undefined> {
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
    const order = sort ? orderBy(sort, columns) : '';
    const rows = await database.rows(`SELECT * FROM ${relation} ${order} LIMIT ${limit}`);
    const header = columns.map(({ name }) => name);
    return {
      title: `table, ${number(total)} ${total === 1 ? 'row' : 'rows'}${sort ? `, by ${sort.column}, ${sort.descending ? 'highest' : 'lowest'} first` : ''}`,
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

/** Equal values stay in the order of their ids, so that the same rows are shown each time. */
function orderBy({ column, descending }: Sort, columns: TableColumn[]): string {
  const names = columns.map(({ name }) => name);
  if (!names.includes(column)) {
    const near = nearest(column, names);
    throw new StepError(
      `the table has no column "${column}"`,
      `${near === undefined ? '' : `Did you mean "${near}"? `}Its columns are ${names.join(', ')}.`,
    );
  }
  const ids = column !== 'id' && names.includes('id') ? ', id' : '';
  return `ORDER BY ${quote(column)} ${descending ? 'DESC' : 'ASC'} NULLS LAST${ids}`;
}

function shown(value: Row[string] | undefined): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
