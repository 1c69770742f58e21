/**
 * Downloaded and unpacked folders in the cache. Each is stored atomically with a hash of its content, and is downloaded again if
 * its content no longer matches. A lock file makes two engines of any projects download the same thing only once.
 */

import { constants } from 'node:fs';
import { copyFile, link, mkdir, open, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { removeAbandoned, replaceFileIfPossible, temporaryIn } from '../../cache/atomic-move.ts';
import { contentOf } from '../../cache/content.ts';
import { diskError } from '../../cache/error.ts';
import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../../cache/process.ts';

interface LockOptions {
  signal?: AbortSignal;
  /** Called once if another process has the lock. */
  onWait?(pid: number): void;
}

/** The context of a download: callbacks for log lines and progress. */
export interface FetchProgress extends LockOptions {
  signal: AbortSignal;
  log(message: string): void;
  /** Called with the number of bytes and files to download. */
  expect(bytes: number, files: number): void;
  /** Called with the number of received bytes; negative for discarded ones. */
  onBytes(count: number): void;
}

/** The options of a download whose size only the server knows. */
export function downloadReports({ signal, log, expect, onBytes }: FetchProgress) {
  let expected = false;
  const onSize = (size: number) => {
    if (!expected) expect(size, 1);
    expected = true;
  };
  return { signal, log, onSize, onBytes };
}

export class FetchedStore {
  constructor(
    /** Created on demand. */
    readonly folder: string,
    private readonly fileHashes: FileHashCache,
  ) {}

  /** The folder `name`. If it is missing, `make` fills an empty folder and returns the path in it, which messages show: `owner/name@1a2b`. */
  async getOrMake(name: string, progress: FetchProgress, make: (folder: string) => Promise<string>): Promise<string> {
    const place = join(this.folder, name);
    return withDownloadLock(`${place}.lock`, progress, async () => {
      const found = await this.#find(place);
      if (found === 'damaged') progress.log(`${name} in ${this.folder} was changed and will be downloaded again`);
      else if (found) return found.path;
      const folder = dirname(place);
      removeAbandoned(folder);
      const staged = temporaryIn(folder);
      try {
        await mkdir(join(staged, 'files'), { recursive: true });
        const inside = await make(join(staged, 'files'));
        const { hash } = (await contentOf(join(staged, 'files'), this.fileHashes))!;
        await writeFile(join(staged, 'made.json'), JSON.stringify({ hash, inside }));
        await rm(place, { recursive: true, force: true });
        await rename(staged, place);
        return join(place, 'files', inside);
      } catch (error) {
        await rm(staged, { recursive: true, force: true });
        throw diskError(error, `putting ${name} in place`, this.folder);
      }
    });
  }

  /** The path of a download before it is unpacked. */
  download(name: string): string {
    return join(this.folder, 'downloads', name);
  }

  /** Ignores errors. Without the entry, the next run asks again. */
  writeText(name: string, text: string): void {
    replaceFileIfPossible(join(this.folder, name), text);
  }

  async readText(name: string): Promise<string | undefined> {
    return readFile(join(this.folder, name), 'utf8').catch(() => undefined);
  }

  async #find(place: string): Promise<{ path: string } | 'damaged' | undefined> {
    const made = await readFile(join(place, 'made.json'), 'utf8').catch(() => undefined);
    if (made === undefined) return undefined;
    try {
      const { hash, inside } = JSON.parse(made) as { hash: string; inside: string };
      return (await contentOf(join(place, 'files'), this.fileHashes))?.hash === hash ? { path: join(place, 'files', inside) } : 'damaged';
    } catch {
      return 'damaged';
    }
  }
}

/**
 * Runs `work` while no other process and no other call in this process has the lock. It is a file and not a database, because
 * download caches may be on a network file system. The lock of a dead process is released at once.
 */
export async function withDownloadLock<T>(path: string, { signal, onWait }: LockOptions, work: () => Promise<T>): Promise<T> {
  let notified = false;
  for (let wait = 10; !(await acquire(path)); wait = Math.min(200, wait * 1.5)) {
    const holder = await readHolder(path);
    if (holder && !notified) {
      onWait?.(holder.pid);
      notified = true;
    }
    if (await isAbandoned(path, holder)) await removeAbandonedLock(path, holder);
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
async function acquire(path: string): Promise<boolean> {
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
async function removeAbandonedLock(path: string, holder: ProcessIdentity | undefined): Promise<void> {
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
