/**
 * The cache of results in one folder, which projects and checkouts may share:
 *
 *   index.sqlite   results by fingerprint, their uses, leases, and the hashes of published objects
 *   objects/       the bytes of results by hash
 *   tmp/           temporary files; the next process removes those of a killed one
 *   damaged/       objects whose content no longer matched their hash
 */
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type DatabaseSchema, SqliteDatabase } from './database.ts';
import { CacheError, cacheErrorOf, diskError, printablePath, refuseFilesAt } from './error.ts';
import { CHECKED_HASHES_TABLE, FileHashCache, HASHES_TABLE } from './file-hash-cache.ts';
import { GcLock, GcRoots, USES_TABLES } from './gc.ts';
import { CHECKED_RESULTS, RESULTS_TABLE, ResultIndex } from './index.ts';
import { LEASES_TABLE, Leases } from './lease.ts';
import { ObjectStore } from './store.ts';

export interface Cache {
  index: ResultIndex;
  objects: ObjectStore;
  leases: Leases;
  gcLock: GcLock;
  gcRoots: GcRoots;
  /** The cache of hashes of the user's files. */
  fileHashes: FileHashCache;
  /** Nothing is stored, because the caller asked for it or the folder is not writable. */
  readOnly: boolean;
  close(): void;
}

export interface OpenOptions {
  /** Change nothing, not even while opening. */
  readOnly?: boolean;
  /** The database file of the hashes of the user's files, if the cache is shared or read-only. */
  fileHashes?: string;
  /** The folder for restoring, near the targets, if the cache is shared or read-only. */
  staging?: string;
  /** Called once if results cannot be stored because the cache is read-only. */
  notice?(message: string): void;
}

export function openCache(folder: string, options: OpenOptions = {}): Cache {
  checkFolder(folder);
  const unwritable = options.readOnly ? undefined : makeWritable(folder);
  const readOnly = options.readOnly || unwritable !== undefined;
  const database = new SqliteDatabase(join(folder, 'index.sqlite'), INDEX, { readOnly });
  const fileHashDatabase = options.fileHashes === undefined ? undefined : openFileHashes(options.fileHashes, options.readOnly ?? false);
  const objectHashes = new FileHashCache(database);
  const fileHashes = fileHashDatabase ? new FileHashCache(fileHashDatabase) : objectHashes;
  const leases = new Leases(database);
  let notified = options.readOnly;
  const staging = options.readOnly ? undefined : (options.staging ?? (readOnly ? undefined : join(folder, 'tmp')));
  const notKept = () => {
    const why = unwritable === folder ? '' : ` (${printablePath(unwritable ?? folder)} is not writable)`;
    if (!notified) options.notice?.(`the cache ${printablePath(folder)} is read-only${why}, so results are not stored for the next run`);
    notified = true;
  };
  return {
    index: new ResultIndex(database, notKept),
    objects: new ObjectStore({ folder, objects: objectHashes, files: fileHashes, readOnly, staging }),
    leases,
    gcLock: new GcLock(leases),
    gcRoots: new GcRoots(database),
    fileHashes,
    readOnly,
    close() {
      // All results are stored. Only cached hashes and leases, which end with this process, may be lost.
      for (const last of [() => leases.close(), () => objectHashes.flush(), () => fileHashes.flush()]) cacheErrorOf(last);
      database.close();
      fileHashDatabase?.close();
    },
  };
}

const INDEX: DatabaseSchema = {
  what: 'the index',
  versions: [RESULTS_TABLE + LEASES_TABLE + HASHES_TABLE, USES_TABLES, CHECKED_RESULTS + CHECKED_HASHES_TABLE],
};
const FILE_HASHES: DatabaseSchema = { what: 'the memo of file hashes', versions: [HASHES_TABLE, CHECKED_HASHES_TABLE] };

function openFileHashes(file: string, readOnly: boolean): SqliteDatabase {
  return new SqliteDatabase(file, FILE_HASHES, { readOnly: readOnly || makeWritable(dirname(file)) !== undefined });
}

/** Creates the folder if it is missing. Returns the part of it that is not writable, if any. */
function makeWritable(folder: string): string | undefined {
  let at = folder;
  try {
    accessSync(existing(folder), constants.W_OK);
    makeFolder(folder);
    const folders = [join(folder, 'objects'), join(folder, 'tmp')];
    for (at of [join(folder, 'index.sqlite'), ...folders]) if (existsSync(at)) accessSync(at, constants.W_OK);
    refuseFilesAt(folders);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return at;
    if (code === 'ENOENT')
      throw new CacheError(`the cache ${printablePath(folder)} cannot be created there`, 'Use another cache folder (TUNESMITH_CACHE).');
    throw diskError(error, `creating the cache ${printablePath(folder)}`, existing(folder));
  }
}

/** Creates one folder after the other: where a system answers ENOENT although the parent exists, as /proc does, `recursive` never ends. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // another process has created it
  }
}

/** Throws if a file is in the place of the cache folder or of a parent. Other errors occur when the cache is used. */
function checkFolder(folder: string): void {
  try {
    // If a parent is a file, some versions of Node return undefined, and others throw ENOTDIR.
    if (statSync(existing(folder)).isDirectory()) return;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') return;
  }
  throw new CacheError(
    `the cache ${printablePath(folder)} is not a folder`,
    'Move the file away, or use another cache folder (TUNESMITH_CACHE).',
  );
}

function existing(folder: string): string {
  return statSync(folder, { throwIfNoEntry: false }) ? folder : existing(dirname(folder));
}
