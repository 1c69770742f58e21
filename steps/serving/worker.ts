/** A thread that answers: inputs come in as messages, predictions go back. Inference blocks the thread it runs on. */
import { parentPort, workerData } from 'node:worker_threads';
import { openAnswer } from './answer.ts';
import type { Question, Reply, WorkerData } from './workers.ts';

const port = parentPort!;
const { bundle, threads } = workerData as WorkerData;

try {
  const answer = await openAnswer(bundle, threads);
  port.on('message', async (question: Question) => {
    if (question === 'end') return port.close();
    try {
      reply({ predictions: await answer(question) });
    } catch (error) {
      fail(error);
    }
  });
  reply({ predictions: [] });
} catch (error) {
  fail(error);
}

function fail(error: unknown) {
  // An error loses its class and its hint on the way to another thread.
  const { name, message, hint } = error as Error & { hint?: string };
  reply({ failure: { message, hint, ofUser: name === 'StepError' } });
}

function reply(message: Reply) {
  port.postMessage(message);
}
