/** A thread that classifies: texts come in as messages, predictions go back. Inference blocks the thread it runs on. */
import { parentPort, workerData } from 'node:worker_threads';
import { openClassifier } from './classify.ts';
import type { Answer, Question, WorkerData } from './workers.ts';

const port = parentPort!;
const { bundle, threads } = workerData as WorkerData;

try {
  const classify = await openClassifier(bundle, threads);
  port.on('message', async (question: Question) => {
    if (question === 'end') return port.close();
    try {
      answer({ predictions: await classify(question) });
    } catch (error) {
      fail(error);
    }
  });
  answer({ predictions: [] });
} catch (error) {
  fail(error);
}

function fail(error: unknown) {
  // An error loses its class and its hint on the way to another thread.
  const { name, message, hint } = error as Error & { hint?: string };
  answer({ failure: { message, hint, ofUser: name === 'StepError' } });
}

function answer(message: Answer) {
  port.postMessage(message);
}
