/**
 * A lock file, so that two engines of any projects download the same thing only once. It is a file and not a database,
 * because download caches may be on a network file system. The lock of a dead process is released at once.
 */
import { constants } from 'node:fs';
import { copyFile, link, mkdir, open, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskError } from '../../cache/error.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../../cache/process.ts';
import { removeAbandoned, temporaryIn } from '../../cache/temporary.ts';

export interface Waiting {
  signal?: AbortSignal;
  /** Called once if another process has the lock. */
  onWait?(pid: number): void;
}

/** Runs `work` while no other process and no other call in this process has the lock. */
export async function locked<T>(path: string, { signal, onWait }: Waiting, work: () => Promise<T>): Promise<T> {
  let told = false;
  for (let wait = 10; !(await take(path)); wait = Math.min(200, wait * 1.5)) {
    const holder = await readHolder(path);
    if (holder && !told) {
      onWait?.(holder.pid);
      told = true;
    }
    if (await isAbandoned(path, holder)) await remove(path, holder);
    else await sleep(wait, undefined, { signal });
  }
  const beat = setInterval(() => utimes(path, new Date(), new Date()).catch(() => {}), BEAT).unref();
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await rm(path, { force: true });
  }
}

const BEAT = 10_000;
/** Time in milliseconds after which an inactive holder that cannot be checked counts as dead. */
const SILENCE = 60_000;

/** Creates the lock with its holder in it, in one step, so that a holder that dies is always known. */
async function take(path: string): Promise<boolean> {
  const folder = dirname(path);
  const written = temporaryIn(folder);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(written, JSON.stringify(thisProcess()));
    await link(written, path).catch((error) => {
      if (error.code === 'EEXIST') throw error;
      // The file system has no hard links.
      return copyFile(written, path, constants.COPYFILE_EXCL);
    });
    removeAbandoned(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw diskError(error, `locking ${path}`, folder);
  } finally {
    await rm(written, { force: true });
  }
}

async function readHolder(path: string): Promise<ProcessIdentity | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ProcessIdentity;
  } catch {
    return undefined; // released in the meantime
  }
}

async function isAbandoned(path: string, holder: ProcessIdentity | undefined): Promise<boolean> {
  const alive = holder && isAlive(holder);
  if (alive !== undefined) return !alive;
  const at = (await stat(path).catch(() => undefined))?.mtimeMs;
  return at !== undefined && Date.now() - at > SILENCE;
}

/** Lets only one process remove the lock of a dead holder. A second one could remove the new lock of the first. */
async function remove(path: string, holder: ProcessIdentity | undefined): Promise<void> {
  const guard = `${path}.removal`;
  try {
    await (await open(guard, 'wx')).close();
  } catch {
    const since = (await stat(guard).catch(() => undefined))?.mtimeMs ?? Date.now();
    if (Date.now() - since > SILENCE) await rm(guard, { force: true });
    await sleep(20);
    return;
  }
  try {
    if (JSON.stringify(await readHolder(path)) === JSON.stringify(holder)) await rm(path, { force: true });
  } finally {
    await rm(guard, { force: true });
  }
}
