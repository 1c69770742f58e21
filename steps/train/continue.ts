/**
 * Continues a finished training with more epochs or steps, from a model folder that was saved with `save_optimizer`:
 * it has optimizer.safetensors beside its weights, and its progress in training.json.
 */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { labelsOf } from '../ml/models/config.ts';
import { readJson, shown } from '../ml/models/json.ts';
import { type Model, readConfig } from '../ml/models/model-folder.ts';
import { int64, readSafetensors, toInt64, writeSafetensors } from '../ml/models/safetensors.ts';
import type { Training } from '../ml/runtime/runtime.ts';
import { misfit, type Progress, slotsOfTensors, tensorsOfSlots, weightsOfTensors } from './checkpoints.ts';
import type { Extent } from './schedule.ts';

export interface Continued {
  /** Sets a training that has just begun to the state in which the other one ended. */
  restore(training: Training, log: (message: string) => void): Progress;
}

/** Loads the folder's weights into `model`. */
export async function continueFrom(folder: string, model: Model, extent: Extent): Promise<Continued> {
  const file = path.join(folder, OPTIMIZER);
  if (!existsSync(file))
    throw new StepError(`${shown(folder)} has no ${OPTIMIZER}`, 'Train it with `save_optimizer: true`, or give it as `model`.');
  const done = trainedFor(folder, await readJson(path.join(folder, 'training.json')));
  const progress = placeOf(done, extent, folder);
  const labels = labelsOf(await readConfig(folder));
  if (model.labels.length > 0 && labels?.join('\n') !== model.labels.join('\n'))
    throw new StepError(
      `${shown(folder)} was trained for other labels than the tokens have, or for the same labels in another order`,
      'Give it as `model` instead: its head is then fitted to the labels, and training starts at epoch 1.',
    );
  const weights = weightsOfTensors(await readSafetensors(path.join(folder, 'model.safetensors')));
  const { [STEP]: step, ...slots } = await readSafetensors(file);
  const state = { step: step ? Number(toInt64(step)[0]) : 0, slots: slotsOfTensors(slots) };
  // Frozen weights are restored only here. `misfit` reports those that do not fit.
  for (const [name, { shape }] of Object.entries(model.weights))
    if (weights[name]?.shape.join() === shape.join()) model.weights[name] = weights[name];
  return {
    restore(training, log) {
      const wrong = step ? misfit(training, weights, state.slots) : `there is no tensor ${STEP}`;
      if (wrong)
        throw new StepError(
          `${shown(folder)} does not fit this training: ${wrong}`,
          'Use the `model` and the options that it was trained with.',
        );
      training.restore(weights, state);
      const { step: steps, within, epoch } = progress;
      const { total, byEpochs, epochs } = extent;
      log(
        `continues after ${within > 0 ? `step ${steps}, in epoch ${epoch + 1},` : `epoch ${epoch}`} of ${shown(folder)}, with the learning rate schedule of ${byEpochs ? `${epochs} epochs, ` : ''}${total} steps`,
      );
      return progress;
    },
  };
}

/** The progress of the finished training. Folders from before `max_steps` count only whole epochs. */
interface Done {
  epochs: number;
  steps?: number;
  perEpoch?: number;
}

function trainedFor(folder: string, { epochs, steps, steps_per_epoch: perEpoch }: Record<string, unknown>): Done {
  if (isCount(steps) && isCount(perEpoch) && steps % perEpoch > 0) return { epochs: Number(epochs), steps, perEpoch };
  if (!isCount(epochs)) throw new StepError(`training.json of ${shown(folder)} does not say for how many epochs the model was trained`);
  return { epochs };
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;

/** Where the training continues. Whole epochs can be continued with another batch size, part of an epoch cannot. */
function placeOf(done: Done, { perEpoch, total, epochs, byEpochs }: Extent, folder: string): Progress {
  const step = done.steps ?? done.epochs * perEpoch;
  if (done.perEpoch !== undefined && done.perEpoch !== perEpoch)
    throw new StepError(
      `${shown(folder)} was trained for ${done.steps} steps and ended within an epoch of ${done.perEpoch} steps; here an epoch has ${perEpoch}`,
      'Use the same tokens, batch_size and gradient_accumulation_steps.',
      ['continue'],
    );
  if (step >= total)
    throw new StepError(
      byEpochs
        ? `${shown(folder)} was already trained for ${done.epochs} epochs, and epochs is ${epochs}`
        : `${shown(folder)} was already trained for ${step} steps, and max_steps is ${total}`,
      `\`${byEpochs ? 'epochs' : 'max_steps'}\` includes those that are done already.`,
      [byEpochs ? 'epochs' : 'max_steps'],
    );
  const epoch = Math.floor(step / perEpoch);
  return { step, epoch, within: step - epoch * perEpoch };
}

export async function saveOptimizer(folder: string, training: Training): Promise<void> {
  const { step, slots } = training.optimizerState();
  const tensors = { ...tensorsOfSlots(slots), [STEP]: int64(BigInt64Array.of(BigInt(step)), []) };
  await writeSafetensors(path.join(folder, OPTIMIZER), tensors, { format: 'pt' });
}

const OPTIMIZER = 'optimizer.safetensors';

/**
 * The tensor that counts the optimizer's steps. The names of slots contain a slash, so they cannot collide with it.
 */
const STEP = 'step';
