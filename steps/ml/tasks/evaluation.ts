/** Runs a model over a split: all examples in order, with only a few forward passes in memory at a time. */

import type { Json } from '../../../engine/contract/step.ts';
import { type Batch, evaluationBatches, inputsOf, largestBatch } from '../models/batches.ts';
import { isGenerating } from '../models/config.ts';
import type { Example, Split, TokensInfo } from '../models/token-dataset.ts';
import type { HostTensors } from '../runtime/runtime.ts';
import { taskKind } from './registry.ts';
import type { Masking, Measurement, Measuring } from './task.ts';

interface EvaluationOptions extends Omit<Measuring, 'split'> {
  batchSize: number;
  /** For masked-lm: the share of masked tokens, and the size of the vocabulary. */
  masking: Omit<Masking, 'seed' | 'epoch'>;
  signal: AbortSignal;
  progress?: (rows: number) => void;
  /** Receives the prediction for each example, in order. */
  predicted?: (id: string, prediction: Record<string, Json>) => Promise<void> | void;
}

/** Returns the measurement, which has received all examples. */
export async function evaluateSplit(
  run: (inputs: HostTensors) => Promise<HostTensors>,
  split: Split,
  info: TokensInfo,
  { batchSize, masking, signal, progress, predicted, ...measuring }: EvaluationOptions,
): Promise<Measurement> {
  const measurement = taskKind(info.task).measure({ ...measuring, split });
  const examples = split.examples();
  /** Results of the sequences from `first` on. */
  const results: unknown[] = [];
  let first = 0;
  let rows = 0;
  let open: Example | undefined;
  const size = isGenerating(info.task) ? Math.min(batchSize, rowsWithin(split, masking.vocabulary)) : batchSize;
  for (const pool of evaluationBatches(split, size)) {
    const start = first + results.length;
    const poolResults: unknown[] = [];
    for (const batch of pool) {
      signal.throwIfAborted();
      // The masked tokens are always the same, so that metrics do not vary by chance.
      const inputs = taskInputs(split, batch, info, { ...masking, seed: 0, epoch: 0 });
      const { labels, start_positions: _, end_positions: __, ...read } = inputs;
      // The logits of each token over the vocabulary would not fit into memory: the program compares them with the
      // labels itself.
      const outputs = await run(isGenerating(info.task) ? { ...read, labels: labels! } : read);
      for (const [row, sequence] of batch.sequences.entries())
        poolResults[sequence - start] = measurement.read(outputs, row, split.length(sequence), inputs);
    }
    results.push(...poolResults);
    // The last windows of an example may be in the next pool.
    for (;;) {
      open ??= (await examples.next()).value as Example | undefined;
      const count = open?.sequences ?? 1;
      if (!open || results.length < count) break;
      const prediction = measurement.add(open, first, results.splice(0, count));
      await predicted?.(open.id, prediction);
      first += count;
      rows++;
      open = undefined;
    }
    progress?.(rows);
  }
  return measurement;
}

/** The program of a generating task computes logits over the vocabulary for each token, which may take at most 1 GB. */
function rowsWithin(split: Split, vocabulary: number): number {
  const { length, targetLength } = largestBatch(split, 1);
  return Math.max(1, Math.floor(MOST_LOGITS / ((targetLength || length) * vocabulary)));
}

const MOST_LOGITS = 2 ** 28;

/** The inputs that the program of a task needs from a batch. `masking`: for masked-lm. */
export function taskInputs(split: Split, batch: Batch, info: TokensInfo, masking: Masking): HostTensors {
  const inputs = inputsOf(split, batch, info);
  return taskKind(info.task).lossInputs?.(inputs, batch.sequences, info, masking) ?? inputs;
}
