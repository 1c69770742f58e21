/**
 * SHA-256 of files on several cores. Small files are hashed on this thread, which is faster than passing them to a worker. Big
 * files go to worker threads, several at a time, so that the screen still updates while 10 GB are hashed.
 */

import { createHash, hash } from 'node:crypto';
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** Minimum size of a big file in bytes. */
export const BIG = 4 << 20;

/** Hashes a file. Also copies it to `to`, which must not exist yet, preserving holes. */
export async function digest(from: string, size: number, to?: string): Promise<string> {
  if (size >= BIG) return inWorker({ from, to });
  const pause = yieldIfDue();
  if (pause) await pause;
  return (to === undefined ? digestSmall(from, size) : undefined) ?? digestBytes(from, to);
}

/** Most files are small. One read is enough for them; undefined if the file has another size. */
function digestSmall(from: string, size: number): string | undefined {
  if (size >= CHUNK) return undefined;
  chunk ??= Buffer.allocUnsafeSlow(CHUNK);
  const source = openSync(from, 'r');
  try {
    const count = readSync(source, chunk, 0, size + 1, null);
    return count === size ? sha256(chunk.subarray(0, size)) : undefined;
  } finally {
    closeSync(source);
  }
}

const CHUNK = 1 << 20;
/** Block size in bytes for preserving holes of sparse files. */
const HOLE = 1 << 16;

let chunk: Buffer | undefined;
const zeros = Buffer.alloc(HOLE);

/** The same on this thread. */
export function digestBytes(from: string, to?: string): string {
  chunk ??= Buffer.allocUnsafeSlow(CHUNK);
  const sum = createHash('sha256');
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
      sum.update(bytes);
      if (target !== undefined) {
        if (sparse) writeAroundHoles(target, bytes, size);
        else writeAll(target, bytes, size);
      }
      size += count;
    }
    if (target !== undefined && sparse) ftruncateSync(target, size);
    return sum.digest('hex');
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

/** Processes big files in parallel on worker threads and small ones in sequence. Waits for all of them. */
export async function largeAndSmall<T extends { size: number }>(files: T[], work: (file: T) => Promise<void>): Promise<void> {
  const inTurn = async () => {
    for (const file of files) {
      if (file.size >= BIG) continue;
      const pause = yieldIfDue();
      if (pause) await pause;
      await work(file);
    }
  };
  const ended = await Promise.allSettled([inTurn(), ...files.filter(({ size }) => size >= BIG).map(work)]);
  for (const result of ended) if (result.status === 'rejected') throw result.reason;
}

/** By `Date`, because `performance` makes Node load a dozen modules. */
let lastYield = Date.now();

/** A promise to await if this thread has worked so long that timers and signals need a turn. */
export function yieldIfDue(): Promise<void> | undefined {
  // The clock may have been set back.
  if (Math.abs(Date.now() - lastYield) < 20) return undefined;
  return setImmediate().then(() => {
    lastYield = Date.now();
  });
}

export interface DigestJob {
  from: string;
  to?: string;
}

export type DigestReply = { hash: string } | { failure: { message: string; code?: string } };

interface Waiting {
  job: DigestJob;
  resolve(hash: string): void;
  reject(error: Error): void;
}

const queue: Waiting[] = [];
const idle: Worker[] = [];
let workers = 0;

function inWorker(job: DigestJob): Promise<string> {
  return new Promise((resolve, reject) => {
    queue.push({ job, resolve, reject });
    const worker = idle.pop() ?? (workers < Math.min(8, availableParallelism()) ? startWorker() : undefined);
    if (worker) nextJob(worker);
  });
}

/** A busy worker keeps the process alive, an idle one does not. */
function nextJob(worker: Worker): void {
  const waiting = queue.shift();
  if (!waiting) {
    worker.unref();
    idle.push(worker);
    return;
  }
  worker.ref();
  const failed = (error: Error) => {
    workers--;
    waiting.reject(error);
  };
  worker.once('error', failed);
  worker.once('message', (answer: DigestReply) => {
    worker.off('error', failed);
    if ('hash' in answer) waiting.resolve(answer.hash);
    else waiting.reject(Object.assign(new Error(answer.failure.message), { code: answer.failure.code }));
    nextJob(worker);
  });
  worker.postMessage(waiting.job);
}

function startWorker(): Worker {
  workers++;
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL('./digest-worker.js', import.meta.url));
  // In a checkout, a worker thread does not inherit the TypeScript loader.
  const file = JSON.stringify(new URL('./digest-worker.ts', import.meta.url));
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${loader}).then(({ tsImport }) => tsImport(${file}, ${file}))`, { eval: true });
}

/** The hash of a text or of bytes in memory. */
export function sha256(content: string | Uint8Array): string {
  return hash('sha256', content);
}
