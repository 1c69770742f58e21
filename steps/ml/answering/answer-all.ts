/** Answers many raw inputs, for steps: in runs of sequences with similar lengths, while the next inputs are encoded. */
import { type Json, StepError } from '../../../engine/contract/step.ts';
import type { EncodedInput } from '../tasks/encoder.ts';
import type { Input } from '../tasks/task.ts';
import { type Answer, openAnswer } from './answer.ts';
import { type Bundle, tokensOfRun } from './bundle.ts';

interface AnsweringOptions {
  /** The cores that the model may use. */
  threads: number;
  signal: AbortSignal;
}

/** Yields the answers to each group of inputs, in their order; a StepError for an input that the model cannot read. */
export async function* answerAll(
  bundle: Bundle,
  groups: AsyncIterable<Input[]> | Iterable<Input[]>,
  { threads, signal }: AnsweringOptions,
): AsyncGenerator<(Json | StepError)[]> {
  const answer = await openAnswer(bundle, threads);
  try {
    let before: Encoded | undefined;
    for await (const inputs of groups) {
      const encoding = encodeAll(answer, inputs);
      encoding.catch(() => {}); // awaited below
      if (before) yield await answerGroup(answer, bundle, before, signal);
      before = await encoding;
    }
    if (before) yield await answerGroup(answer, bundle, before, signal);
  } finally {
    await answer.close();
  }
}

/** Inputs in groups that are large enough to consist of sequences with similar lengths. */
export function* inGroups<T>(items: readonly T[], size = 1024): Generator<T[]> {
  for (let i = 0; i < items.length; i += size) yield items.slice(i, i + size);
}

type Encoded = (EncodedInput | StepError)[];

const encodeAll = (answer: Answer, inputs: Input[]): Promise<Encoded> =>
  Promise.all(
    inputs.map((input) =>
      answer.encode(input).catch((error: Error) => {
        if (error instanceof StepError) return error;
        throw error;
      }),
    ),
  );

async function answerGroup(answer: Answer, bundle: Bundle, encoded: Encoded, signal: AbortSignal): Promise<(Json | StepError)[]> {
  const parts = encoded.flatMap((one, place) =>
    one instanceof StepError ? [] : one.sequences.map((sequence, index) => ({ place, index, sequence })),
  );
  parts.sort((a, b) => b.sequence.ids.length - a.sequence.ids.length);
  const results: unknown[][] = encoded.map(() => []);
  const tokens = tokensOfRun(bundle, TOKENS_TOGETHER);
  for (let i = 0; i < parts.length; ) {
    signal.throwIfAborted();
    const run = parts.slice(i, i + Math.max(1, Math.floor(tokens / parts[i]!.sequence.ids.length)));
    const outputs = await answer.run(run.map(({ sequence }) => sequence));
    for (const [k, { place, index }] of run.entries()) results[place]![index] = outputs[k];
    i += run.length;
  }
  return Promise.all(encoded.map((one, place) => (one instanceof StepError ? one : answer.conclude(one, results[place]!))));
}

/** Tokens of one run, including padding: few enough to fit into the processor's caches. */
const TOKENS_TOGETHER = 4096;
