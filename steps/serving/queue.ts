/**
 * Dynamic batching: texts of requests that come in while all threads are busy are classified together,
 * as soon as a thread is free. A lone request waits for nobody.
 */
import type { Prediction } from './classify.ts';
import type { Workers } from './workers.ts';

/** What one thread takes at once. */
const mostTogether = 64;

export interface Queue {
  /** The texts that wait; those being classified do not count. */
  readonly length: number;
  /** The predictions, in the order of the texts. Once `signal` is aborted, what still waits is dropped. */
  classify(texts: string[], signal: AbortSignal): Promise<Prediction[]>;
}

interface Waiting {
  text: string;
  request: Request;
  /** Its place among the texts of its request. */
  place: number;
}

interface Request {
  predictions: Prediction[];
  missing: number;
  signal: AbortSignal;
  resolve(predictions: Prediction[]): void;
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
      const predictions = await workers.classify(batch.map(({ text }) => text));
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
    classify(texts, signal) {
      if (texts.length === 0) return Promise.resolve([]);
      return new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        const request: Request = { predictions: [], missing: texts.length, signal, resolve, reject };
        waiting = waiting.concat(texts.map((text, place) => ({ text, request, place })));
        startBatches();
      });
    },
  };
}
