/**
 * Threads with a model: this side calls one, the other (`answerCalls`) answers. The main thread stays free for reading, writing
 * and HTTP.
 */

import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { parentPort, SHARE_ENV, Worker, type WorkerOptions, workerData } from 'node:worker_threads';
import { type Json, StepError } from '../../engine/contract/step.ts';
import type { Bundle } from '../ml/answering/bundle.ts';
import type { PipelineParameters } from '../ml/answering/pipeline-answer.ts';
import type { TokenDetails } from '../ml/generation/generator.ts';
import type { Input } from '../ml/tasks/task.ts';

export interface ModelWorker {
  readonly thread: Thread;
  /** Starts another thread to replace one that died. */
  start(): Promise<Thread>;
}

/** It does one thing at a time: ONNX Runtime computes in the thread that calls it. Its promises reject only if the thread dies, for example for lack of memory. */
export interface Thread {
  readonly alive: boolean;
  /** Keeps each input until it is answered or dropped. */
  encode(inputs: Numbered[]): Promise<WorkerReport[]>;
  /** One run of the model. Returns the inputs that are complete with it. */
  run(parts: InputChunk[]): Promise<WorkerReport[]>;
  /** Encodes an input. If it has one sequence, runs the model on it and returns the answer. */
  answer(input: Numbered): Promise<WorkerReport>;
  drop(ids: number[]): void;
  end(): Promise<void>;
}

export interface Numbered {
  id: number;
  input: Input;
  /** Asks for the answer of transformers' pipeline. */
  pipeline?: PipelineParameters | undefined;
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
  /** Cores for the matrix products. */
  threads: number;
}

export type PredictionRequest = { encode: Numbered[] } | { run: InputChunk[] } | { answer: Numbered } | { drop: number[] };

/** Starts the thread that predicts, with all cores: so a single request is answered fast, and the weights are in memory once. */
export async function startWorkers(bundle: Bundle, threads = availableParallelism()): Promise<ModelWorker> {
  const start = () => startThread({ bundle, threads });
  return { thread: await start(), start };
}

async function startThread(data: PredictionData): Promise<Thread> {
  const thread = await ModelThread.start('worker', data);
  const ask = <R = WorkerReport[]>(request: PredictionRequest) => thread.call<R>(request);
  return {
    get alive() {
      return thread.alive;
    },
    encode: (inputs) => ask({ encode: inputs }),
    run: (parts) => ask({ run: parts }),
    answer: (input) => ask<WorkerReport>({ answer: input }),
    drop: (ids) => void ask({ drop: ids }).catch(() => {}), // a dead thread has dropped all
    end: () => thread.end(),
  };
}

/** Calls a thread. Its calls reject with the error of the other side, and if the thread dies, for example for lack of memory. */
export class ModelThread {
  alive = true;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;

  private constructor(
    private readonly worker: Worker,
    name: ThreadName,
  ) {
    worker.on('message', (reply: Reply) => this.#receive(reply));
    worker.on('error', (error) => this.#die(error));
    worker.on('exit', (code) => this.#die(new Error(`the ${name} thread ended with ${code}`)));
  }

  /** Resolves when the thread is ready, which is its reply to the call 0. */
  static async start(name: ThreadName, data: object): Promise<ModelThread> {
    const thread = new ModelThread(new Worker(...entry(name, data)), name);
    await thread.#reply();
    thread.#pending.clear();
    return thread;
  }

  /** The number of unanswered calls. */
  get length(): number {
    return this.#pending.size;
  }

  /** Once `signal` is aborted, the call rejects with its reason, and the other side stops working on it. */
  async call<R>(request: object, { signal, onPiece }: { signal?: AbortSignal; onPiece?: OnPiece } = {}): Promise<R> {
    signal?.throwIfAborted();
    const id = this.#nextId;
    const result = this.#reply(onPiece);
    this.#send({ id, request });
    const stop = () => {
      this.#send({ id, stop: true });
      this.#pending.get(id)?.reject(signal!.reason);
    };
    signal?.addEventListener('abort', stop, { once: true });
    try {
      return (await result) as R;
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#pending.delete(id);
    }
  }

  /** Not terminated: terminating native code would end the whole process. */
  async end(): Promise<void> {
    this.#send('end');
    if (this.alive) await once(this.worker, 'exit');
  }

  #reply(onPiece?: OnPiece): Promise<unknown> {
    return new Promise((resolve, reject) => this.#pending.set(this.#nextId++, { resolve, reject, onPiece }));
  }

  #send(message: Message): void {
    this.worker.postMessage(message);
  }

  #receive(reply: Reply): void {
    const call = this.#pending.get(reply.id);
    if ('failure' in reply) call?.reject(errorOf(reply.failure));
    else if ('piece' in reply) call?.onPiece?.(...reply.piece);
    else call?.resolve(reply.result);
  }

  #die(error: Error): void {
    this.alive = false;
    for (const { reject } of this.#pending.values()) reject(error);
  }
}

/** What a thread does, besides starting. */
export interface ThreadWork<Request> {
  answer(request: Request, at: { signal: AbortSignal; onPiece: OnPiece }): Promise<unknown>;
  end?(): Promise<void>;
}

/** Answers the calls of the other side with what `open` makes of the thread's data. */
export async function answerCalls<Data, Request>(open: (data: Data) => Promise<ThreadWork<Request>>): Promise<void> {
  const reply = (message: Reply) => parentPort!.postMessage(message);
  const stops = new Map<number, AbortController>();
  const settle = (id: number, work: Promise<unknown>) =>
    work.then(
      (result) => reply({ id, result }),
      (error) => reply({ id, failure: failureOf(error) }),
    );
  const ready = open(workerData).then(({ answer, end }) => {
    parentPort!.on('message', async (message: Message) => {
      if (message === 'end') {
        for (const stop of stops.values()) stop.abort(new Error('the server is stopping'));
        await end?.();
        parentPort!.close();
      } else if ('stop' in message) stops.get(message.id)?.abort(new Error('the client has disconnected'));
      else {
        const { id, request } = message;
        const stop = new AbortController();
        stops.set(id, stop);
        await settle(id, answer(request as Request, { signal: stop.signal, onPiece: (...piece) => reply({ id, piece }) }));
        stops.delete(id);
      }
    });
  });
  await settle(0, ready);
}

/** What comes before the result, in parts: the index of a text, and a piece of it. */
type OnPiece = (place: number, piece: string, token?: TokenDetails) => void;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
  onPiece: OnPiece | undefined;
}

type Message = { id: number; request: object } | { id: number; stop: true } | 'end';

type Reply = { id: number } & ({ result: unknown } | { failure: WorkerFailure } | { piece: Parameters<OnPiece> });

/** An error on its way to another thread, where it would lose its class and its hint. */
export interface WorkerFailure {
  message: string;
  hint?: string;
  /** It is a StepError. */
  ofUser: boolean;
}

export function failureOf(error: unknown): WorkerFailure {
  const { name, message, hint } = error as Error & { hint?: string };
  return { message, ofUser: name === 'StepError', ...(hint !== undefined && { hint }) };
}

export const errorOf = ({ message, hint, ofUser }: WorkerFailure): Error => (ofUser ? new StepError(message, hint) : new Error(message));

/** The modules of the threads, whose `work` answers the calls. */
const MODULES = { worker: 'prediction-thread', generating: 'generation-thread' };
type ThreadName = keyof typeof MODULES;

/** From source, as in tests, tsx loads a module (its `--import` has no effect in threads). */
function entry(name: ThreadName, workerData: object): [code: string, WorkerOptions] {
  const source = import.meta.url.endsWith('.ts');
  const module = new URL(`./${MODULES[name]}.${source ? 'ts' : 'js'}`, import.meta.url);
  const work = `import('${module}').then(({ work }) => work())`;
  const code = source ? `import('${import.meta.resolve('tsx/esm/api')}').then(({ register }) => { register(); return ${work}; })` : work;
  // Threads share one environment: a library reads the process's, not a thread's copy.
  return [code, { workerData, env: SHARE_ENV, eval: true }];
}
