/** A thread that generates: orders come in as messages, pieces of texts go back as they come. */
import { parentPort, workerData } from 'node:worker_threads';
import { memoryLimit, StepError } from '../../engine/step.ts';
import { openGenerator } from '../generation/generator.ts';
import { openRuntime } from '../runtime/open.ts';
import type { Order, Report } from './writer.ts';

const port = parentPort!;

type Asked = Extract<Order, { writing: unknown }>;

/** Beside the weights, of one request: they are answered one after the other. */
const mostBytes = Math.min(512 * 2 ** 20, Math.floor(memoryLimit() / 4));

try {
  const generator = await openGenerator((workerData as { folder: string }).folder, await openRuntime('onnx'), { packed: true });
  // What no prompt can be written from is found before the first request.
  await generator.encode('a', { max_new_tokens: 1 });
  const stops = new Map<number, AbortController>();
  let busy: Promise<void> = Promise.resolve();

  port.on('message', (order: Order) => {
    if (order === 'end') {
      for (const stop of stops.values()) stop.abort(new Error('the server ends'));
      void busy.then(() => generator.close()).then(() => port.close());
    } else if ('stop' in order) stops.get(order.id)?.abort(new Error('the client is gone'));
    else {
      stops.set(order.id, new AbortController());
      // Checked at once: who made a mistake does not wait for the texts of others.
      const encoded = encode(order);
      busy = busy.then(() => encoded).then((prompts) => prompts && write(order, prompts));
    }
  });

  /** Undefined where it was refused. */
  async function encode({ id, writing: { prompts, options, limit } }: Asked): Promise<number[][] | undefined> {
    try {
      const encoded = await Promise.all(prompts.map((prompt) => generator.encode(prompt, options)));
      const bytes = generator.memory(encoded, options, limit);
      if (bytes > mostBytes)
        throw new StepError(
          `the texts would take ${Math.ceil(bytes / 2 ** 20)} MB of memory at their longest; at most ${mostBytes / 2 ** 20}: ask for fewer or shorter ones`,
        );
      return encoded;
    } catch (error) {
      fail(error, id);
      stops.delete(id);
      return undefined;
    }
  }

  async function write({ id, writing: { options, stream, limit } }: Asked, prompts: number[][]): Promise<void> {
    const { signal } = stops.get(id)!;
    try {
      signal.throwIfAborted();
      const onText = (place: number, piece: string) => report({ id, place, piece });
      report({ id, texts: await generator.generate(prompts, options, { signal, limit, ...(stream && { onText }) }) });
    } catch (error) {
      // Prompts and options were checked before: what the model fails at is no mistake of the client.
      fail(new Error((error as Error).message), id);
    } finally {
      stops.delete(id);
    }
  }
  report('ready');
} catch (error) {
  fail(error);
}

function fail(error: unknown, id?: number) {
  // An error loses its class and its hint on the way to another thread.
  const { name, message, hint } = error as Error & { hint?: string };
  const failure = { message, ofUser: name === 'StepError', ...(hint !== undefined && { hint }) };
  report(id === undefined ? { failure } : { id, failure });
}

function report(message: Report) {
  port.postMessage(message);
}
