/**
 * The last write to a file or folder as one word, which changes with every write, even if the write is reverted. content.ts
 * gives the content; this shows whether it was the same all the time.
 */
import { statSync } from 'node:fs';
import { contentOf, listing, type Reading } from './content.ts';
import type { Hashes } from './memo.ts';

/** Undefined if the path does not exist. Does not read the files. */
export async function stampsOf(path: string, reading: Reading = {}): Promise<string | undefined> {
  return (await contentOf(path, STAMPS, { ...reading, follow: true }))?.hash;
}

/** The last write of each file in a folder, by relative path; empty for a file. */
export async function stampsWithin(path: string, reading: Reading = {}): Promise<Map<string, string>> {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return new Map();
  const entries = await listing(path, STAMPS, { ...reading, follow: true });
  return new Map(Object.values(entries).map((entry) => [entry.path, entry.hash]));
}

/** Without ctime, which changes when a hard link is created or removed. */
const STAMPS: Hashes = { hashOf: ({ dev, ino, size, mtimeNs }) => `${dev}:${ino}:${size}:${mtimeNs}`, learn() {} };
