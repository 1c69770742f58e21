/**
 * The cache of results in one folder, which projects and checkouts may share:
 *
 *   index.sqlite   results by fingerprint, who relies on them, leases, and what each object was when it was published
 *   objects/       the results' bytes by hash
 *   tmp/           what is not finished; what a killed process leaves here is removed by the next one
 *   damaged/       objects that were found to be no longer what their name says
 */
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Database, type Schema } from './database.ts';
import { CacheError, diskError, shown } from './error.ts';
import { CHECKED_RESULTS, RESULTS_TABLE, ResultIndex } from './index.ts';
import { LEASES_TABLE, Leases } from './lease.ts';
import { CHECKED_MEMO_TABLE, MEMO_TABLE, Memo } from './memo.ts';
import { ObjectStore } from './store.ts';
import { Turns } from './turns.ts';
import { USES_TABLES, Uses } from './uses.ts';

export interface Cache {
  index: ResultIndex;
  objects: ObjectStore;
  leases: Leases;
  /** Publishing and removing do not mix. */
  turns: Turns;
  /** Who relies on which results. */
  uses: Uses;
  /** Knows the hashes of the user's files. */
  memo: Memo;
  /** Nothing is stored: asked for, or the folder does not let us write. */
  readOnly: boolean;
  close(): void;
}

export interface OpenOptions {
  /** Touch nothing, not even on opening. */
  readOnly?: boolean;
  /** The database file of the memo, where it should lie apart from a cache that is shared, or read-only. */
  memo?: string;
  /** The folder where what is restored is put together, where that should lie apart from such a cache: near where it goes. */
  staging?: string;
  /** Hears, once, that results cannot be kept because the cache turned out to be read-only. */
  notice?(message: string): void;
}

export function openCache(folder: string, options: OpenOptions = {}): Cache {
  checkFolder(folder);
  const unwritable = options.readOnly ? undefined : makeWritable(folder);
  const readOnly = options.readOnly || unwritable !== undefined;
  const database = new Database(join(folder, 'index.sqlite'), INDEX, { readOnly });
  const memos = options.memo === undefined ? undefined : openMemo(options.memo, options.readOnly ?? false);
  const objectMemo = new Memo(database);
  const memo = memos ? new Memo(memos) : objectMemo;
  const leases = new Leases(database);
  let told = options.readOnly;
  const staging = options.readOnly ? undefined : (options.staging ?? (readOnly ? undefined : join(folder, 'tmp')));
  const notKept = () => {
    const why = unwritable === folder ? '' : `, since ${shown(unwritable ?? folder)} may not be written,`;
    if (!told) options.notice?.(`the cache ${shown(folder)}${why} is read-only: results are not kept for the next run`);
    told = true;
  };
  return {
    index: new ResultIndex(database, notKept),
    objects: new ObjectStore({ folder, objects: objectMemo, files: memo, readOnly, staging }),
    leases,
    turns: new Turns(leases),
    uses: new Uses(database),
    memo,
    readOnly,
    close() {
      for (const last of [() => leases.close(), () => objectMemo.flush(), () => memo.flush()]) ignoringCacheErrors(last);
      database.close();
      memos?.close();
    },
  };
}

/** All results are safe by now. What is lost here is a memory that saves reading, or a lease that ends with this process. */
function ignoringCacheErrors(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof CacheError)) throw error;
  }
}

const INDEX: Schema = {
  what: 'the index',
  versions: [RESULTS_TABLE + LEASES_TABLE + MEMO_TABLE, USES_TABLES, CHECKED_RESULTS + CHECKED_MEMO_TABLE],
};
const MEMO: Schema = { what: 'the memo of file hashes', versions: [MEMO_TABLE, CHECKED_MEMO_TABLE] };

function openMemo(file: string, readOnly: boolean): Database {
  return new Database(file, MEMO, { readOnly: readOnly || makeWritable(dirname(file)) !== undefined });
}

/** Makes the folder where there is none. Returns what of it is there, but not for us to write: the folder itself, or a part. */
function makeWritable(folder: string): string | undefined {
  let at = folder;
  try {
    accessSync(existing(folder), constants.W_OK);
    mkdirSync(folder, { recursive: true });
    for (at of [join(folder, 'index.sqlite'), join(folder, 'objects'), join(folder, 'tmp')])
      if (existsSync(at)) accessSync(at, constants.W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return at;
    throw diskError(error, `making the cache ${shown(folder)}`, existing(folder));
  }
}

/** A file in its place, or in that of a folder above it; whatever else is wrong shows when it is used. */
function checkFolder(folder: string): void {
  try {
    // Where a folder above is a file, some versions of Node find nothing, and others throw ENOTDIR.
    if (statSync(existing(folder)).isDirectory()) return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') return;
  }
  throw new CacheError(`the cache ${shown(folder)} is not a folder`, 'Move the file away, or use another cache folder (TUNESMITH_CACHE).');
}

/** The nearest folder that is there. */
function existing(folder: string): string {
  return statSync(folder, { throwIfNoEntry: false }) ? folder : existing(dirname(folder));
}
