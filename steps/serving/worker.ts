/**
 * A worker thread that predicts: it encodes inputs and keeps them, runs the model on the sequences that the queue
 * selects, and returns the answer to an input once all its sequences were run. Inference blocks its thread.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { EncodedInput } from '../ml/tasks/encoder.ts';
import { type Answer, openAnswer } from './answer.ts';
import type { InputChunk, Numbered, Question, Reply, WorkerData, WorkerFailure, WorkerReport } from './workers.ts';

const port = parentPort!;
const { bundle, threads } = workerData as WorkerData;

/** An input that was encoded but not answered yet. */
interface Held {
  encoded: EncodedInput;
  results: unknown[];
  missing: number;
}

const held = new Map<number, Held>();

try {
  const model = await openAnswer(bundle, threads);
  await model.check();
  port.on('message', async (question: Question) => {
    if (question === 'end') port.close();
    else if ('drop' in question) for (const id of question.drop) held.delete(id);
    else if ('encode' in question) reply({ reports: await Promise.all(question.encode.map((each) => encode(each, model))) });
    else reply({ reports: await run(question.run, model) });
  });
  reply({ reports: [] });
} catch (error) {
  reply({ failure: failureOf(error) });
}

async function encode({ id, input }: Numbered, model: Answer): Promise<WorkerReport> {
  try {
    const encoded = await model.encode(input);
    if (encoded.sequences.length === 0) return { id, prediction: await model.conclude(encoded, []) };
    held.set(id, { encoded, results: [], missing: encoded.sequences.length });
    return { id, lengths: encoded.sequences.map(({ ids }) => ids.length) };
  } catch (error) {
    const failure = failureOf(error);
    return failure.ofUser ? { id, refused: failure } : { id, failed: failure };
  }
}

/**
 * Returns the inputs that are complete. A failed run is repeated one by one, so that the error belongs to the input
 * that caused it.
 */
async function run(parts: InputChunk[], model: Answer): Promise<WorkerReport[]> {
  const present = parts.filter(({ id }) => held.has(id));
  if (present.length === 0) return [];
  try {
    const results = await model.run(present.map(({ id, sequence }) => held.get(id)!.encoded.sequences[sequence]!));
    const reports = await Promise.all(present.map((part, i) => take(part, results[i], model)));
    return reports.filter((report) => report !== undefined);
  } catch (error) {
    if (present.length > 1) {
      const reports: WorkerReport[] = [];
      for (const part of present) reports.push(...(await run([part], model)));
      return reports;
    }
    const { id } = present[0]!;
    held.delete(id);
    return [{ id, failed: failureOf(error) }];
  }
}

async function take({ id, sequence }: InputChunk, result: unknown, model: Answer): Promise<WorkerReport | undefined> {
  const input = held.get(id);
  if (!input) return undefined;
  input.results[sequence] = result;
  if (--input.missing > 0) return undefined;
  held.delete(id);
  try {
    return { id, prediction: await model.conclude(input.encoded, input.results) };
  } catch (error) {
    return { id, failed: failureOf(error) };
  }
}

/** An error loses its class and its hint on the way to another thread. */
function failureOf(error: unknown): WorkerFailure {
  const { name, message, hint } = error as Error & { hint?: string };
  return { message, ofUser: name === 'StepError', ...(hint !== undefined && { hint }) };
}

function reply(message: Reply) {
  port.postMessage(message);
}
