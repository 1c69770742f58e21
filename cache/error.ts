/** Errors of the cache: each says what is wrong, where, and what to do, and is shown without a stack trace. */
import { accessSync, constants, statfsSync, statSync } from 'node:fs';

/** Something is wrong with the cache itself, or with the disk below it. */
export class CacheError extends Error {
  override name = 'CacheError';
  constructor(
    message: string,
    /** What to do about it. */
    readonly hint?: string,
  ) {
    super(message);
  }
}

/** An object that a result refers to is not in the cache, or was damaged and is set aside: the step has to run. */
export class MissingObjectError extends CacheError {
  override name = 'MissingObjectError';
}

/** A file or folder of the user's that cannot be read as one consistent whole. */
export class UnreadableError extends Error {
  override name = 'UnreadableError';
  constructor(
    readonly path: string,
    /** What is wrong with it, read after the path: "permission denied". */
    reason: string,
    readonly hint?: string,
  ) {
    super(`cannot read ${shown(path)}: ${reason}`);
  }
}

/** What to throw when `doing` something ("storing out/model") failed with `error`; `needed` is in bytes, where that is known. */
export function diskError(error: unknown, doing: string, folder: string, needed?: number): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const limit = code === 'EDQUOT' ? 'disk quota used up' : 'disk full';
    return new CacheError(
      `${limit} while ${doing}: ${needed === undefined ? '' : `${bytes(needed)} needed, `}${bytes(freeSpace(folder))} free at ${folder}`,
      'Free space and run again: nothing was lost, and nothing half written is left.',
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new CacheError(`not allowed while ${doing}: ${(error as Error).message}`, 'Check who owns the folder and its permissions.');
  }
  return error;
}

/**
 * An error of the operating system in words, with what to do about it; undefined for any other error. Every code that a path, a
 * permission or a disk can cause is here: none of them is a bug of ours.
 */
export function systemError(error: unknown): { message: string; hint: string } | undefined {
  const { code = '', path, dest, syscall } = error as NodeJS.ErrnoException & { dest?: string };
  if (code === 'ENOENT' && syscall === 'uv_cwd')
    return { message: 'the working folder was deleted', hint: 'Change into a folder that is there, and run again.' };
  const known = SYSTEM[code];
  if (!known) return undefined;
  const [what, hint] = known;
  const where = [path, dest].filter((name) => typeof name === 'string').map(shown);
  return { message: where.length > 0 ? `${what}: ${where.join(' → ')}` : `${what}: ${(error as Error).message}`, hint };
}

const ROOM = 'Free space and run again: what was stored before is safe.';
const OWNER = 'Check who owns it, and its permissions.';
const DESCRIPTORS = 'Run fewer cells at once (-j 1), or raise the limit (ulimit -n).';

const SYSTEM: Record<string, [what: string, hint: string]> = {
  ENOSPC: ['the disk is full', ROOM],
  EDQUOT: ['the disk quota is used up', ROOM],
  EACCES: ['permission denied', OWNER],
  EPERM: ['not permitted', OWNER],
  EROFS: ['the file system is read-only', 'Make it writable, or work elsewhere.'],
  ENOTDIR: ['a file stands where a folder is needed', 'Move the file away.'],
  EEXIST: ['something stands in the way', 'Move it away.'],
  ENOTEMPTY: ['something stands in the way', 'Move it away.'],
  EISDIR: ['a folder stands where a file is needed', 'Move the folder away.'],
  ENOENT: ['it is not there, or was removed meanwhile', 'Run again when nothing else changes it.'],
  ENAMETOOLONG: ['the name is too long for the file system', 'Most take 255 bytes a name. Use a shorter one.'],
  ELOOP: ['its links lead in a circle', 'Correct the links.'],
  EBUSY: ['it is in use, or something is mounted there', 'Mount the folder above it instead, or write elsewhere.'],
  ETXTBSY: ['it is a program that is running', 'Run again when it has ended.'],
  EFBIG: ['the file is too large for the file system', 'Write it elsewhere.'],
  EIO: ['the disk failed to read or write', 'Check the disk.'],
  ESTALE: ['the network file system no longer knows it', 'Run again; mount it anew if that does not help.'],
  EMFILE: ['too many open files', DESCRIPTORS],
  ENFILE: ['too many open files on this machine', DESCRIPTORS],
  ENOMEM: ['there is not enough memory', 'Run fewer cells at once with -j 1.'],
};

/** In place of "permission denied" for what lies in a folder: the first of these folders that we may not write to; undefined where we may. */
export function lockedFolder(folders: string[]): CacheError | undefined {
  for (const folder of folders) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    if (!stat || mayWrite(folder)) continue;
    const mode = (stat.mode & 0o7777).toString(8).padStart(3, '0');
    return new CacheError(
      `permission denied: the folder ${shown(folder)} may not be written to (it belongs to user ${stat.uid}, and its mode is ${mode})`,
      'Give the user who runs tunesmith the right to write to it, or write elsewhere.',
    );
  }
  return undefined;
}

function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A path for a message: on one line, whatever its name holds. */
export function shown(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach the screen
  return /[\x00-\x1f\x7f]/.test(path) ? JSON.stringify(path) : path;
}

export function freeSpace(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

function bytes(count: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit++;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}
