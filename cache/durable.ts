/** Flushes files and folders to the disk before they are reported, so that a power failure cannot reorder writes. */
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

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
