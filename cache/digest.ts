/**
 * SHA-256 of files on several cores. Small files are hashed on this thread, which is faster than passing them to a worker. Big
 * files go to worker threads, several at a time, so that the screen still updates while 10 GB are hashed.
 */
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type Digest, digestBytes } from './bytes.ts';

/** Minimum size of a big file in bytes. */
export const BIG = 4 << 20;

/** Hashes a file. Also copies it to `to`, which must not exist yet. */
export async function digest(from: string, size: number, to?: string): Promise<Digest> {
  if (size >= BIG) return inWorker({ from, to });
  const pause = breathe();
  if (pause) await pause;
  return digestBytes(from, to);
}

let lastBreath = performance.now();

/** A promise to await if this thread has worked so long that timers and signals need a turn. */
export function breathe(): Promise<void> | undefined {
  if (performance.now() - lastBreath < 20) return undefined;
  return setImmediate().then(() => {
    lastBreath = performance.now();
  });
}

export interface Job {
  from: string;
  to?: string;
}

export type Answer = { digest: Digest } | { failure: { message: string; code?: string } };

interface Waiting {
  job: Job;
  resolve(digest: Digest): void;
  reject(error: Error): void;
}

const queue: Waiting[] = [];
const idle: Worker[] = [];
let workers = 0;

function inWorker(job: Job): Promise<Digest> {
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
  worker.once('message', (answer: Answer) => {
    worker.off('error', failed);
    if ('digest' in answer) waiting.resolve(answer.digest);
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
