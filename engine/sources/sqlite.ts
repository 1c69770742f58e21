/** The rows of a SQLite query. Opens the file read-only. */
import { existsSync } from 'node:fs';
import Database from 'better-sqlite3';
import { StepError } from '../step.ts';
import { fraction, type Rows, refuseSameColumns, rowLine, textOfBytes } from './query.ts';
import type { QueryAddress } from './query-address.ts';

export async function* sqliteRows(address: QueryAddress & { file: string }): Rows {
  const { file, url, query } = address;
  if (!existsSync(file)) throw new StepError(`${url} does not exist`, 'Paths are relative to the pipeline file.');
  let database: Database.Database | undefined;
  try {
    database = new Database(file, { readonly: true, fileMustExist: true });
    const statement = database.prepare(query);
    if (!statement.reader) throw new StepError(`${address.text}: the query returns no rows`, 'Write a SELECT statement.');
    const names = statement.columns().map(({ name }) => name);
    refuseSameColumns(names, address);
    let lines: string[] = [];
    for (const row of statement.raw(true).safeIntegers(true).iterate() as Iterable<unknown[]>) {
      lines.push(
        rowLine(
          names,
          row.map((value, i) => jsonOf(value, names[i]!, address)),
        ),
      );
      if (lines.length < 1000) continue;
      yield lines;
      lines = [];
    }
    yield lines;
  } catch (error) {
    if (error instanceof StepError) throw error;
    throw new StepError(`${address.text}: ${(error as Error).message}`);
  } finally {
    database?.close();
  }
}

function jsonOf(value: unknown, column: string, address: QueryAddress): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return fraction(value);
  return Buffer.isBuffer(value) ? textOfBytes(value, column, address) : JSON.stringify(value);
}
