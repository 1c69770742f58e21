/** The threads that answer, one bundle open in each. Node's own thread stays free for reading, writing and HTTP. */
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { SHARE_ENV, Worker, type WorkerOptions } from 'node:worker_threads';
import type { Json } from '../../engine/step.ts';
import { StepError } from '../../engine/step.ts';
import type { Input } from '../tasks/task.ts';
import type { Bundle } from './bundle.ts';

export interface Workers {
  readonly count: number;
  /** On a thread that is free, or on the next one that will be. One outcome for each input, in their order. */
  answer(inputs: Input[]): Promise<Outcome[]>;
  close(): Promise<void>;
}

/** `refused`: the model cannot read this input. `failed`: the model or the thread failed at it. */
export type Outcome = { prediction: Json } | { refused: Error } | { failed: Error };

/** What a thread is started with. */
export interface WorkerData {
  bundle: Bundle;
  /** Cores of one thread's matrix products. */
  threads: number;
}

/** Inputs; or that there will be no more. */
export type Question = Input[] | 'end';

/** The first reply says that the thread is ready, or that it cannot be. */
export type Reply = { outcomes: Reported[] } | { failure: Failure };

/** An outcome on its way from a thread. */
export type Reported = { prediction: Json } | { refused: Failure } | { failed: Failure };

export interface Failure {
  message: string;
  hint?: string;
  /** A StepError. */
  ofUser: boolean;
}

/** Every thread holds the weights: more than this in all is not worth it, and the cores share fewer threads. */
const mostWeightBytes = 1 << 30;

export async function startWorkers(bundle: Bundle, cores = availableParallelism()): Promise<Workers> {
  const count = Math.max(1, Math.min(cores, Math.floor(mostWeightBytes / bundle.modelBytes)));
  const data: WorkerData = { bundle, threads: Math.max(1, Math.floor(cores / count)) };
  const idle = await startThreads(count, data);
  const all = new Set(idle);
  let closed = false;
  const waiting: { resolve: (thread: Thread) => void; reject: (error: Error) => void }[] = [];

  function release(thread: Thread) {
    const next = waiting.shift();
    if (next) next.resolve(thread);
    else idle.push(thread);
  }

  /** A thread died, say of memory, and took one question with it: a new one answers the next. */
  function replace(dead: Thread) {
    all.delete(dead);
    startThread(data).then(
      (fresh) => {
        all.add(fresh);
        release(fresh);
        if (closed) void fresh.end();
      },
      (error) => {
        if (all.size === 0) for (const { reject } of waiting.splice(0)) reject(error);
      },
    );
  }

  async function answer(inputs: Input[]): Promise<Outcome[]> {
    const thread = idle.pop() ?? (await new Promise<Thread>((resolve, reject) => waiting.push({ resolve, reject })));
    try {
      return await thread.ask(inputs);
    } catch (error) {
      if (inputs.length === 1) return [{ failed: error as Error }];
    } finally {
      if (thread.alive) release(thread);
      else if (!closed) replace(thread);
    }
    // One of them ended the thread: each by itself, so that the others get their answers.
    return (await Promise.all(inputs.map((input) => answer([input])))).flat();
  }

  return {
    count,
    answer,
    async close() {
      closed = true;
      for (const { reject } of waiting.splice(0)) reject(new Error('the threads that answer were closed'));
      await Promise.all([...all].map((thread) => thread.end()));
    },
  };
}

interface Thread {
  alive: boolean;
  ask(inputs: Input[]): Promise<Outcome[]>;
  end(): Promise<void>;
}

/** All of them or none. */
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
  const thread: Thread = {
    alive: true,
    ask(inputs) {
      worker.postMessage(inputs);
      return replyOf(worker);
    },
    async end() {
      // Not terminated: what is inside native code takes the whole process with it.
      worker.postMessage('end' satisfies Question);
      if (thread.alive) await once(worker, 'exit');
    },
  };
  const died = () => {
    thread.alive = false;
  };
  worker.on('error', died).on('exit', died); // replyOf reports it
  await replyOf(worker);
  return thread;
}

/** The next reply of a thread: it works on one question at a time. */
function replyOf(worker: Worker): Promise<Outcome[]> {
  return new Promise((resolve, reject) => {
    function settle(reply: Reply | Error | number) {
      worker.off('message', settle).off('error', settle).off('exit', settle);
      if (reply instanceof Error) reject(reply);
      else if (typeof reply === 'number') reject(new Error(`the answering thread ended with ${reply}`));
      else if ('failure' in reply) reject(errorOf(reply.failure));
      else resolve(reply.outcomes.map(outcomeOf));
    }
    worker.on('message', settle).on('error', settle).on('exit', settle);
  });
}

function outcomeOf(reported: Reported): Outcome {
  if ('refused' in reported) return { refused: errorOf(reported.refused) };
  return 'failed' in reported ? { failed: errorOf(reported.failed) } : reported;
}

export const errorOf = ({ message, hint, ofUser }: Failure): Error => (ofUser ? new StepError(message, hint) : new Error(message));

/** A thread's module beside this one; from source, where tests run, tsx reads it (its `--import` does nothing for a thread). */
export function workerModule(name: 'worker' | 'writing-worker', workerData: object): ConstructorParameters<typeof Worker> {
  // One environment: a library reads the process's own, not a thread's copy.
  const options: WorkerOptions = { workerData, env: SHARE_ENV };
  if (!import.meta.url.endsWith('.ts')) return [new URL(`./${name}.js`, import.meta.url), options];
  const tsx = import.meta.resolve('tsx/esm/api');
  const worker = new URL(`./${name}.ts`, import.meta.url).href;
  return [`import('${tsx}').then(({ register }) => { register(); return import('${worker}'); })`, { ...options, eval: true }];
}
