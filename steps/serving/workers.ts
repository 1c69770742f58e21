/** The threads that predict, each with the bundle open. */
import { availableParallelism } from 'node:os';
import { type Json, memoryLimit } from '../../engine/step.ts';
import type { Input } from '../ml/tasks/task.ts';
import type { Bundle } from './bundle.ts';
import { ModelThread, type WorkerFailure } from './thread.ts';

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

/** What a thread is started with. */
export interface PredictionData {
  bundle: Bundle;
  /** Cores for one thread's matrix products. */
  threads: number;
}

export type PredictionRequest = { encode: Numbered[] } | { run: InputChunk[] } | { drop: number[] };

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
  const data: PredictionData = { bundle, threads: Math.max(1, Math.floor(cores / count)) };
  return { threads: await startThreads(count, data), start: () => startThread(data) };
}

/** Starts all of them or none. */
async function startThreads(count: number, data: PredictionData): Promise<Thread[]> {
  const started = await Promise.allSettled(Array.from({ length: count }, () => startThread(data)));
  const threads = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = started.find((one) => one.status === 'rejected');
  if (!failed) return threads;
  await Promise.all(threads.map((thread) => thread.end()));
  throw failed.reason;
}

async function startThread(data: PredictionData): Promise<Thread> {
  const thread = await ModelThread.start('worker', data);
  const ask = (request: PredictionRequest) => thread.call<WorkerReport[]>(request);
  return {
    get alive() {
      return thread.alive;
    },
    encode: (inputs) => ask({ encode: inputs }),
    run: (parts) => ask({ run: parts }),
    drop: (ids) => void ask({ drop: ids }).catch(() => {}), // a thread that died has dropped all
    end: () => thread.end(),
  };
}
