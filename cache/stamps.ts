/**
 * When what stands at a path was last written, as one word: it is another one after any write to any file there, also
 * after one that was taken back. What a file or folder holds is said by content.ts; this tells whether it held that all along.
 */
import { statSync } from 'node:fs';
import { contentOf, listing, type Reading } from './content.ts';
import type { Hashes } from './memo.ts';

/** Undefined when nothing stands there. Reads no bytes. */
export async function stampsOf(path: string, reading: Reading = {}): Promise<string | undefined> {
  return (await contentOf(path, STAMPS, { ...reading, follow: true }))?.hash;
}

/** The same of each file in a folder, by its path from there; of a file nothing. */
export async function stampsWithin(path: string, reading: Reading = {}): Promise<Map<string, string>> {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return new Map();
  const entries = await listing(path, STAMPS, { ...reading, follow: true });
  return new Map(Object.values(entries).map((entry) => [entry.path, entry.hash]));
}

/** Without ctime: a hard link that is made or removed writes nothing. */
const STAMPS: Hashes = { hashOf: ({ dev, ino, size, mtimeNs }) => `${dev}:${ino}:${size}:${mtimeNs}`, learn() {} };
