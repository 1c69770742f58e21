/**
 * SHA-256 of files, on as many cores as help. Small files are read right here, which costs less than handing them
 * over; big ones go to worker threads, several at once, so that a screen stays alive while 10 GB are hashed.
 */
import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { type Digest, digestBytes } from './bytes.ts';

/** Files from this size on are big. */
export const BIG = 4 << 20;

/** With `to`, the bytes are also written there, to a file that must not exist yet. */
export async function digest(from: string, size: number, to?: string): Promise<Digest> {
  if (size >= BIG) return inWorker({ from, to });
  const pause = breathe();
  if (pause) await pause;
  return digestBytes(from, to);
}

let lastBreath = performance.now();

/** A promise to await when this thread has worked for so long that timers and signals deserve a turn. */
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

/** A worker at work keeps the process alive, an idle one does not. */
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
  // Run from source: a thread does not take over the loader that knows TypeScript.
  const file = JSON.stringify(new URL('./digest-worker.ts', import.meta.url));
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${loader}).then(({ tsImport }) => tsImport(${file}, ${file}))`, { eval: true });
}
