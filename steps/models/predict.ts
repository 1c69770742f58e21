/** A model over the rows of a split: probabilities, from forward passes of which only one is in memory at a time. */
import type { HostTensors } from '../runtime/runtime.ts';
import { evaluationBatches, inputsOf } from './batches.ts';
import type { Split } from './tokens.ts';

/** In the order of the split. */
export interface Predictions {
  /** How many labels there are. */
  classes: number;
  truth: Int32Array;
  /** The label of the highest probability; the first of equals. */
  predicted: Int32Array;
  /** The probabilities of each row. */
  scores: Float64Array[];
  /** The mean of −log of the probability that the true label got. */
  loss: number;
}

export interface PredictOptions {
  classes: number;
  batchSize: number;
  /** The id of the padding token. */
  padding: number;
  signal: AbortSignal;
  progress?: (rows: number) => void;
}

export async function predictSplit(
  run: (inputs: HostTensors) => Promise<HostTensors>,
  split: Split,
  { classes, batchSize, padding, signal, progress }: PredictOptions,
): Promise<Predictions> {
  const scores: Float64Array[] = new Array(split.labels.length);
  let loss = 0;
  let done = 0;
  for (const batch of evaluationBatches(split, batchSize)) {
    signal.throwIfAborted();
    const { labels, ...inputs } = inputsOf(split, batch, padding);
    const logits = (await run(inputs)).logits!.data as Float32Array;
    for (const [i, row] of batch.rows.entries()) {
      const logs = logSoftmax(logits.subarray(i * classes, (i + 1) * classes));
      scores[row] = logs.map(Math.exp);
      loss -= logs[labels!.data[i]!]!;
    }
    done += batch.rows.length;
    progress?.(done);
  }
  return {
    classes,
    truth: split.labels,
    predicted: Int32Array.from(scores, (row) => row.indexOf(Math.max(...row))),
    scores,
    loss: loss / split.labels.length,
  };
}

function logSoftmax(logits: Float32Array): Float64Array {
  const highest = Math.max(...logits);
  const logSum = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - highest), 0));
  return Float64Array.from(logits, (x) => x - highest - logSum);
}
