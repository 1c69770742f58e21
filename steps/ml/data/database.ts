/**
 * DuckDB as the steps use it: in memory, never on the network, spilling to a folder of the caller, with errors of one
 * line. All files import it from here, because the build makes one file of this one and the library.
 */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  BIGINT,
  DOUBLE,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBDecimalValue,
  DuckDBInstance,
  type DuckDBType,
  type DuckDBValue,
  VARCHAR,
} from '@duckdb/node-api';
import accessors from '@duckdb/node-api/lib/vectors/dataAccessors.js';
import { type Json, memoryLimit, StepError } from '../../../engine/contract/step.ts';
import { literal } from './sql.ts';

// The library decodes texts with a TextDecoder, which would drop a U+FEFF at the start of each as a byte order mark.
Object.assign(accessors, { textDecoder: new TextDecoder('utf-8', { ignoreBOM: true }) });

export { BIGINT, DOUBLE, VARCHAR };

export type Row = Record<string, Json>;

/** A query that DuckDB rejected; `message` is the first line of DuckDB's message. */
export class QueryError extends Error {
  override name = 'QueryError';
}

export class Database {
  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly spill: string | undefined,
  ) {}

  /** Data that do not fit in memory spill to a folder in `folder`, which `close` removes. Readers need none. */
  static async open(folder?: string, threads = 1): Promise<Database> {
    const spill = folder && join(folder, '.spill');
    const instance = await DuckDBInstance.create(':memory:', {
      threads: String(threads),
      memory_limit: `${Math.floor(memoryLimit() / 2)}B`, // the rest is for Node, and for whatever runs beside it,
      temp_directory: spill ?? '',
      autoinstall_known_extensions: 'false',
      autoload_known_extensions: 'false',
      // Files are read once, in order, so caching them would waste memory.
      enable_external_file_cache: 'false',
    });
    const connection = await instance.connect();
    // The result of a query must not depend on the machine's time zone.
    await connection.run("SET GLOBAL TimeZone = 'UTC'");
    return new Database(instance, connection, spill);
  }

  close(): void {
    this.connection.closeSync();
    this.instance.closeSync();
    if (this.spill) rmSync(this.spill, { recursive: true, force: true });
  }

  async run(sql: string, values: DuckDBValue[] = []): Promise<void> {
    await explained(() => this.connection.run(sql, values));
  }

  async rows<R extends Row = Row>(sql: string, values: DuckDBValue[] = []): Promise<R[]> {
    const rows: R[] = [];
    for await (const chunk of this.stream<R>(sql, values)) rows.push(...chunk);
    return rows;
  }

  /** The first row. */
  async row<R extends Row = Row>(sql: string, values: DuckDBValue[] = []): Promise<R> {
    return (await this.rows<R>(sql, values))[0]!;
  }

  /** Rows in chunks of about two thousand, with one chunk in memory at a time. Other queries may run meanwhile. */
  async *stream<R extends Row = Row>(sql: string, values: DuckDBValue[] = []): AsyncGenerator<R[]> {
    const connection = await this.instance.connect();
    try {
      const result = await explained(() => connection.stream(sql, values));
      const names = result.columnNames();
      const odd = names.indexOf('__proto__');
      for (;;) {
        const chunk = await explained(() => result.fetchChunk());
        if (!chunk || chunk.rowCount === 0) return;
        const columns = names.map((_, i) => chunk.getColumnValues(i));
        const rows: R[] = new Array(chunk.rowCount);
        for (let r = 0; r < rows.length; r++) {
          const row: Row = {};
          for (let c = 0; c < names.length; c++) row[names[c]!] = json(columns[c]![r]!);
          // Assigning to `__proto__` would create no property.
          if (odd >= 0)
            Object.defineProperty(row, '__proto__', {
              value: json(columns[odd]![r]!),
              enumerable: true,
              writable: true,
              configurable: true,
            });
          rows[r] = row as R;
        }
        yield rows;
      }
    } finally {
      connection.closeSync();
    }
  }

  /** Fills a table row by row. */
  async append(table: string, types: DuckDBType[]): Promise<Appender> {
    const appender = await explained(() => this.connection.createAppender(table));
    return new Appender(
      types,
      (chunk) => appender.appendDataChunk(chunk),
      () => appender.closeSync(),
    );
  }

  /** From here on, queries may read and write only in `folder`: SQL from the user must not read files outside the fingerprint. */
  async confine(folder: string): Promise<void> {
    await this.run(`SET allowed_directories = [${literal(folder)}]`);
    await this.run('SET enable_external_access = false');
  }

  async columns(relation: string): Promise<TableColumn[]> {
    const rows = await this.rows<{ column_name: string; column_type: string }>(`DESCRIBE SELECT * FROM ${relation}`);
    return rows.map((row) => ({ name: row.column_name, type: row.column_type }));
  }
}

export interface TableColumn {
  name: string;
  /** As DuckDB writes it: VARCHAR, BIGINT, STRUCT(…)[], … */
  type: string;
}

/** Collects a table's rows and passes them to DuckDB in chunks. Values of VARCHAR columns are strings or null. */
export class Appender {
  private readonly values: DuckDBValue[][];
  private readonly chunk: DuckDBDataChunk;

  constructor(
    types: DuckDBType[],
    private readonly send: (chunk: DuckDBDataChunk) => void,
    private readonly end: () => void,
  ) {
    this.values = types.map(() => []);
    this.chunk = DuckDBDataChunk.create(types);
  }

  add(...row: DuckDBValue[]): void {
    for (let i = 0; i < row.length; i++) this.values[i]!.push(row[i]!);
    if (this.values[0]!.length === 2048) this.flush();
  }

  close(): void {
    if (this.values[0]!.length > 0) this.flush();
    this.end();
  }

  private flush(): void {
    this.chunk.setColumns(this.values);
    this.send(this.chunk);
    this.chunk.reset();
    for (const column of this.values) column.length = 0;
  }
}

export const texts = (count: number): DuckDBType[] => Array.from({ length: count }, () => VARCHAR);

async function explained<T>(query: () => Promise<T>): Promise<T> {
  try {
    return await query();
  } catch (error) {
    const message = (error as Error).message.split('\n')[0]!;
    if (/No space left on device|disk quota exceeded/i.test(message))
      throw new StepError('the disk is full', 'Free some space and run again; no earlier result is lost.');
    if (message.startsWith('Out of Memory Error'))
      throw new StepError(`the data do not fit in memory: ${message}`, 'Give the process more memory, or use less data.');
    throw new QueryError(message.replace('Failed to extract statements: ', ''));
  }
}

/** DuckDB's values as JSON: integers if they are exact, otherwise text; dates and similar types as text. */
function json(value: DuckDBValue): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (value instanceof DuckDBDecimalValue) return exact(value);
  if ('items' in value) return (value.items as DuckDBValue[]).map(json);
  if ('entries' in value) {
    const entries = value.entries as Record<string, DuckDBValue> | { key: DuckDBValue; value: DuckDBValue }[];
    if (Array.isArray(entries)) return Object.fromEntries(entries.map((entry) => [String(entry.key), json(entry.value)]));
    return Object.fromEntries(Object.entries(entries).map(([key, item]) => [key, json(item)]));
  }
  return String(value);
}

/** A decimal as a number if a number keeps all its digits, otherwise as text. */
function exact(decimal: DuckDBDecimalValue): Json {
  const digits = decimal.toString().replace(/^-?0*\.?0*|\./g, '');
  return digits.length <= 15 ? decimal.toDouble() : decimal.toString();
}
