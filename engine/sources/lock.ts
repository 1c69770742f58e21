/**
 * A file that says who is at work: two engines, of one project or of several, download the same thing once. Caches of
 * downloads may be shared over a network, so this is a file and no database. A holder that died is succeeded at once.
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
  /** Hears, once, that another one has it. */
  onWait?(pid: number): void;
}

/** Does `work` while no other process, and no other call here, has the lock. */
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
/** So long without a sign of life, and a holder that cannot be asked counts as dead. */
const SILENCE = 60_000;

/** The lock appears with its holder in it: of one that died before it could write that down, nobody would know. */
async function take(path: string): Promise<boolean> {
  const folder = dirname(path);
  const written = temporaryIn(folder);
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(written, JSON.stringify(thisProcess()));
    await link(written, path).catch((error) => {
      if (error.code === 'EEXIST') throw error;
      // A filesystem without hard links.
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
    return undefined; // given back
  }
}

async function isAbandoned(path: string, holder: ProcessIdentity | undefined): Promise<boolean> {
  const alive = holder && isAlive(holder);
  if (alive !== undefined) return !alive;
  const at = (await stat(path).catch(() => undefined))?.mtimeMs;
  return at !== undefined && Date.now() - at > SILENCE;
}

/** Of several that want to remove a dead holder's lock one does, lest a second one remove what the first has taken since. */
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
