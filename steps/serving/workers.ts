/** Worker threads, each with the bundle open. Node's main thread stays free for reading, writing and HTTP. */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { SHARE_ENV, Worker, type WorkerOptions } from 'node:worker_threads';
import { type Json, memoryLimit, StepError } from '../../engine/step.ts';
import type { Input } from '../ml/tasks/task.ts';
import type { Bundle } from './bundle.ts';

export interface ModelWorkers {
  readonly threads: readonly Thread[];
  /** Starts another thread to replace one that died. */
  start(): Promise<Thread>;
}

/** It does one thing at a time. Its promises reject only if the thread dies, for example for lack of memory. */
export interface Thread {
  readonly alive: boolean;
  /** Keeps each input until it is answered or dropped. */
  encode(inputs: Numbered[]): Promise<WorkerReport[]>;
  /** One run of the model. Returns the inputs that are complete with it. */
  run(parts: InputChunk[]): Promise<WorkerReport[]>;
  drop(ids: number[]): void;
  end(): Promise<void>;
}

export interface Numbered {
  id: number;
  input: Input;
}

/** One sequence of an encoded input. */
export interface InputChunk {
  id: number;
  sequence: number;
}

/** The result of encoding an input. `lengths`: tokens of each of its sequences, which must now be run. */
export type WorkerReport = { id: number } & (
  | { lengths: number[] }
  | { prediction: Json }
  | { refused: WorkerFailure }
  | { failed: WorkerFailure }
);

/** An error sent by a thread. */
export interface WorkerFailure {
  message: string;
  hint?: string;
  /** It is a StepError. */
  ofUser: boolean;
}

/** What a thread is started with. */
export interface WorkerData {
  bundle: Bundle;
  /** Cores for one thread's matrix products. */
  threads: number;
}

export type Question = { encode: Numbered[] } | { run: InputChunk[] } | { drop: number[] } | 'end';

/** The first reply says that the thread is ready, or that it failed to start. */
export type Reply = { reports: WorkerReport[] } | { failure: WorkerFailure };

/** The limit of memory for weights: every thread holds them, and more threads are not worth it. */
const mostWeightBytes = 1 << 30;

/**
 * Memory of a thread besides the weights. All threads together take a quarter of a container's memory before there is
 * any work.
 */
const threadBytes = 128 * 2 ** 20;

export async function startWorkers(bundle: Bundle, cores = availableParallelism()): Promise<ModelWorkers> {
  const fitting = Math.min(mostWeightBytes / bundle.modelBytes, memoryLimit() / 4 / (bundle.modelBytes + threadBytes));
  const count = Math.max(1, Math.min(cores, Math.floor(fitting)));
  const data: WorkerData = { bundle, threads: Math.max(1, Math.floor(cores / count)) };
  return { threads: await startThreads(count, data), start: () => startThread(data) };
}

/** Starts all of them or none. */
async function startThreads(count: number, data: WorkerData): Promise<Thread[]> {
  const started = await Promise.allSettled(Array.from({ length: count }, () => startThread(data)));
  const threads = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = started.find((one) => one.status === 'rejected');
  if (!failed) return threads;
  await Promise.all(threads.map((thread) => thread.end()));
  throw failed.reason;
}

async function startThread(data: WorkerData): Promise<Thread> {
  const worker = new Worker(...workerModule('worker', data));
  let alive = true;
  const died = () => {
    alive = false;
  };
  worker.on('error', died).on('exit', died); // replyOf reports it
  await replyOf(worker);
  const ask = (question: Question): Promise<WorkerReport[]> => {
    worker.postMessage(question);
    return replyOf(worker);
  };
  return {
    get alive() {
      return alive;
    },
    encode: (inputs) => ask({ encode: inputs }),
    run: (parts) => ask({ run: parts }),
    drop: (ids) => worker.postMessage({ drop: ids } satisfies Question),
    async end() {
      // Not terminated: terminating native code would end the whole process.
      worker.postMessage('end' satisfies Question);
      if (alive) await once(worker, 'exit');
    },
  };
}

/** The next reply of a thread. */
function replyOf(worker: Worker): Promise<WorkerReport[]> {
  return new Promise((resolve, reject) => {
    function settle(reply: Reply | Error | number) {
      worker.off('message', settle).off('error', settle).off('exit', settle);
      if (reply instanceof Error) reject(reply);
      else if (typeof reply === 'number') reject(new Error(`the worker thread ended with ${reply}`));
      else if ('failure' in reply) reject(errorOf(reply.failure));
      else resolve(reply.reports);
    }
    worker.on('message', settle).on('error', settle).on('exit', settle);
  });
}

export const errorOf = ({ message, hint, ofUser }: WorkerFailure): Error => (ofUser ? new StepError(message, hint) : new Error(message));

/**
 * The module of a thread, beside this one; from source, as in tests, tsx loads it (its `--import` has no effect in
 * threads).
 */
export function workerModule(name: 'worker' | 'generation-worker', workerData: object): ConstructorParameters<typeof Worker> {
  // Threads share one environment: a library reads the process's, not a thread's copy.
  const options: WorkerOptions = { workerData, env: SHARE_ENV };
  if (!import.meta.url.endsWith('.ts')) return [new URL(`./${name}.js`, import.meta.url), options];
  const tsx = import.meta.resolve('tsx/esm/api');
  const worker = new URL(`./${name}.ts`, import.meta.url).href;
  return [`import('${tsx}').then(({ register }) => { register(); return import('${worker}'); })`, { ...options, eval: true }];
}
