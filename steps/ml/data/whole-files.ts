/** What writers of files need to leave only whole ones: a hash to recognise them by, and writes that survive a crash of the machine. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';

/** SHA-256. */
export async function hashOfFile(file: string): Promise<string> {
  const read = createHash('sha256');
  await pipeline(createReadStream(file), read);
  return read.digest('hex');
}

/** Flushes a file, or the names in a folder. Windows flushes folders by itself. */
export async function flush(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
