/** Putting a finished file or folder where it belongs, and getting what stood there out of the way: whole or not at all. */
import { lstatSync, renameSync } from 'node:fs';
import { cp, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, extname, join } from 'node:path';
import { flushFiles, flushFolders } from './durable.ts';
import { diskError, shown } from './error.ts';
import { removeAbandoned, temporaryIn } from './temporary.ts';

/** Moves the finished file or folder `staged` to `path`, in place of what stands there. */
export async function place(staged: string, path: string): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true });
  const renamed = tryRename(staged, path);
  if (renamed === 'done') return;
  const here = renamed === 'elsewhere' ? await copyInto(folder, staged) : staged;
  // A folder is replaced in two steps; what stood there comes back if the second one fails. Meanwhile it is where the
  // new one was: what a killed process leaves there is removed by the next one.
  const former = standsAt(path) ? temporaryIn(dirname(here)) : undefined;
  try {
    if (former) await rename(path, former);
    await rename(here, path);
  } catch (error) {
    if (former && standsAt(former) && !standsAt(path)) await rename(former, path);
    if (here !== staged) await rm(here, { recursive: true, force: true });
    throw error;
  }
  if (here !== staged) await rm(staged, { recursive: true, force: true });
  if (former) await rm(former, { recursive: true, force: true });
}

/**
 * Moves what stands at `path` to `to`, or to the first of `to-2`, `to-3` … where nothing is: it never overwrites.
 * Returns where it went; undefined when nothing stood there.
 */
export async function moveAside(path: string, to: string): Promise<string | undefined> {
  if (!standsAt(path)) return undefined;
  const free = freeName(to);
  const folder = dirname(free);
  await mkdir(folder, { recursive: true });
  if (tryRename(path, free) !== 'done') {
    await rename(await copyInto(folder, path), free);
    await rm(path, { recursive: true, force: true });
  }
  return free;
}

function tryRename(from: string, to: string): 'done' | 'elsewhere' | 'in the way' {
  try {
    renameSync(from, to);
    return 'done';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EXDEV') return 'elsewhere';
    if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'EISDIR' || code === 'ENOTDIR') return 'in the way';
    // Windows says EPERM where a folder is in the way.
    if (code === 'EPERM' && process.platform === 'win32' && standsAt(to)) return 'in the way';
    throw error;
  }
}

/** A copy in `folder`, on another device, that is on the disk. */
async function copyInto(folder: string, path: string): Promise<string> {
  removeAbandoned(folder);
  const copy = temporaryIn(folder);
  try {
    await cp(path, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    await flushFiles(await filesIn(copy));
    await flushFolders([folder]);
    return copy;
  } catch (error) {
    await rm(copy, { recursive: true, force: true });
    throw diskError(error, `copying ${shown(path)}`, folder);
  }
}

async function filesIn(path: string): Promise<string[]> {
  const below = lstatSync(path).isDirectory() ? await readdir(path, { recursive: true }) : [''];
  return below.map((name) => join(path, name)).filter((file) => lstatSync(file).isFile());
}

function freeName(path: string): string {
  const extension = extname(path);
  const stem = path.slice(0, path.length - extension.length);
  for (let n = 1; ; n++) {
    const name = n === 1 ? path : `${stem}-${n}${extension}`;
    if (!standsAt(name)) return name;
  }
}

/** Also a link that leads nowhere stands there. */
function standsAt(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
