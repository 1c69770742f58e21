/**
 * The rows of a query to PostgreSQL or SQLite; nothing is written to the database. Pinning runs the query, writes the rows to a file of JSON lines and hashes them independently
 * of their order. Fetching returns the same file, so that a step reads exactly the rows of its fingerprint. Rows are read
 * with a cursor, so that memory use stays constant.
 */

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync, type WriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import Database from 'better-sqlite3';
import pg from 'pg';
import Cursor from 'pg-cursor';
import { temporaryIn } from '../../cache/atomic-move.ts';
import { sha256 } from '../../cache/digest.ts';
import type { QueryAddress } from '../contract/address.ts';
import { StepError } from '../contract/step.ts';
import type { FetchedStore, FetchProgress } from './fetched-store.ts';
import type { AddressProvider, Fetched, FetchSettings } from './provider.ts';

/** A row as one line of JSON. */
type QueryRows = AsyncGenerator<string[]>;

export class Query implements AddressProvider<QueryAddress> {
  constructor(
    private readonly store: FetchedStore,
    private readonly settings: Pick<FetchSettings, 'readOnly' | 'signal'>,
  ) {}

  /** The hash depends only on the rows, not on the database or the query. */
  async pin(address: QueryAddress): Promise<{ name: string; revision: string }> {
    const { readOnly, signal } = this.settings;
    return { name: 'query', revision: await this.#read(address, signal, !readOnly) };
  }

  async fetch(address: QueryAddress, revision: string, progress: FetchProgress): Promise<Fetched[]> {
    const place = join(this.#folderOf(address), `${revision}.jsonl`);
    if (!existsSync(place) && (await this.#read(address, progress.signal, true)) !== revision)
      throw new StepError(`the rows of ${address.text} changed during the run`, 'Run the pipeline again.');
    return [{ path: place, address: address.url }];
  }

  #folderOf({ text }: QueryAddress): string {
    return join(this.store.folder, 'queries', sha256(text).slice(0, 16));
  }

  async #read(address: QueryAddress, signal: AbortSignal | undefined, keep: boolean): Promise<string> {
    const folder = this.#folderOf(address);
    const made = temporaryIn(folder);
    let out: WriteStream | undefined;
    try {
      if (keep) {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        await removeOld(folder);
        out = createWriteStream(made, { mode: 0o600 });
      }
      let sum = 0n;
      let count = 0;
      for await (const lines of address.file === undefined ? postgresRows(address) : sqliteRows({ ...address, file: address.file })) {
        signal?.throwIfAborted();
        for (const line of lines) {
          sum += BigInt(`0x${sha256(line)}`);
          count++;
        }
        if (out && !out.write(lines.map((line) => `${line}\n`).join(''))) await once(out, 'drain');
      }
      const revision = createHash('sha256')
        .update(`${count} ${BigInt.asUintN(256, sum)}`)
        .digest('hex');
      if (out) {
        out.end();
        await finished(out);
        await rename(made, join(folder, `${revision}.jsonl`));
      }
      return revision;
    } finally {
      out?.destroy();
      await rm(made, { force: true });
    }
  }
}

/** Removes files of rows that no run uses any more: those older than a day. */
async function removeOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const found = await stat(file).catch(() => undefined); // Another run may have removed it.
    if (found && Date.now() - found.mtimeMs > 86_400_000) await rm(file, { force: true });
  }
}

/** `values`: already in JSON. */
function rowLine(names: string[], values: string[]): string {
  return `{${names.map((name, i) => `${JSON.stringify(name)}:${values[i]!}`).join(',')}}`;
}

function refuseSameColumns(names: string[], { text }: QueryAddress): void {
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new StepError(`${text}: two columns have the name ${twice}`, 'Rename one of them with `AS other`.');
}

/** Bytes as text, because JSON has no type for bytes. */
function textOfBytes(bytes: Buffer, column: string, { text }: QueryAddress): string {
  const decoded = bytes.toString();
  if (!Buffer.from(decoded).equals(bytes))
    throw new StepError(
      `${text}: the column ${column} contains bytes that are not UTF-8`,
      'Leave the column out of the query, or encode it in the query.',
    );
  return JSON.stringify(decoded);
}

/** A double stays a fraction in JSON, even if it is a whole number: 1.0. */
function fraction(value: number): string {
  if (Number.isNaN(value)) return 'null';
  if (!Number.isFinite(value)) return JSON.stringify(String(value));
  const text = Object.is(value, -0) ? '-0' : String(value);
  return /^-?\d+$/.test(text) ? `${text}.0` : text;
}

/** Runs in a read-only transaction. User and password come only from the environment (PGUSER, PGPASSWORD, PGPASSFILE …). */
async function* postgresRows(address: QueryAddress): QueryRows {
  const client = new pg.Client({ connectionString: address.url, application_name: 'tunesmith' });
  client.on('error', () => {}); // The interrupted query reports the error.
  const where = new URL(address.url.replace(/^\w+:\/\/(?=[/?]|$)/, '$&localhost')).host || 'the database';
  const explained = <T>(work: Promise<T>, what: string, hint?: (code?: string) => string | undefined) =>
    work.catch((error: NodeJS.ErrnoException) => {
      throw error instanceof StepError ? error : new StepError(`${what}: ${error.message || error.code}`, hint?.(error.code));
    });
  await explained(client.connect(), `PostgreSQL at ${where}`, connectionHint);
  try {
    await explained(client.query(SESSION), `PostgreSQL at ${where}`);
    const cursor = client.query(new Cursor(address.query, [], { rowMode: 'array', types: { getTypeParser: () => String } } as never));
    let columns: pg.FieldDef[] | undefined;
    for (;;) {
      const { rows, fields } = await explained(read(cursor), address.text);
      const names = (columns ?? fields).map(({ name }) => name);
      if (!columns) refuseSameColumns(names, address);
      columns ??= fields;
      if (rows.length === 0) return;
      yield rows.map((row) =>
        rowLine(
          names,
          row.map((value, i) => postgresJson(value, columns![i]!, address)),
        ),
      );
    }
  } finally {
    await client.end().catch(() => {}); // The transaction has already ended.
  }
}

/** `code`: of the operating system, or of PostgreSQL (SQLSTATE); none if the password is missing. */
function connectionHint(code = ''): string | undefined {
  if (/^(ECONN|ENOTFOUND|EAI_|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOENT)/.test(code))
    return 'Check the host and the port in the URL, and that the server is running.';
  if (code === '3D000') return 'Check the name of the database in the URL.';
  return 'Set PGUSER and PGPASSWORD in the environment, or create a ~/.pgpass file. Do not write them in a pipeline.';
}

/** One consistent snapshot of the data and one format for dates, whatever the server's settings are. */
const SESSION = `BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
  SET LOCAL TimeZone TO 'UTC'; SET LOCAL DateStyle TO 'ISO, YMD'; SET LOCAL IntervalStyle TO 'iso_8601';
  SET LOCAL extra_float_digits TO 1; SET LOCAL bytea_output TO 'hex'`;

function read(cursor: Cursor): Promise<{ rows: (string | null)[][]; fields: pg.FieldDef[] }> {
  return new Promise((resolve, reject) => {
    cursor.read(1000, (error: Error | null | undefined, rows: (string | null)[][], result?: pg.QueryResult) =>
      // A batch smaller than the limit means the end of the cursor.
      error ? reject(error) : resolve({ rows, fields: result?.fields ?? [] }),
    );
  });
}

/** Converts values from the server's text format to JSON. Numbers keep their digits; types that JSON lacks become text. */
function postgresJson(value: string | null, { name, dataTypeID }: pg.FieldDef, address: QueryAddress): string {
  if (value === null) return 'null';
  const element = ELEMENTS[dataTypeID];
  if (element !== undefined) return arrayOf(pg.types.getTypeParser(TEXT_ARRAY)(value), element);
  if (dataTypeID === BYTEA) return textOfBytes(Buffer.from(value.slice(2), 'hex'), name, address);
  return scalarOf(value, dataTypeID);
}

function scalarOf(value: string, type: number): string {
  if (WHOLE.has(type)) return value;
  if (FLOATS.has(type)) return fraction(Number(value));
  if (type === NUMERIC) return /^-?\d/.test(value) ? value : value === 'NaN' ? 'null' : JSON.stringify(value);
  if (type === BOOLEAN) return String(value === 't');
  if (JSONS.has(type)) return value.replaceAll(/[\r\n]+/g, ' ');
  return JSON.stringify(value);
}

const arrayOf = (items: unknown, element: number): string =>
  `[${(items as (string | null | unknown[])[])
    .map((item) => (item === null ? 'null' : Array.isArray(item) ? arrayOf(item, element) : scalarOf(item as string, element)))
    .join(',')}]`;

/** Object ids of PostgreSQL's built-in types, which never change. */
const [BOOLEAN, BYTEA, NUMERIC, TEXT, TEXT_ARRAY] = [16, 17, 1700, 25, 1009];
const WHOLE = new Set([20, 21, 23, 26]);
const FLOATS = new Set([700, 701]);
const JSONS = new Set([114, 3802]);
/** Element types of array types. */
const ELEMENTS: Record<number, number> = {
  1000: BOOLEAN,
  1005: 21,
  1007: 23,
  1016: 20,
  1021: 700,
  1022: 701,
  1231: NUMERIC,
  199: 114,
  3807: 3802,
  ...Object.fromEntries([1002, 1009, 1014, 1015, 1115, 1182, 1185, 2951].map((type) => [type, TEXT])),
};

/** The rows of a SQLite query. Opens the file read-only. */
async function* sqliteRows(address: QueryAddress & { file: string }): QueryRows {
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
          row.map((value, i) => sqliteJson(value, names[i]!, address)),
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

function sqliteJson(value: unknown, column: string, address: QueryAddress): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') return fraction(value);
  return Buffer.isBuffer(value) ? textOfBytes(value, column, address) : JSON.stringify(value);
}
