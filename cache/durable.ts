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
  const rest = files.values();
  const worker = async () => {
    for (const file of rest) await flush(file, 'r+');
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, files.length) }, worker));
}

/** The names in `folder` (a rename into it) are on the disk when this resolves. Windows keeps them by itself. */
export async function flushFolder(folder: string): Promise<void> {
  if (process.platform !== 'win32') await flush(folder, 'r');
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
