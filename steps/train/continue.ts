/**
 * More epochs for a training that has ended: from a model folder that was saved with `save_optimizer`, which holds
 * optimizer.safetensors beside its weights, and in training.json how far it came.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type Model, readConfig } from '../models/checkpoint.ts';
import { readJson, shown } from '../models/json.ts';
import { int64, readSafetensors, toInt64, writeSafetensors } from '../models/safetensors.ts';
import { labelsOf } from '../models/trained-for.ts';
import type { Training } from '../runtime/runtime.ts';
import type { Progress } from './checkpoints.ts';
import { misfit, slotsOfTensors, tensorsOfSlots, weightsOfTensors } from './optimizer-state.ts';

export interface Continued {
  /** Sets a training that has just begun to where the other one ended. `perEpoch`, `total`: steps. */
  restore(training: Training, perEpoch: number, total: number, log: (message: string) => void): Progress;
}

/** Puts the folder's weights into `model`. */
export async function continueFrom(folder: string, model: Model, { epochs }: { epochs: number }): Promise<Continued> {
  const file = path.join(folder, OPTIMIZER);
  if (!existsSync(file))
    throw new StepError(`${shown(folder)} has no ${OPTIMIZER}`, 'Train it with `save_optimizer: true`; else give it as `model`.');
  const { epochs: done } = await readJson(path.join(folder, 'training.json'));
  if (typeof done !== 'number' || !Number.isInteger(done))
    throw new StepError(`training.json of ${shown(folder)} does not say how many epochs it was trained for`);
  if (done >= epochs)
    throw new StepError(
      `${shown(folder)} was trained for ${done} epochs already, and epochs is ${epochs}`,
      '`epochs` counts those that are done.',
      ['epochs'],
    );
  const labels = labelsOf(await readConfig(folder));
  if (model.labels.length > 0 && labels?.join('\n') !== model.labels.join('\n'))
    throw new StepError(
      `${shown(folder)} was trained for other labels than the tokens have, or for the same in another order`,
      'Give it as `model`: then its head is fitted to the labels, and training starts at epoch 1.',
    );
  const weights = weightsOfTensors(await readSafetensors(path.join(folder, 'model.safetensors')));
  const { [STEP]: step, ...slots } = await readSafetensors(file);
  const state = { step: step ? Number(toInt64(step)[0]) : 0, slots: slotsOfTensors(slots) };
  // Those that are not trained are set by nothing else. What does not fit is named by `misfit`.
  for (const [name, { shape }] of Object.entries(model.weights))
    if (weights[name]?.shape.join() === shape.join()) model.weights[name] = weights[name];
  return {
    restore(training, perEpoch, total, log) {
      const wrong = step ? misfit(training, weights, state.slots) : `there is no tensor ${STEP}`;
      if (wrong)
        throw new StepError(
          `${shown(folder)} does not fit this training: ${wrong}`,
          'Give the same `model`, and the options that it was trained with.',
        );
      training.restore(weights, state);
      log(
        `continues after epoch ${done} of ${shown(folder)}: the schedule of the learning rate is that of ${epochs} epochs, ${total} steps`,
      );
      return { step: done * perEpoch, epoch: done, within: 0 };
    },
  };
}

export async function saveOptimizer(folder: string, training: Training): Promise<void> {
  const { step, slots } = training.optimizerState();
  const tensors = { ...tensorsOfSlots(slots), [STEP]: int64(BigInt64Array.of(BigInt(step)), []) };
  await writeSafetensors(path.join(folder, OPTIMIZER), tensors, { format: 'pt' });
}

const OPTIMIZER = 'optimizer.safetensors';

/** The steps that the optimizer has done. No slot has this name: theirs have a slash. */
const STEP = 'step';
