/**
 * Moves a finished file or folder to its target and replaces what was there, atomically.
 *
 * A step may create folders without write or search permission, also in the place of a mount point. If the owner can
 * change such permissions, they are changed in order to move or remove the folder.
 *
 * Writes are flushed to the disk before they are reported, so that a power failure cannot reorder them. The name of a temporary
 * file contains the process, so that files of a killed process can be removed.
 */

import { execFile } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cp, mkdir, open, readdir, rename } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { sealed, unsealed } from './database.ts';
import { diskError, lockedFolder, printablePath } from './error.ts';
import { isAlive, processId, processOf } from './process.ts';

export async function placeAtomically(staged: string, path: string): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const renamed = tryRename(staged, path);
  if (renamed === 'done') return;
  if (renamed === 'mounted') return fillMounted(path, staged);
  const here = renamed === 'elsewhere' ? await copyInto(folder, staged) : staged;
  // A folder is replaced in two steps. If the second one fails, the old folder is moved back. In between, the old folder is in
  // the folder for temporary files, which the next process cleans after a kill.
  const former = existsAt(path) ? temporaryIn(dirname(here)) : undefined;
  try {
    if (former) await rename(path, former);
    await rename(here, path);
  } catch (error) {
    if (former && existsAt(former) && !existsAt(path)) await rename(former, path);
    if (here !== staged) removeTree(here);
    if (isMounted(error, path)) return fillMounted(path, staged);
    throw error;
  }
  if (here !== staged) removeTree(staged);
  if (former) removeTree(former);
}

/** Writes a text under a temporary name and renames it, so that no reader sees a part of it. Not flushed to the disk. */
export function replaceFile(path: string, text: string): void {
  const temporary = temporaryIn(dirname(path));
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** For a text that only saves time later: creates the folder, and ignores errors such as a full disk or missing permission. */
export function replaceFileIfPossible(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    replaceFile(path, text);
  } catch {
    // The next run does without it.
  }
}

/**
 * The same for a text below `.tunesmith/`, with a checksum. `path` is two levels below that folder, which is created with the
 * file that makes git ignore it.
 */
export function writeCachedText(path: string, text: string): void {
  replaceFileIfPossible(path, sealed(text));
  try {
    writeFileSync(join(path, '../../.gitignore'), '*\n', { flag: 'wx' });
  } catch {
    // It exists, or the folder could not be created.
  }
}

/** Undefined if the text is missing or damaged. */
export function readCachedText(path: string): string | undefined {
  try {
    return unsealed(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * Moves `path` to `to`, or to the first free one of `to-2`, `to-3` …, so that it never overwrites. Returns the target;
 * undefined if `path` does not exist.
 */
export async function moveAside(path: string, to: string): Promise<string | undefined> {
  if (!existsAt(path)) return undefined;
  const free = freeName(to);
  const folder = dirname(free);
  await mkdir(folder, { recursive: true });
  const renamed = tryRename(path, free);
  if (renamed === 'done') return free;
  await rename(await copyInto(folder, path), free);
  if (renamed === 'mounted') for (const name of readdirSync(path)) removeTree(join(path, name));
  else removeTree(path);
  return free;
}

/** Removes `path`, including folders without write or search permission. */
export function removeTree(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch (error) {
    if (!isForbidden(error)) throw error;
    giveAccess(path);
    rmSync(path, { recursive: true, force: true });
  }
}

type Renamed = 'done' | 'elsewhere' | 'in the way' | 'mounted';

function tryRename(from: string, to: string): Renamed {
  try {
    renameSync(from, to);
    return 'done';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EXDEV') return 'elsewhere';
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EISDIR' || code === 'ENOTDIR') return 'in the way';
    // Windows reports EPERM if a folder is in the way.
    if (code === 'EPERM' && process.platform === 'win32' && existsAt(to)) return 'in the way';
    if (isMounted(error, from) || isMounted(error, to)) return 'mounted';
    if (!isForbidden(error)) throw error;
    if (renameLocked(from, to)) return 'done';
    throw lockedFolder([dirname(from), dirname(to)]) ?? error;
  }
}

/** Moving a folder to another parent needs write permission on it. Its mode is restored afterwards. */
function renameLocked(from: string, to: string): boolean {
  const stat = lstatSync(from);
  if (!stat.isDirectory() || (stat.mode & 0o700) === 0o700) return false;
  try {
    chmodSync(from, stat.mode | 0o700);
  } catch {
    return false; // another user owns it
  }
  try {
    renameSync(from, to);
    chmodSync(to, stat.mode & 0o7777);
    return true;
  } catch (error) {
    if (existsAt(from)) chmodSync(from, stat.mode & 0o7777);
    throw error;
  }
}

/** A mount point can be neither moved nor removed, so it is emptied and filled instead. */
function isMounted(error: unknown, path: string): boolean {
  return (error as NodeJS.ErrnoException).code === 'EBUSY' && (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false);
}

async function fillMounted(folder: string, staged: string): Promise<void> {
  if (!lstatSync(staged).isDirectory()) {
    const busy = new Error(`EBUSY: resource busy or locked, rename '${staged}' -> '${folder}'`);
    throw Object.assign(busy, { code: 'EBUSY', path: folder });
  }
  const here = await copyInto(folder, staged);
  for (const name of await readdir(folder)) if (name !== basename(here)) removeTree(join(folder, name));
  for (const name of await readdir(here)) await rename(join(here, name), join(folder, name));
  removeTree(here);
  removeTree(staged);
}

/** Gives the owner of these folders permission to remove their content. */
function giveAccess(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return;
  if ((stat.mode & 0o700) !== 0o700) chmodSync(path, (stat.mode & 0o7777) | 0o700);
  for (const name of readdirSync(path)) giveAccess(join(path, name));
}

function isForbidden(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM';
}

/** Copies to `folder` on another device and flushes the copy to the disk. */
async function copyInto(folder: string, path: string): Promise<string> {
  removeAbandoned(folder);
  const copy = temporaryIn(folder);
  try {
    await cp(path, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    await flushFiles(await filesIn(copy));
    await flushFolders([folder]);
    return copy;
  } catch (error) {
    removeTree(copy);
    throw diskError(error, `copying ${printablePath(path)}`, folder);
  }
}

async function filesIn(path: string): Promise<string[]> {
  const below = lstatSync(path).isDirectory() ? await readdir(path, { recursive: true }) : [''];
  return below.map((name) => join(path, name)).filter((file) => lstatSync(file).isFile());
}

function freeName(path: string): string {
  const extension = extname(path);
  const stem = basename(path, extension);
  for (let n = 1; ; n++) {
    const name = n === 1 ? path : join(dirname(path), `${cut(stem, LONGEST_NAME - `-${n}${extension}`.length)}-${n}${extension}`);
    if (!existsAt(name)) return name;
  }
}

/** Maximum length of a name in bytes on nearly every file system. */
const LONGEST_NAME = 255;

function cut(name: string, bytes: number): string {
  return Buffer.byteLength(name) <= bytes
    ? name
    : Buffer.from(name)
        .toString('utf8', 0, bytes)
        .replace(/\ufffd$/, '');
}

/** Whether the path exists, including broken links. False if a parent is no folder or cannot be searched. */
export function existsAt(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

const PREFIX = '.tunesmith-';

let count = 0;

/** A unique path in `folder`. It is short, because the user's names may have the maximum length. */
export function temporaryIn(folder: string): string {
  return join(folder, `${PREFIX}${processId()}-${++count}`);
}

/** Removes files of dead processes from `folder`. */
export function removeAbandoned(folder: string): void {
  for (const name of namesIn(folder)) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(folder, name);
    if (isAlive(processOf(name.slice(PREFIX.length))) ?? isYoung(path)) continue;
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Another process removes it, or it belongs to another user.
    }
  }
}

/** A process on another host cannot be checked, so its file counts as abandoned when it has not changed for a week. */
export function isYoung(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs < 7 * 24 * 3600 * 1000;
}

/** The names in a folder; none if it is missing or cannot be read. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Number of files from which one flush of the whole file system is faster than one for each file. */
const MANY = 64;
const AT_ONCE = 16;

/** Resolves when the contents of `files` (all on one file system) are on the disk. */
export async function flushFiles(files: string[]): Promise<void> {
  if (files.length >= MANY && (await flushFilesystem(dirname(files[0]!)))) return;
  await flushEach(files, 'r+');
}

/** Resolves when the entries of `folders`, such as renamed files, are on the disk. Not needed on Windows. */
export async function flushFolders(folders: string[]): Promise<void> {
  if (process.platform !== 'win32') await flushEach(folders, 'r');
}

/** Runs a few at a time, because the number of open files is limited. */
async function flushEach(paths: string[], mode: string): Promise<void> {
  const rest = paths.values();
  const worker = async () => {
    for (const path of rest) await flush(path, mode);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, paths.length) }, worker));
}

async function flush(path: string, mode: string): Promise<void> {
  const handle = await open(path, mode);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Calls syncfs(2) through `sync -f` of GNU coreutils. False if it is not available. */
async function flushFilesystem(folder: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  return promisify(execFile)('sync', ['-f', folder]).then(
    () => true,
    () => false,
  );
}
