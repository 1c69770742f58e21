/** Reads the tables that steps wrote. */
import { Database, type Row, type TableColumn } from '../steps/ml/data/database.ts';
import { quote } from '../steps/ml/data/sql.ts';
import { tableOf } from '../steps/ml/data/table.ts';

/** Rows in the order of `id`, in chunks of about two thousand, one chunk in memory at a time. */
export async function* readRows<R extends Row = Row>(folder: string, columns: string[]): AsyncGenerator<R[]> {
  const database = await Database.open();
  try {
    yield* database.stream<R>(`SELECT ${columns.map(quote).join(', ')} FROM ${tableOf(folder)}`);
  } finally {
    database.close();
  }
}

/** All rows with all columns. */
export async function allRows(folder: string): Promise<any[]> {
  const names = (await describeTable(folder)).columns.map(({ name }) => name);
  const rows: any[] = [];
  for await (const chunk of readRows(folder, names)) rows.push(...chunk);
  return rows;
}

/** How many rows and which columns a table has. */
export async function describeTable(folder: string): Promise<{ rows: number; columns: TableColumn[] }> {
  const database = await Database.open();
  try {
    const table = tableOf(folder);
    const { rows } = await database.row<{ rows: number }>(`SELECT count(*) AS rows FROM ${table}`);
    return { rows, columns: await database.columns(table) };
  } finally {
    database.close();
  }
}
