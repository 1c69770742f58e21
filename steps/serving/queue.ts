/**
 * Dynamic batching: inputs of requests that come in while all threads are busy are answered together,
 * as soon as a thread is free. A lone request waits for nobody.
 */
import type { Json } from '../../engine/step.ts';
import type { Input } from '../tasks/task.ts';
import type { Workers } from './workers.ts';

/** What one thread takes at once. */
const mostTogether = 64;

export interface Queue {
  /** The inputs that wait; those being answered do not count. */
  readonly length: number;
  /** The predictions, in the order of the inputs. Once `signal` is aborted, what still waits is dropped. */
  answer(inputs: Input[], signal: AbortSignal): Promise<Json[]>;
}

interface Waiting {
  input: Input;
  request: Request;
  /** Its place among the inputs of its request. */
  place: number;
}

interface Request {
  predictions: Json[];
  missing: number;
  signal: AbortSignal;
  resolve(predictions: Json[]): void;
  reject(error: Error): void;
}

export function openQueue(workers: Workers, onBatch: (size: number) => void): Queue {
  let waiting: Waiting[] = [];
  let busy = 0;

  function startBatches() {
    waiting = waiting.filter(({ request }) => !request.signal.aborted);
    while (busy < workers.count && waiting.length > 0) {
      const share = Math.ceil(waiting.length / (workers.count - busy));
      void runBatch(waiting.splice(0, Math.min(mostTogether, share)));
    }
  }

  async function runBatch(batch: Waiting[]) {
    busy++;
    onBatch(batch.length);
    try {
      const predictions = await workers.answer(batch.map(({ input }) => input));
      for (const [i, { request, place }] of batch.entries()) {
        request.predictions[place] = predictions[i]!;
        if (--request.missing === 0) request.resolve(request.predictions);
      }
    } catch (error) {
      for (const { request } of batch) request.reject(error as Error);
    } finally {
      busy--;
      startBatches();
    }
  }

  return {
    get length() {
      return waiting.length;
    },
    answer(inputs, signal) {
      if (inputs.length === 0) return Promise.resolve([]);
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        const request: Request = { predictions: [], missing: inputs.length, signal, resolve, reject };
        waiting = waiting.concat(inputs.map((input, place) => ({ input, request, place })));
        startBatches();
      });
    },
  };
}
