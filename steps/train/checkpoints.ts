/**
 * The state of a training on the disk: checkpoints, from which an interrupted training resumes as if nothing had happened,
 * and the state in a model folder, from which a finished one continues. Each checkpoint is a folder
 * `epoch-<e>-step-<n>`, after e whole epochs and n steps, of
 *
 *  weights.safetensors, optimizer.safetensors   the state at that step
 *  best.safetensors                             the best weights so far, if a metric is watched
 *  state.json                                   the progress, and the state of the metric and the history
 *  checkpoint.json                              the SHA-256 of each of the others
 *
 * A checkpoint is written under another name, flushed and renamed, so that a kill at any moment leaves only complete
 * ones. Damage on the disk is detected by the SHA-256. The last two are kept: if the newer one is damaged, the
 * training resumes from the older one.
 */

import { createHash, hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type StepContext, StepError } from '../../engine/contract/step.ts';
import { flush, hashOfFile } from '../ml/data/whole-files.ts';
import { labelsOf } from '../ml/models/config.ts';
import { poolerParameters } from '../ml/models/family.ts';
import { readJson, shown } from '../ml/models/json.ts';
import { type Model, readConfig } from '../ml/models/model-folder.ts';
import { float32, int64, readSafetensors, type StoredTensor, toFloat32, toInt64, writeSafetensors } from '../ml/models/safetensors.ts';
import type { HostTensors, OptimizerState, Runtime, Training } from '../ml/runtime/runtime.ts';
import type { Stopping } from './early-stopping.ts';
import type { History } from './history.ts';
import type { Extent } from './schedule.ts';

export interface Progress {
  /** Optimizer steps done, over all epochs. */
  step: number;
  /** Completed epochs, including their validation, and the steps done in the next one. */
  epoch: number;
  within: number;
  /** With `eval_strategy: steps`, the last step that was evaluated: an interruption may fall between a step and its evaluation. */
  measured?: number;
  /** The best weights so far by the watched metric, and the step they are from. */
  best?: { epoch: number; step: number; weights: HostTensors };
}

/** The contents of a checkpoint besides the progress. */
interface Parts {
  runtime: Runtime;
  training: Training;
  history: History;
  stopping: Stopping | undefined;
}

/** The parts of the step's context that it needs. */
interface Context extends Pick<StepContext, 'checkpoints' | 'log' | 'warn'> {
  options: { save_steps?: number | undefined; save_minutes: number };
}

export class Checkpoints {
  /** The last good checkpoint, read or written: its folder's name and its step. */
  #latest: { name: string; step: number } | undefined;
  #writtenAt = performance.now();

  constructor(
    private readonly context: Context,
    private readonly parts: Parts,
  ) {}

  /** The last good checkpoint, for messages. */
  get latest(): { folder: string; step: number } | undefined {
    return this.#latest && { folder: this.#at(this.#latest.name), step: this.#latest.step };
  }

  /** Restores the training from the newest good checkpoint; undefined if there is none. */
  async restore({ total, epochs }: Extent): Promise<Progress | undefined> {
    const { log, warn } = this.context;
    const names = await namesIn(this.context.checkpoints);
    for (const name of names.filter((name) => name.startsWith(UNFINISHED))) await rm(this.#at(name), { recursive: true, force: true });
    const complete = names.filter((name) => NAME.test(name)).sort(compare);
    for (const name of complete) {
      try {
        const { progress, saved } = await this.#read(name);
        this.#latest = { name, step: progress.step };
        const epoch = Math.min(progress.epoch + 1, epochs);
        log(
          `resumes at step ${progress.step} of ${total} (epoch ${epoch}), from a checkpoint of ${saved.slice(0, 19).replace('T', ' ')} UTC`,
        );
        return progress;
      } catch (error) {
        warn(`the checkpoint ${name} is skipped: ${(error as Error).message}`);
      }
    }
    if (complete.length > 0) log('no usable checkpoint is left: the training starts from the beginning');
    return undefined;
  }

  async afterStep(progress: Progress): Promise<void> {
    const { save_steps, save_minutes } = this.context.options;
    const due = save_steps !== undefined && progress.step % save_steps === 0;
    if (due || this.#minutes() >= save_minutes) await this.write(progress);
  }

  /** Writes a checkpoint at the end of an epoch, so that its validation need not be repeated. */
  async afterEpoch(progress: Progress): Promise<void> {
    if (this.#minutes() > 1) await this.write(progress);
  }

  /** Writes a checkpoint when the training is interrupted. */
  async beforeEnding(progress: Progress): Promise<void> {
    if (progress.step > 0 && nameOf(progress) !== this.#latest?.name) await this.write(progress);
  }

  /** A failed write does not end the training: a full disk may have space the next time. */
  async write(progress: Progress): Promise<void> {
    const name = nameOf(progress);
    const unfinished = this.#at(`${UNFINISHED}${process.pid}`);
    try {
      await mkdir(unfinished, { recursive: true });
      await this.#writeInto(unfinished, progress);
      await flush(unfinished);
      await rm(this.#at(name), { recursive: true, force: true });
      await rename(unfinished, this.#at(name));
      await flush(this.context.checkpoints);
      // Keep this one and the one before it, and none of those that were skipped.
      for (const other of await namesIn(this.context.checkpoints))
        if (other !== name && other !== this.#latest?.name) await rm(this.#at(other), { recursive: true, force: true });
      this.#latest = { name, step: progress.step };
    } catch (error) {
      await rm(unfinished, { recursive: true, force: true }).catch(() => {});
      this.context.warn(
        `no checkpoint was written at step ${progress.step}: ${(error as Error).message}. The training continues without it`,
      );
    }
    this.#writtenAt = performance.now();
  }

  async #writeInto(folder: string, { best, ...where }: Progress): Promise<void> {
    const { runtime, training, history, stopping } = this.parts;
    const { step: optimizerStep, slots } = training.optimizerState();
    const files: Record<string, string> = {};
    const write = async (file: string, tensors: Record<string, StoredTensor>) => {
      const written = createHash('sha256');
      await writeSafetensors(path.join(folder, file), tensors, undefined, written);
      files[file] = written.digest('hex');
    };
    await write('weights.safetensors', tensorsOfWeights(training.weights()));
    await write('optimizer.safetensors', tensorsOfSlots(slots));
    if (best) await write('best.safetensors', tensorsOfWeights(best.weights));
    const state: State = {
      ...where,
      ...(best && { best: { epoch: best.epoch, step: best.step } }),
      optimizerStep,
      saved: new Date().toISOString(),
      runtime: describe(runtime),
      history: history.state(),
      ...(stopping && { stopping: stopping.state() }),
    };
    const text = JSON.stringify(state);
    await writeFile(path.join(folder, 'state.json'), text, { flush: true });
    files['state.json'] = hash('sha256', text);
    await writeFile(path.join(folder, 'checkpoint.json'), JSON.stringify({ format: FORMAT, files }), { flush: true });
  }

  async #read(name: string): Promise<{ progress: Progress; saved: string }> {
    const { runtime, training, history, stopping } = this.parts;
    const folder = this.#at(name);
    const { format, files } = JSON.parse(await readFile(path.join(folder, 'checkpoint.json'), 'utf8'));
    if (format !== FORMAT) throw new Error(`it has the format ${format}, and this version reads ${FORMAT}`);
    for (const [file, written] of Object.entries(files))
      if ((await hashOfFile(path.join(folder, file))) !== written) throw new Error(`${file} is damaged`);
    const state: State = JSON.parse(await readFile(path.join(folder, 'state.json'), 'utf8'));
    const here = describe(runtime);
    if (state.runtime !== here)
      throw new Error(`it was made with ${state.runtime}, and this is ${here}; their results differ in the last bits`);
    const tensors = (file: string) => readSafetensors(path.join(folder, file));
    const weights = weightsOfTensors(await tensors('weights.safetensors'));
    const best = state.best === undefined ? undefined : weightsOfTensors(await tensors('best.safetensors'));
    const slots = slotsOfTensors(await tensors('optimizer.safetensors'));
    const wrong = misfit(training, weights, slots);
    if (wrong) throw new Error(wrong);
    training.restore(weights, { step: state.optimizerStep, slots });
    history.restore(state.history);
    if (state.stopping) stopping!.restore(state.stopping);
    const { step, epoch, within, measured } = state;
    const progress: Progress = { step, epoch, within, ...(measured !== undefined && { measured }) };
    if (best) progress.best = { ...state.best!, weights: best };
    return { progress, saved: state.saved };
  }

  #at(name: string): string {
    return path.join(this.context.checkpoints, name);
  }

  #minutes(): number {
    return (performance.now() - this.#writtenAt) / 60_000;
  }
}

/** The contents of state.json. */
interface State extends Omit<Progress, 'best'> {
  /** The step that best.safetensors is from. */
  best?: { epoch: number; step: number };
  optimizerStep: number;
  saved: string;
  runtime: string;
  history: ReturnType<History['state']>;
  stopping?: ReturnType<Stopping['state']>;
}

const FORMAT = 1;
const NAME = /^epoch-(\d+)-step-(\d+)$/;
const UNFINISHED = 'unfinished-';

const nameOf = ({ epoch, step }: Progress): string => `epoch-${epoch}-step-${step}`;

/** The newest first; of the same step the one after the validation. */
function compare(a: string, b: string): number {
  const [[, epochA, stepA], [, epochB, stepB]] = [NAME.exec(a)!, NAME.exec(b)!];
  return Number(stepB) - Number(stepA) || Number(epochB) - Number(epochA);
}

const describe = ({ name, description }: Runtime): string => `${name} (${description})`;

function tensorsOfWeights(weights: HostTensors): Record<string, StoredTensor> {
  return Object.fromEntries(Object.entries(weights).map(([name, { data, shape }]) => [name, float32(data as Float32Array, shape)]));
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

/**
 * Continues a finished training with more epochs or steps, from a model folder with optimizer.safetensors and its progress in
 * training.json. Loads its weights into `model`; `restore` sets a training to the state in which it ended.
 */
export async function continueFrom(folder: string, model: Model, extent: Extent) {
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
  if (model.carried)
    for (const name of Object.keys(poolerParameters(model.family, model.config)))
      if (weights[name] && !(name in model.weights)) model.carried[name] = weights[name];
  return {
    restore(training: Training, log: (message: string) => void): Progress {
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

/** The tensor that counts the optimizer's steps. The names of slots contain a slash, so they cannot collide with it. */
const STEP = 'step';

/** The tensors of an optimizer have names such as `m/bert.pooler.dense.weight`. */
function tensorsOfSlots(slots: OptimizerState['slots']): Record<string, StoredTensor> {
  const tensors: Record<string, StoredTensor> = {};
  for (const [kind, values] of Object.entries(slots))
    for (const [name, data] of Object.entries(values)) tensors[`${kind}/${name}`] = float32(data, [data.length]);
  return tensors;
}

function slotsOfTensors(tensors: Record<string, StoredTensor>): OptimizerState['slots'] {
  const slots: OptimizerState['slots'] = {};
  for (const [key, tensor] of Object.entries(tensors)) {
    const kind = key.slice(0, key.indexOf('/'));
    slots[kind] ??= {};
    slots[kind][key.slice(kind.length + 1)] = toFloat32(tensor)!;
  }
  return slots;
}

function weightsOfTensors(tensors: Record<string, StoredTensor>): HostTensors {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [name, { dtype: 'float32', shape: tensor.shape, data: toFloat32(tensor)! }]),
  );
}

/** Describes the first tensor that is missing, has another size, or is superfluous, before anything changes; undefined if all fit. */
function misfit(training: Training, weights: HostTensors, slots: OptimizerState['slots']): string | undefined {
  for (const [name, { shape }] of Object.entries(training.weights())) {
    const tensor = weights[name];
    if (!tensor) return `there is no tensor ${name}`;
    if (tensor.shape.join() !== shape.join()) return `${name} is [${tensor.shape}], but in the model it is [${shape}]`;
  }
  const own = training.optimizerState().slots;
  const foreign = Object.keys(slots).find((kind) => !(kind in own));
  if (foreign !== undefined) return `there are tensors ${foreign}/…, which belong to another optimizer`;
  for (const [kind, tensors] of Object.entries(own)) {
    for (const [name, { length }] of Object.entries(tensors)) {
      const values = slots[kind]?.[name];
      if (!values) return `there is no tensor ${kind}/${name}`;
      if (values.length !== length) return `${kind}/${name} has ${values.length} elements instead of ${length}`;
    }
  }
  return undefined;
}
