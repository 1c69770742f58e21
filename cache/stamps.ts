/**
 * When what stands at a path was last written, as one word: it is another one after any write to any file there, also
 * after one that was taken back. What a file or folder holds is said by content.ts; this tells whether it held that all along.
 */
import { contentOf } from './content.ts';
import type { Hashes } from './memo.ts';

/** Undefined when nothing stands there. Reads no bytes. */
export async function stampsOf(path: string): Promise<string | undefined> {
  return (await contentOf(path, STAMPS, { follow: true }))?.hash;
}

/** Without ctime: a hard link that is made or removed writes nothing. */
const STAMPS: Hashes = { hashOf: ({ dev, ino, size, mtimeNs }) => `${dev}:${ino}:${size}:${mtimeNs}`, learn() {} };
