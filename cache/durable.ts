/** Getting bytes and names onto the disk before anything is said about them: what a power loss must not reorder. */
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

/** From so many files on, one flush of their whole filesystem is quicker than one for each. */
const MANY = 64;
const AT_ONCE = 16;

/** The contents of `files` (all on one filesystem) are on the disk when this resolves. */
export async function flushFiles(files: string[]): Promise<void> {
  if (files.length >= MANY && (await flushFilesystem(dirname(files[0]!)))) return;
  await flushEach(files, 'r+');
}

/** The names in `folders` (a rename into one of them) are on the disk when this resolves. Windows keeps them by itself. */
export async function flushFolders(folders: string[]): Promise<void> {
  if (process.platform !== 'win32') await flushEach(folders, 'r');
}

/** A few at once: a process may not have many files open. */
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

/** `sync -f` of GNU coreutils is syncfs(2). False where there is no such thing. */
async function flushFilesystem(folder: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  return promisify(execFile)('sync', ['-f', folder]).then(
    () => true,
    () => false,
  );
}
