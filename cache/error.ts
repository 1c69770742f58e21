/** Errors of the cache: each says what is wrong, where, and what to do, and is shown without a stack trace. */
import { statfsSync } from 'node:fs';

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
