/**
 * The thread that generates, with all cores, so that Node's main thread stays free for HTTP. It handles one request
 * after the other.
 */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { GeneratedText } from '../ml/generation/generator.ts';
import type { GenerationOptions } from '../ml/generation/options.ts';
import { errorOf, type WorkerFailure, workerModule } from './workers.ts';

export interface GenerationRequest {
  prompts: string[];
  options: GenerationOptions;
  /** The maximum number of new tokens, whatever the options and the model's own settings are. */
  limit: number;
  /** Calls back with pieces of the texts as they are generated. */
  stream: boolean;
}

export interface Writer {
  /** The number of unanswered requests. */
  readonly length: number;
  /** Once `signal` is aborted, the work stops with the next token. */
  write(writing: GenerationRequest, signal: AbortSignal, onPiece: (place: number, piece: string) => void): Promise<GeneratedText[]>;
  close(): Promise<void>;
}

/** Messages to the thread. */
export type GenerationMessage = { id: number; writing: GenerationRequest } | { id: number; stop: true } | 'end';

/** Messages from it; the first says that it is ready. */
export type GenerationReply =
  | 'ready'
  | { id: number; place: number; piece: string }
  | { id: number; texts: GeneratedText[] }
  | { id?: number; failure: WorkerFailure };

interface Pending {
  onPiece: (place: number, piece: string) => void;
  resolve: (texts: GeneratedText[]) => void;
  reject: (error: Error) => void;
}

export async function startWriter(folder: string): Promise<Writer> {
  const pending = new Map<number, Pending>();
  let count = 0;
  let worker = await startThread(folder, pending);
  let alive = true;
  worker.on('exit', () => {
    alive = false;
  });
  return {
    get length() {
      return pending.size;
    },
    async write(writing, signal, onPiece) {
      if (!alive) {
        // It died, for example for lack of memory: start a new one.
        worker = await startThread(folder, pending);
        alive = true;
        worker.on('exit', () => {
          alive = false;
        });
      }
      const id = count++;
      let stop = () => {};
      try {
        signal.throwIfAborted();
        return await new Promise<GeneratedText[]>((resolve, reject) => {
          stop = () => {
            worker.postMessage({ id, stop: true } satisfies GenerationMessage);
            reject(signal.reason);
          };
          signal.addEventListener('abort', stop, { once: true });
          pending.set(id, { onPiece, resolve, reject });
          worker.postMessage({ id, writing } satisfies GenerationMessage);
        });
      } finally {
        pending.delete(id);
        signal.removeEventListener('abort', stop);
      }
    },
    async close() {
      if (!alive) return;
      worker.postMessage('end' satisfies GenerationMessage);
      await once(worker, 'exit');
    },
  };
}

async function startThread(folder: string, pending: Map<number, Pending>): Promise<Worker> {
  const worker = new Worker(...workerModule('generation-worker', { folder }));
  const rejectAll = (error: Error) => {
    for (const { reject } of pending.values()) reject(error);
  };
  await new Promise<void>((resolve, reject) => {
    worker.on('message', (report: GenerationReply) => {
      if (report === 'ready') return resolve();
      const request = report.id === undefined ? undefined : pending.get(report.id);
      if ('failure' in report) (request?.reject ?? reject)(errorOf(report.failure));
      else if ('texts' in report) request?.resolve(report.texts);
      else request?.onPiece(report.place, report.piece);
    });
    worker.on('error', (error) => {
      rejectAll(error);
      reject(error);
    });
    worker.on('exit', (code) => {
      const error = new Error(`the generating thread ended with ${code}`);
      rejectAll(error);
      reject(error);
    });
  });
  return worker;
}
