/**
 * An SQLite database of tunesmith: checks the schema when it opens, translates errors, and protects values with checksums.
 *
 * Read-only access changes nothing. Even reading a database in WAL mode would make SQLite create files, so the database is
 * copied to memory instead. SQLite is loaded when there is a database, because a first plan does not need it.
 */

import { hash } from 'node:crypto';
import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type Sqlite from 'better-sqlite3';
import { CacheError, freeSpace, ROOM } from './error.ts';

export interface DatabaseSchema {
  /** The name of the database in messages: "the index". */
  what: string;
  /** The SQL that migrates to each version from the one before; the first one creates the tables. */
  versions: string[];
}

type SqliteError = InstanceType<typeof Sqlite.SqliteError>;

type Work<T> = (statement: (sql: string) => Sqlite.Statement<any[], any>) => T;

export class SqliteDatabase {
  readonly readOnly: boolean;
  /** Absent if it is read-only and the file does not exist. */
  #opened: Sqlite.Database | undefined;
  readonly #statements = new Map<string, Sqlite.Statement<any[], any>>();
  /** Ends the transaction that reads share. */
  #reading: NodeJS.Immediate | undefined;

  constructor(
    readonly file: string,
    private readonly schema: DatabaseSchema,
    options: { readOnly: boolean },
  ) {
    this.readOnly = options.readOnly;
    const content = this.readOnly ? this.guard(() => snapshot(file)) : undefined;
    if (content?.length !== 0) this.guard(() => this.#open(content));
  }

  /** Every access goes through this function, `read` or `commit`, which convert SQLite's errors to CacheError. */
  use<T>(work: Work<T>): T {
    return this.guard(() => {
      this.#endReading();
      return work((sql) => this.#statement(sql));
    });
  }

  /** The first row of a query. */
  get(sql: string, ...values: unknown[]): any {
    return this.use((statement) => statement(sql).get(...values));
  }

  all(sql: string, ...values: unknown[]): any[] {
    return this.use((statement) => statement(sql).all(...values));
  }

  run(sql: string, ...values: unknown[]): Sqlite.RunResult {
    return this.use((statement) => statement(sql).run(...values));
  }

  /**
   * For small reads, of which there may be thousands in a row. They share one transaction and its lock until the next turn of
   * the event loop. `nothing`: the result if there is no database.
   */
  read<T>(nothing: T, work: Work<T>): T {
    if (!this.#opened) return nothing;
    return this.guard(() => {
      if (!this.#reading) {
        this.#statement('begin').run();
        this.#reading = setImmediate(() => this.#endReading());
      }
      return work((sql) => this.#statement(sql));
    });
  }

  /** Runs one transaction, which is on the disk when this returns. */
  commit(work: Work<void>): void {
    this.guard(() => {
      this.#endReading();
      this.#sqlite.pragma('synchronous = full');
      try {
        this.#sqlite.transaction(() => work((sql) => this.#statement(sql))).immediate();
      } finally {
        this.#sqlite.pragma('synchronous = normal');
      }
    });
  }

  close(): void {
    this.guard(() => {
      this.#endReading();
      this.#opened?.close();
    });
  }

  /** The open database; an empty one in memory if there is no file. */
  get #sqlite(): Sqlite.Database {
    return this.#opened ?? this.#open(Buffer.alloc(0));
  }

  #open(content: Buffer | undefined): Sqlite.Database {
    const sqlite = content ? openCopy(content) : openOwn(this.file);
    try {
      // For the SQL of schemas.
      sqlite.function('check_of', { deterministic: true, varargs: true, safeIntegers: true }, checkOf);
      sqlite.function('sealed', { deterministic: true }, (text) => (typeof text === 'string' ? sealed(text) : null));
      this.#prepare(sqlite);
    } catch (error) {
      sqlite.close();
      throw error;
    }
    this.#opened = sqlite;
    return sqlite;
  }

  #endReading(): void {
    if (!this.#reading) return;
    clearImmediate(this.#reading);
    this.#reading = undefined;
    // Nothing was written. An error may already have ended the transaction.
    if (this.#sqlite.inTransaction) this.#statement('rollback').run();
  }

  #statement(sql: string): Sqlite.Statement<any[], any> {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#sqlite.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #prepare(sqlite: Sqlite.Database): void {
    const { what, versions } = this.schema;
    /** The schema version of the file; 0 if empty. */
    const check = (): number => {
      const theirs = sqlite.pragma('user_version', { simple: true }) as number;
      const application = sqlite.pragma('application_id', { simple: true });
      if (application === APPLICATION && theirs <= versions.length) return theirs;
      const empty = sqlite.prepare('select count(*) from sqlite_schema').pluck().get() === 0;
      if (application === 0 && theirs === 0 && empty) return 0;
      if (application !== APPLICATION) {
        throw new CacheError(
          `${this.file} is an SQLite database, but it is not ${what} of tunesmith`,
          `Move it away and run again; ${this.#anew}`,
        );
      }
      throw new CacheError(
        `${this.file} was written by a newer version of tunesmith (format ${theirs}; this version supports ${versions.length})`,
        `Update tunesmith, or use another cache folder (TUNESMITH_CACHE). If no newer version was used here, the file is damaged. Move it away, and ${this.#anew}`,
      );
    };
    // In a transaction, so that a half-created schema of another process is never visible.
    if (sqlite.transaction(check)() === versions.length) return;
    if (!this.readOnly) switchToWal(sqlite);
    // If several processes arrive here, the first one creates the tables. A read-only process migrates its copy in memory.
    sqlite
      .transaction(() => {
        for (const sql of versions.slice(check())) sqlite.exec(sql);
        sqlite.pragma(`application_id = ${APPLICATION}`);
        sqlite.pragma(`user_version = ${versions.length}`);
      })
      .immediate();
  }

  get #anew(): string {
    return `the next run creates a new ${this.schema.what.replace(/^the /, '')} and keeps stored objects.`;
  }

  private guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw isOfSqlite(error) || isOfFolder(error) ? this.#explain(error) : error;
    }
  }

  #explain({ code, message }: Pick<SqliteError, 'code' | 'message'>): CacheError {
    const { file } = this;
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory())
      return new CacheError(`${this.schema.what} ${file} is a folder, but must be a file`, `Move it away and run again; ${this.#anew}`);
    if (DAMAGED.test(code)) {
      const what = code === 'SQLITE_NOTADB' ? 'is not an SQLite database' : `is damaged (${message})`;
      return new CacheError(`${this.schema.what} ${file} ${what}`, `Move it away and run again; ${this.#anew}`);
    }
    const free = freeSpace(dirname(file));
    if (code === 'SQLITE_FULL' && free >= PLENTY) {
      return new CacheError(
        `cannot write to ${this.schema.what} ${file}: the disk quota is used up, or the file is damaged`,
        `Free space and run again. If that does not help, move it away; ${this.#anew}`,
      );
    }
    if (code === 'SQLITE_FULL' || (code.startsWith('SQLITE_IOERR') && free < 1 << 20)) {
      return new CacheError(`disk full while writing ${file}`, ROOM);
    }
    if (code.startsWith('SQLITE_BUSY')) {
      return new CacheError(
        `${file} has been locked by another process for ${BUSY / 1000} s`,
        'Close programs that have it open, and run again.',
      );
    }
    return new CacheError(
      `cannot use ${this.schema.what} ${file}: ${message} (${code})`,
      'Check the file, its folder and their permissions.',
    );
  }
}

/** SQLite rejects a statement only if the tables differ from our schema, which means damage. */
const DAMAGED = /^SQLITE_(NOTADB|CORRUPT|ERROR|CONSTRAINT|MISMATCH|TOOBIG|FORMAT|SCHEMA|INTERNAL|RANGE)/;
/** Free space in bytes above which a disk does not count as full. */
const PLENTY = 1 << 26;

/** Marks the files as ours ("tmth"). */
const APPLICATION = 0x746d7468;
/** Maximum time in milliseconds to wait for a lock. Our own transactions take milliseconds. */
const BUSY = 20_000;

function sqliteModule(): typeof Sqlite {
  loaded ??= createRequire(import.meta.url)('better-sqlite3') as typeof Sqlite;
  return loaded;
}

let loaded: typeof Sqlite | undefined;

function isOfSqlite(error: unknown): error is SqliteError {
  return loaded !== undefined && error instanceof loaded.SqliteError;
}

/** Retries the one statement for which SQLite does not wait for locks. */
function switchToWal(sqlite: Sqlite.Database): void {
  for (let attempt = 0; ; attempt++) {
    try {
      sqlite.pragma('journal_mode = wal');
      return;
    } catch (error) {
      if (!isOfSqlite(error) || !error.code.startsWith('SQLITE_BUSY') || attempt === 200) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/** Creates the file with group permissions according to the umask, because SQLite ignores it and groups may share a cache. */
function openOwn(file: string): Sqlite.Database {
  if (!existsSync(file)) {
    try {
      closeSync(openSync(file, 'a', 0o666));
    } catch {
      // SQLite reports the error.
    }
  }
  return new (sqliteModule())(file, { timeout: BUSY });
}

/** Reading a folder as a file fails. */
function isOfFolder(error: unknown): error is Error & { code: string } {
  return (error as NodeJS.ErrnoException).code === 'EISDIR';
}

function openCopy(content: Buffer): Sqlite.Database {
  if (content.length === 0) return new (sqliteModule())(':memory:');
  // Bytes 18 and 19 mean WAL mode, which a database in memory does not support.
  content.fill(1, 18, 20);
  return new (sqliteModule())(content);
}

/** The bytes of the database including its write-ahead log; empty if there is no database. */
function snapshot(file: string): Buffer {
  for (let attempt = 0; ; attempt++) {
    const before = stamps(file);
    if (!before.main) return Buffer.alloc(0);
    const content = before.log ? withLog(file) : readFileSync(file);
    if (JSON.stringify(stamps(file)) === JSON.stringify(before) || attempt === 20) return content;
  }
}

function stamps(file: string): { main?: string; log?: string } {
  const stamp = (path: string) => {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    return stat && stat.size > 0n ? `${stat.ino}:${stat.size}:${stat.mtimeNs}` : undefined;
  };
  return { main: stamp(file), log: stamp(`${file}-wal`) };
}

function withLog(file: string): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-index-'));
  try {
    const copy = join(folder, 'copy.sqlite');
    copyFileSync(file, copy);
    if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`);
    const sqlite = new (sqliteModule())(copy);
    try {
      sqlite.pragma('journal_mode = delete');
    } finally {
      sqlite.close();
    }
    return readFileSync(copy);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * A checksum of SQLite values. A bit flip on the disk or in memory may give another valid value. The checksum detects it, and the
 * record counts as missing.
 */
export function checkOf(...values: unknown[]): string {
  return hash('sha256', values.join('\n')).slice(0, 16);
}

export function sealed(text: string): string {
  return `${text}\n${checkOf(text)}`;
}

/** Returns the text; undefined if the checksum does not match. */
export function unsealed(kept: unknown): string | undefined {
  if (typeof kept !== 'string') return undefined;
  const end = kept.lastIndexOf('\n');
  const text = kept.slice(0, Math.max(0, end));
  return end >= 0 && kept.slice(end + 1) === checkOf(text) ? text : undefined;
}
