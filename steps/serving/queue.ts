/**
 * Dynamic batching: inputs of requests that come in while all threads are busy are answered together,
 * as soon as a thread is free. A lone request waits for nobody.
 */
import { type Json, StepError } from '../../engine/step.ts';
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
  /** How many inputs it has. */
  count: number;
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
      const outcomes = await workers.answer(batch.map(({ input }) => input));
      for (const [i, { request, place }] of batch.entries()) {
        const outcome = outcomes[i]!;
        if ('refused' in outcome) request.reject(refusal(outcome.refused, place, request.count));
        // What the model fails at is no mistake of who asks.
        else if ('failed' in outcome) request.reject(new Error(outcome.failed.message, { cause: outcome.failed }));
        else request.predictions[place] = outcome.prediction;
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
        const request: Request = { count: inputs.length, predictions: [], missing: inputs.length, signal, resolve, reject };
        waiting = waiting.concat(inputs.map((input, place) => ({ input, request, place })));
        startBatches();
      });
    },
  };
}

/** Which input of a list the model cannot read, and why. */
function refusal({ message }: Error, place: number, count: number): Error {
  return new StepError(count > 1 ? `"inputs[${place}]": ${message}` : message);
}
