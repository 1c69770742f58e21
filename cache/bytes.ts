/** Hashes a file and optionally copies it in one pass. Synchronous; `digest.ts` chooses the thread. */
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

export interface Digest {
  /** Hex SHA-256. */
  hash: string;
  size: number;
}

const CHUNK = 1 << 20;
/** Block size in bytes for preserving holes of sparse files. */
const HOLE = 1 << 16;

let chunk: Buffer | undefined;
const zeros = Buffer.alloc(HOLE);

/** Hashes the file. Also copies it to `to`, which must not exist yet, preserving holes. */
export function digestBytes(from: string, to?: string): Digest {
  chunk ??= Buffer.allocUnsafeSlow(CHUNK);
  const hash = createHash('sha256');
  const source = openSync(from, 'r');
  let target: number | undefined;
  try {
    const { size: expected, blocks } = fstatSync(source);
    const sparse = blocks * 512 < expected;
    if (to !== undefined) target = openSync(to, 'wx', 0o600);
    let size = 0;
    for (;;) {
      const count = readSync(source, chunk, 0, CHUNK, null);
      if (count === 0) break;
      const bytes = count === CHUNK ? chunk : chunk.subarray(0, count);
      hash.update(bytes);
      if (target !== undefined) {
        if (sparse) writeAroundHoles(target, bytes, size);
        else writeAll(target, bytes, size);
      }
      size += count;
    }
    if (target !== undefined && sparse) ftruncateSync(target, size);
    return { hash: hash.digest('hex'), size };
  } finally {
    closeSync(source);
    if (target !== undefined) closeSync(target);
  }
}

function writeAroundHoles(target: number, bytes: Buffer, position: number): void {
  for (let start = 0; start < bytes.length; start += HOLE) {
    const block = bytes.subarray(start, start + HOLE);
    if (!block.equals(zeros.subarray(0, block.length))) writeAll(target, block, position + start);
  }
}

/** Repeats short writes, which happen if a disk is nearly full. The next write then reports the error. */
function writeAll(target: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(target, bytes, done, bytes.length - done, position + done);
}
