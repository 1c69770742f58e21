/** The logits of a model for every example of a split. */

import { StepError } from '../../engine/contract/step.ts';
import { evaluationBatches, inputsOf } from '../ml/models/batches.ts';
import type { Model } from '../ml/models/model-folder.ts';
import type { Split, TokensInfo } from '../ml/models/token-dataset.ts';
import type { Runtime } from '../ml/runtime/runtime.ts';
import type { Scored } from './temperature.ts';

interface Reading {
  batchSize: number;
  /** The labels of the tokens, as indices of the model's. */
  labelIds: Int32Array;
  signal: AbortSignal;
  progress: (rows: number) => void;
}

export async function readLogits(
  runtime: Runtime,
  model: Model,
  split: Split,
  info: TokensInfo,
  { batchSize, labelIds, signal, progress }: Reading,
): Promise<Scored> {
  const width = model.labels.length;
  const logits = new Float32Array(split.rows * width);
  const inference = runtime.inference(model.program, model.weights, model.axes);
  let rows = 0;
  try {
    for (const batch of evaluationBatches(split, batchSize).flat()) {
      signal.throwIfAborted();
      const { labels: _, ...inputs } = inputsOf(split, batch, info);
      const { data } = (await inference.run(inputs)).logits!;
      for (const [row, sequence] of batch.sequences.entries())
        logits.set((data as Float32Array).subarray(row * width, (row + 1) * width), sequence * width);
      rows += batch.sequences.length;
      progress(rows);
    }
  } finally {
    await inference.dispose();
  }
  if (!logits.every(Number.isFinite))
    throw new StepError(
      'the model outputs scores that are not finite numbers',
      'Its training diverged: train it again with a lower learning_rate.',
    );
  const independent = model.problem === 'multi_label_classification';
  return { logits, width, truth: independent ? flagsOf(split, width, labelIds) : labelsOf(split, labelIds), independent };
}

const labelsOf = (split: Split, labelIds: Int32Array): Int32Array =>
  Int32Array.from({ length: split.rows }, (_, row) => labelIds[split.values('labels', row)![0]!]!);

function flagsOf(split: Split, width: number, labelIds: Int32Array): Uint8Array {
  const flags = new Uint8Array(split.rows * width);
  for (let row = 0; row < split.rows; row++)
    for (const [k, flag] of split.values('labels', row)!.entries()) if (flag === 1) flags[row * width + labelIds[k]!] = 1;
  return flags;
}
