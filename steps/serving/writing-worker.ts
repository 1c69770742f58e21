/** A thread that generates: orders come in as messages, pieces of texts go back as they come. */
import { parentPort, workerData } from 'node:worker_threads';
import { openGenerator } from '../generation/generator.ts';
import { openRuntime } from '../runtime/open.ts';
import type { Order, Report } from './writer.ts';

const port = parentPort!;

try {
  const generator = await openGenerator((workerData as { folder: string }).folder, await openRuntime('onnx'), { packed: true });
  // What no prompt can be written from is found before the first request.
  await generator.encode('a', {});
  const stops = new Map<number, AbortController>();
  let busy: Promise<void> = Promise.resolve();

  port.on('message', (order: Order) => {
    if (order === 'end') {
      for (const stop of stops.values()) stop.abort(new Error('the server ends'));
      void busy.then(() => generator.close()).then(() => port.close());
    } else if ('stop' in order) stops.get(order.id)?.abort(new Error('the client is gone'));
    else {
      stops.set(order.id, new AbortController());
      busy = busy.then(() => write(order));
    }
  });

  async function write({ id, writing: { prompts, options, stream, limit } }: Extract<Order, { writing: unknown }>): Promise<void> {
    const { signal } = stops.get(id)!;
    try {
      signal.throwIfAborted();
      const encoded = await Promise.all(prompts.map((prompt) => generator.encode(prompt, options)));
      const onText = (place: number, piece: string) => report({ id, place, piece });
      report({ id, texts: await generator.generate(encoded, options, { signal, limit, ...(stream && { onText }) }) });
    } catch (error) {
      fail(error, id);
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
