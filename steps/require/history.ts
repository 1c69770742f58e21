/** The figures of a training, from the history that train writes: those of the evaluation whose weights the model has. */

import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { readJson } from '../ml/models/json.ts';

type Line = Record<string, number | null>;

/** As a metrics file has them; undefined if the file is not a history. `name`: for messages. */
export async function historyReport(file: string, { model, name }: { model: string; name: string }): Promise<Json | undefined> {
  const lines = linesIn(await readFile(file, 'utf8'));
  if (!lines) return undefined;
  const evaluations = lines.filter((line) => Object.hasOwn(line, 'train_loss'));
  const step = await keptStep(model);
  const kept = step === undefined ? evaluations.at(-1) : evaluations.find((line) => line.step === step);
  if (!kept)
    throw new StepError(
      step === undefined
        ? `${name} has no evaluation`
        : `${name} has no evaluation at step ${step}, at which the weights of the model were saved`,
      'Give `metrics` the `history` of the train step that made the model.',
      ['metrics'],
    );
  const { step: _, epoch: __, padding: ___, ...metrics } = kept;
  if (metrics.generalization_gap === undefined) {
    const why =
      metrics.validation_loss === undefined
        ? 'the training has no validation loss'
        : 'options such as class_weights, reweigh, label_smoothing_factor, distill and sampler change only the training loss';
    return { metrics: { ...metrics, generalization_gap: null }, undefined: { generalization_gap: why } };
  }
  return { metrics };
}

/** Undefined for a file of another kind. A history has an object in each line, with its step and epoch. */
function linesIn(text: string): Line[] | undefined {
  try {
    const lines = text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Line);
    return lines.length > 0 && lines.every((line) => typeof line?.step === 'number' && typeof line.epoch === 'number') ? lines : undefined;
  } catch {
    return undefined;
  }
}

/** The optimizer step whose weights a model has; undefined if train did not make it. */
async function keptStep(model: string): Promise<number | undefined> {
  const file = join(model, 'training.json');
  if (!existsSync(file)) return undefined;
  const { kept_step } = await readJson(file);
  return typeof kept_step === 'number' ? kept_step : undefined;
}
