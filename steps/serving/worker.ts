/** A thread that answers: inputs come in as messages, their outcomes go back. Inference blocks the thread that it runs on. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Input } from '../tasks/task.ts';
import { type Answer, type Encoded, openAnswer } from './answer.ts';
import type { Failure, Question, Reply, Reported, WorkerData } from './workers.ts';

const port = parentPort!;
const { bundle, threads } = workerData as WorkerData;

try {
  const model = await openAnswer(bundle, threads);
  port.on('message', async (question: Question) => {
    if (question === 'end') return port.close();
    reply({ outcomes: await outcomesOf(question, model) });
  });
  reply({ outcomes: [] });
} catch (error) {
  reply({ failure: failureOf(error) });
}

/** An input that is refused has its own error; those that are left share a batch. */
async function outcomesOf(inputs: Input[], model: Answer): Promise<Reported[]> {
  const outcomes: Reported[] = [];
  const encoded: Encoded[] = [];
  const places: number[] = [];
  await Promise.all(
    inputs.map(async (input, i) => {
      try {
        encoded.push(await model.encode(input));
        places.push(i);
      } catch (error) {
        const failure = failureOf(error);
        outcomes[i] = failure.ofUser ? { refused: failure } : { failed: failure };
      }
    }),
  );
  for (const [k, outcome] of (await answered(encoded, model)).entries()) outcomes[places[k]!] = outcome;
  return outcomes;
}

/** A batch that fails is run again one by one, so that the error goes to the input that caused it. */
async function answered(encoded: Encoded[], model: Answer): Promise<Reported[]> {
  try {
    return (await model.answer(encoded)).map((prediction) => ({ prediction }));
  } catch (error) {
    if (encoded.length === 1) return [{ failed: failureOf(error) }];
    const outcomes: Reported[] = [];
    for (const each of encoded) outcomes.push(...(await answered([each], model)));
    return outcomes;
  }
}

/** An error loses its class and its hint on the way to another thread. */
function failureOf(error: unknown): Failure {
  const { name, message, hint } = error as Error & { hint?: string };
  return { message, ofUser: name === 'StepError', ...(hint !== undefined && { hint }) };
}

function reply(message: Reply) {
  port.postMessage(message);
}
