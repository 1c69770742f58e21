/** Errors of the cache. Each has a message and a hint for the user and is printed without a stack trace. */
import { accessSync, constants, lstatSync, statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

export class CacheError extends Error {
  override name = 'CacheError';
  constructor(
    message: string,
    /** What to do. */
    readonly hint?: string,
  ) {
    super(message);
  }
}

/** Does optional work. Returns the error of the cache if it fails. */
export function cacheErrorOf(work: () => void): CacheError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof CacheError) return error;
    throw error;
  }
}

/** An object of a result is missing, or it was damaged and moved away, so the step must run. */
export class MissingObjectError extends CacheError {
  override name = 'MissingObjectError';
}

/** A file or folder of the user that cannot be read consistently. */
export class UnreadableError extends Error {
  override name = 'UnreadableError';
  constructor(
    readonly path: string,
    /** The reason, which follows the path: "permission denied". */
    reason: string,
    readonly hint?: string,
  ) {
    super(`cannot read ${printablePath(path)}: ${reason}`);
  }
}

/** The error to throw if `doing` ("storing out/model") failed with `error`. `needed`: required space in bytes, if known. */
export function diskError(error: unknown, doing: string, folder: string, needed?: number): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const limit = code === 'EDQUOT' ? 'disk quota used up' : 'disk full';
    return new CacheError(
      `${limit} while ${doing}: ${needed === undefined ? '' : `${bytes(needed)} needed, `}${bytes(freeSpace(folder))} free at ${folder}`,
      `Free space and run again. No data was lost, and no partial files are left. ${WHAT_TO_REMOVE}`,
    );
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new CacheError(`not allowed while ${doing}: ${(error as Error).message}`, 'Check the owner and the permissions of the folder.');
  }
  return error;
}

/**
 * Explains an error of the operating system, with a hint; undefined for other errors. Contains every code that a path, a
 * permission or a disk can cause, because none of them is a bug in tunesmith.
 */
export function systemError(error: unknown): { message: string; hint: string } | undefined {
  const { code = '', path, dest, syscall } = error as NodeJS.ErrnoException & { dest?: string };
  if (code === 'ENOENT' && syscall === 'uv_cwd')
    return { message: 'the working folder no longer exists', hint: 'Change to an existing folder and run again.' };
  const known = SYSTEM[code];
  if (!known) return undefined;
  const [what, hint] = known;
  // The path of the error is often below the file that causes it.
  for (const wanted of OF_FOLDERS.has(code) ? [path, dest] : []) {
    const found = typeof wanted === 'string' ? fileAbove(wanted) : undefined;
    if (found === undefined) continue;
    return {
      message: `${printablePath(found)} is not a folder`,
      hint: `Move it away, or use another path than ${printablePath(wanted!)}.`,
    };
  }
  const where = [path, dest].filter((name) => typeof name === 'string').map(printablePath);
  return { message: where.length > 0 ? `${what}: ${where.join(' → ')}` : `${what}: ${(error as Error).message}`, hint };
}

/** A folder of tunesmith that is often large and that nothing else empties. */
const WHAT_TO_REMOVE = '`tunesmith gc --failed` removes the outputs of failed cells.';
/** The hint for a full disk. */
export const ROOM = `Free space and run again. Results that were stored before are safe. ${WHAT_TO_REMOVE}`;
const OWNER = 'Check its owner and permissions.';
const DESCRIPTORS = 'Run fewer cells at the same time (-j 1), or raise the limit (ulimit -n).';

const SYSTEM: Record<string, [what: string, hint: string]> = {
  ENOSPC: ['the disk is full', ROOM],
  EDQUOT: ['the disk quota is used up', ROOM],
  EACCES: ['permission denied', OWNER],
  EPERM: ['not permitted', OWNER],
  EROFS: ['the file system is read-only', 'Make it writable, or use another folder.'],
  ENOTDIR: ['there is a file in the place of a folder', 'Move the file away.'],
  EEXIST: ['the target already exists', 'Move it away.'],
  ENOTEMPTY: ['the target already exists', 'Move it away.'],
  EISDIR: ['there is a folder in the place of a file', 'Move the folder away.'],
  ENOENT: ['it does not exist or was removed in the meantime', 'Run again when no other program changes it.'],
  ENAMETOOLONG: ['the name is too long for the file system', 'Most file systems allow 255 bytes. Use a shorter name.'],
  ELOOP: ['its links form a cycle', 'Correct the links.'],
  EBUSY: ['it is in use or is a mount point', 'Mount the parent folder instead, or use another path.'],
  ETXTBSY: ['it is a running program', 'Run again when it has ended.'],
  EFBIG: ['the file is too large for the file system', 'Use another file system.'],
  EIO: ['the disk failed to read or write', 'Check the disk.'],
  ESTALE: ['it no longer exists on the network file system', 'Run again. If that does not help, mount the file system again.'],
  EMFILE: ['too many open files', DESCRIPTORS],
  ENFILE: ['too many open files on this machine', DESCRIPTORS],
  ENOMEM: ['there is not enough memory', 'Run fewer cells at the same time with -j 1.'],
};

/** Codes that a file in the place of a folder can cause. */
const OF_FOLDERS = new Set(['ENOTDIR', 'EEXIST', 'ENOENT']);

/** The file or the broken link that is in the place of a folder above the path. */
function fileAbove(path: string): string | undefined {
  const folder = dirname(path);
  return folder === path ? undefined : (fileAbove(folder) ?? (isInPlaceOfFolder(folder) ? folder : undefined));
}

/** Throws if something else is in the place of one of these folders of tunesmith, so that no work is done in vain. */
export function refuseFilesAt(folders: string[]): void {
  const found = folders.find(isInPlaceOfFolder);
  if (found !== undefined)
    throw new CacheError(`${printablePath(found)} is not a folder`, 'Move it away, because tunesmith needs a folder in its place.');
}

/** Whether there is something at the path, but no folder. A link to a folder is a folder. */
function isInPlaceOfFolder(path: string): boolean {
  try {
    return !(statSync(path, { throwIfNoEntry: false }) ?? lstatSync(path)).isDirectory();
  } catch {
    return false; // it does not exist, or it cannot be reached
  }
}

/** Explains "permission denied" by the first of these folders that is not writable; undefined if all are. */
export function lockedFolder(folders: string[]): CacheError | undefined {
  for (const folder of folders) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    if (!stat || mayWrite(folder)) continue;
    const mode = (stat.mode & 0o7777).toString(8).padStart(3, '0');
    return new CacheError(
      `permission denied: the folder ${printablePath(folder)} is not writable (its owner is user ${stat.uid}, its mode ${mode})`,
      'Give the user who runs tunesmith write permission, or use another folder.',
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

/** A path for a message, on one line and without control characters. */
export function printablePath(path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it matches control characters to escape them
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
