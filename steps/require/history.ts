/** The figures of a training, from the history that train writes: those of the evaluation whose weights the model has. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { isMeasurement, readHistory } from '../ml/metrics/tensorboard.ts';
import { readJson } from '../ml/models/json.ts';

/** As a metrics file has them; undefined if the file is not a history. `name`: for messages. */
export async function historyReport(file: string, { model, name }: { model: string; name: string }): Promise<Json | undefined> {
  const lines = await readHistory(file);
  if (!lines) return undefined;
  const evaluations = lines.filter(isMeasurement);
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
  const { step: _, epoch: __, padding: ___, ...values } = kept;
  const metrics = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number.isNaN(value) ? null : value]));
  if (metrics.generalization_gap === undefined) {
    const why =
      metrics.validation_loss === undefined
        ? 'the training has no validation loss'
        : 'options such as class_weights, reweigh, label_smoothing_factor, distill and sampler change only the training loss';
    return { metrics: { ...metrics, generalization_gap: null }, undefined: { generalization_gap: why } };
  }
  return { metrics };
}

/** The optimizer step whose weights a model has; undefined if train did not make it. */
async function keptStep(model: string): Promise<number | undefined> {
  const file = join(model, 'training.json');
  if (!existsSync(file)) return undefined;
  const { kept_step } = await readJson(file);
  return typeof kept_step === 'number' ? kept_step : undefined;
}
