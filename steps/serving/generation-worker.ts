/** A thread that generates: it receives requests as messages, and sends pieces of texts as they are generated. */

import { parentPort, workerData } from 'node:worker_threads';
import { memoryLimit, StepError } from '../../engine/step.ts';
import { openRuntime } from '../ml/device/open.ts';
import { openGenerator } from '../ml/generation/generator.ts';
import type { GenerationMessage, GenerationReply } from './generator-thread.ts';

const port = parentPort!;

type Asked = Extract<GenerationMessage, { writing: unknown }>;

/** The memory limit of one request, besides the weights; requests are handled one after the other. */
const mostBytes = Math.min(512 * 2 ** 20, Math.floor(memoryLimit() / 4));

try {
  const generator = await openGenerator((workerData as { folder: string }).folder, await openRuntime('onnx'), { packed: true });
  // Reports a model that cannot generate before the first request.
  await generator.encode('a', { max_new_tokens: 1 });
  const stops = new Map<number, AbortController>();
  let busy: Promise<void> = Promise.resolve();

  port.on('message', (order: GenerationMessage) => {
    if (order === 'end') {
      for (const stop of stops.values()) stop.abort(new Error('the server is stopping'));
      void busy.then(() => generator.close()).then(() => port.close());
    } else if ('stop' in order) stops.get(order.id)?.abort(new Error('the client has disconnected'));
    else {
      stops.set(order.id, new AbortController());
      // Checked immediately, so that an invalid request does not wait for other texts.
      const encoded = encode(order);
      busy = busy.then(() => encoded).then((prompts) => prompts && write(order, prompts));
    }
  });

  /** Undefined if it was rejected. */
  async function encode({ id, writing: { prompts, options, limit } }: Asked): Promise<number[][] | undefined> {
    try {
      const encoded = await Promise.all(prompts.map((prompt) => generator.encode(prompt, options)));
      const bytes = generator.memory(encoded, options, limit);
      if (bytes > mostBytes)
        throw new StepError(
          `the texts would take up to ${Math.ceil(bytes / 2 ** 20)} MB of memory, but at most ${mostBytes / 2 ** 20} MB are allowed: request fewer or shorter texts`,
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
      // Prompts and options were checked before, so a failure of the model is not the client's fault.
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

function report(message: GenerationReply) {
  port.postMessage(message);
}
