/**
 * Trains a model: tokens and a model → the memory estimate → epochs of steps, evaluated and saved on the way → a model folder.
 * The runtime computes a step; this file decides their order and number, and which weights are kept.
 */

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { carryPreprocessing } from '../ml/data/preprocessing.ts';
import { carrySources } from '../ml/data/table.ts';
import { openRuntime } from '../ml/device/open.ts';
import { type Batch, largestBatch, partsOf, trainingBatches } from '../ml/models/batches.ts';
import { hasCalibration } from '../ml/models/calibration.ts';
import { isGenerating, taskFacts } from '../ml/models/config.ts';
import type { Distillation } from '../ml/models/distillation.ts';
import { type Adapted, adapt, type LoraOptions } from '../ml/models/lora.ts';
import { copyGenerationConfig, type Model, saveModel, startModel } from '../ml/models/model-folder.ts';
import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { copyTokenizer, sameTokenizer } from '../ml/models/tokenizer.ts';
import type { HostTensors, OptimizerOptions, Runtime } from '../ml/runtime/runtime.ts';
import { memoryOf } from '../ml/runtime/training-memory.ts';
import { encodingOf } from '../ml/tasks/encoder.ts';
import { taskInputs } from '../ml/tasks/evaluation.ts';
import { Checkpoints, continueFrom, type Progress, saveOptimizer } from './checkpoints.ts';
import { earlyStopping } from './early-stopping.ts';
import { History } from './history.ts';
import { type ClassWeights, checkLabels, classesOf, classWeightsOf, lossSharesOf, oneOfSeveral } from './loss-weights.ts';
import { explainMemory, inWords, refuseTooMuch } from './memory.ts';
import { parameterGroups } from './parameter-groups.ts';
import { rowWeightsOf, weightsInput } from './reweigh.ts';
import { extentOf, schedule, stepsIn, warmupOf } from './schedule.ts';
import type { TrainContext } from './step.ts';
import { readTeacher, type Teacher } from './teacher.ts';
import { maskingOf, openValidation, watchedMetric } from './validation.ts';

export async function train(context: TrainContext): Promise<void> {
  const setup = await prepare(context);
  try {
    const loop = await startLoop(setup);
    await trainEpochs(setup, loop);
    await saveResult(setup, loop);
  } finally {
    setup.data.close();
    setup.validation?.close();
    await setup.training.dispose();
    await setup.lessons?.dispose();
  }
}

/** Everything that stays the same during the training. */
type Setup = Awaited<ReturnType<typeof prepare>>;

/** Opens the data, the model and the runtime, and checks that they fit together and into memory. */
async function prepare(context: TrainContext) {
  const { options, inputs, seed, threads, log } = context;
  const info = await readTokensInfo(inputs.tokens);
  refuseOptions(info, options);
  if (inputs.continue) refuseContinued(options);
  const data = await openSplit(inputs.tokens, info, 'train');
  const batchSize = options.batch_size * options.gradient_accumulation_steps;
  const extent = extentOf(Math.ceil(data.sequences / batchSize), options);
  const masking = await maskingOf(context);
  const validation = await openValidation(context, info, masking);
  const splits = validation ? [data, validation.split] : [data];
  for (const split of splits) checkLabels(split, info);
  const classWeights = options.class_weights && classWeightsOf(options.class_weights as ClassWeights, info, data);
  const rowWeights = await rowWeightsOf(context, info.labels, data);
  const base = await startModel(inputs.model, {
    task: info.task,
    problem: info.problem_type ?? 'single_label_classification',
    labels: info.labels,
    replaceHead: options.replace_head,
    fromScratch: options.from_scratch,
    seed,
    dropout: options.dropout,
    loss: { smoothing: options.label_smoothing_factor, classWeights },
    distillation: options.distill as Distillation | undefined,
    say: log,
  });
  if (hasCalibration(inputs.model)) log('the calibration.json of the model is dropped: it belongs to the weights before this training');
  const lora = options.lora && adapt(base, base.fresh, options.lora as LoraOptions, seed);
  const model = lora ?? base;
  if (lora) log(`lora: ${countOf(lora.weights, lora.trained)} of ${countOf(lora.weights)} parameters are trained`);
  await checkFit(model, info, splits, inputs);
  const teacher = await readTeacher(context, info, base);
  const continued = inputs.continue ? await continueFrom(inputs.continue, model, extent) : undefined;
  const runtime = await openRuntime(options.runtime, {
    threads,
    device: options.device,
    precision: options.precision,
    optimizer: options.optim,
  });
  log(`runtime: ${runtime.description}`);
  const trainingOptions = trainingOptionsOf(model, teacher, options, lora?.trained);
  const inputsOf = (part: Batch, epoch: number): HostTensors => ({
    ...taskInputs(data, part, info, { ...masking, vocabulary: model.config.vocab_size, seed, epoch }),
    ...(rowWeights && { loss_weights: weightsInput(rowWeights, part) }),
  });
  const largest = largestBatch(data, options.batch_size);
  const largestShape = shapeOf(largest);
  const memory = memoryOf(model, trainingOptions, {
    largest: inputsOf(largest, 1),
    teacher,
    parts: options.gradient_accumulation_steps,
    keepsBest: watchedMetric(options) !== undefined,
  });
  log(inWords(memory, largestShape));
  if (runtime.device === 'cpu') refuseTooMuch(memory, largestShape);
  const training = runtime.training(model.program, model.weights, trainingOptions);
  const lessons = teacher?.open(runtime);
  return {
    context,
    info,
    data,
    batchSize,
    extent,
    validation,
    classWeights,
    inputsOf,
    largestShape,
    base,
    lora,
    model,
    continued,
    runtime,
    training,
    lessons,
  };
}

/** What the loop changes. */
type Loop = Awaited<ReturnType<typeof startLoop>>;

/** The start of the training, or the state of the checkpoint or of the finished training that it resumes from. */
async function startLoop({ context, data, extent, continued, runtime, training }: Setup) {
  const { options, log, warn } = context;
  const classes = options.sampler === 'balanced' ? classesOf(data) : undefined;
  const { num_cycles: cycles, power, lr_end = 1e-7 } = options.lr_scheduler_kwargs ?? {};
  const { total } = extent;
  const warmup = warmupOf(options.warmup_steps, total);
  if (warmup >= total)
    warn(`warmup_steps: the training has ${total} steps and a warmup of ${warmup}, so the learning rate never reaches learning_rate`);
  const factor = schedule(options.lr_scheduler_type, warmup, total, { cycles, power, end: lr_end / options.learning_rate });
  const watched = watchedMetric(options);
  const stopping = watched && earlyStopping({ ...options.early_stopping, metric: watched.metric });
  const history = new History(context, extent);
  const checkpoints = new Checkpoints(context, { runtime, training, history, stopping });
  const progress: Progress = (await checkpoints.restore(extent)) ?? continued?.restore(training, log) ?? { step: 0, epoch: 0, within: 0 };
  return { classes, learningRateAt: (step: number) => options.learning_rate * factor(step), stopping, history, checkpoints, progress };
}

async function trainEpochs(setup: Setup, loop: Loop): Promise<void> {
  const { context, info, data, batchSize, extent, validation, classWeights, inputsOf, training, lessons } = setup;
  const { options, signal, seed } = context;
  const { classes, learningRateAt, stopping, history, checkpoints, progress } = loop;
  try {
    while (progress.epoch < extent.epochs && !stopping?.stop) {
      const epoch = progress.epoch + 1;
      if (validation?.isDue(progress, extent.total)) await evaluate(setup, loop, epoch); // an interruption may have left it undone
      for (const batch of trainingBatches(data, batchSize, { seed, epoch, classes }).slice(progress.within, stepsIn(epoch, extent))) {
        if (stopping?.stop) break;
        signal.throwIfAborted();
        const { step } = progress;
        const learningRate = learningRateAt(step);
        // In question answering the loss includes the padding of the context, as in transformers.
        const parts = partsOf(data, batch, options.batch_size, taskFacts(info.task).labelled === 'answer');
        const inputs = parts.map((part) => inputsOf(part, epoch));
        const shares = lossSharesOf(inputs, classWeights);
        const taught = await lessons?.teach(inputs, shares);
        const done = await training.step(taught ?? inputs.map((part, i) => ({ inputs: part, share: shares[i]! })), {
          seed,
          epoch,
          step,
          learningRate,
        });
        if (!Number.isFinite(done.loss + done.gradNorm)) throw diverged(done.loss, step + 1, epoch, checkpoints.latest, context.folder);
        progress.step++;
        progress.within++;
        history.step({ step: progress.step, epoch, learningRate, ...done }, data, parts);
        if (validation?.isDue(progress, extent.total)) await evaluate(setup, loop, epoch);
        await checkpoints.afterStep(progress);
        await setImmediate(); // A runtime that never awaits would leave no turn of the event loop for Ctrl-C.
      }
      if (progress.within < stepsIn(epoch, extent)) break; // stopped within the epoch
      if (options.eval_strategy !== 'steps') await evaluate(setup, loop, epoch);
      progress.epoch = epoch;
      progress.within = 0;
      await checkpoints.afterEpoch(progress);
    }
  } catch (error) {
    if (error !== signal.reason) throw explainMemory(error, setup.largestShape);
    await checkpoints.beforeEnding(progress);
    throw error;
  }
}

/** Evaluates on the validation split, if there is one, and remembers the best weights. */
async function evaluate({ context, validation, training, model, base, lora, runtime }: Setup, loop: Loop, epoch: number): Promise<void> {
  const { stopping, history, progress } = loop;
  const trainedUntil = performance.now();
  const merged = (): Model => ({ ...base, weights: lora ? lora.merged(training.weights()) : training.weights() });
  const metrics = await validation?.measure(training, model, merged, runtime);
  history.measured({ step: progress.step, epoch }, metrics, trainedUntil);
  if (stopping?.add(metrics![stopping.metric]!)) progress.best = { epoch, step: progress.step, weights: copyOf(training.weights()) };
  if (context.options.eval_strategy === 'steps') progress.measured = progress.step;
}

/** Saves the best weights if a metric is watched, otherwise the last ones. */
async function saveResult(setup: Setup, { stopping, history, progress }: Loop): Promise<void> {
  const { context, extent, runtime, training } = setup;
  const { options, log } = context;
  const { step, best } = progress;
  // A training that was interrupted after its last step, which is the last of an epoch, has not counted that epoch.
  const epoch = Math.ceil(step / extent.perEpoch);
  const timeOf = (at: { step: number; epoch: number }) => (options.eval_strategy === 'steps' ? `step ${at.step}` : `epoch ${at.epoch}`);
  if (stopping?.stop) {
    const { patience } = options.early_stopping!;
    const { eval_steps = 1 } = options;
    // The very last evaluation may come before its time.
    const since = { epoch: epoch - patience!, step: (Math.ceil(step / eval_steps) - patience!) * eval_steps };
    log(`stopped early: ${stopping.metric} has not improved since ${timeOf(since)}`);
  }
  if (stopping && !best) context.warn(`no evaluation has a defined ${stopping.metric}, so the weights of the last step are kept`);
  const kept = best ?? { step, epoch, weights: training.weights() };
  if (kept.step < step) log(`kept the weights of ${timeOf(kept)}, the best by ${stopping!.metric}`);
  await saveFolder(setup, kept.weights, {
    epochs: Number((step / extent.perEpoch).toFixed(4)),
    steps: step,
    steps_per_epoch: extent.perEpoch,
    kept_epoch: kept.epoch,
    kept_step: kept.step,
    runtime: { name: runtime.name, description: runtime.description },
  });
  if (options.save_optimizer) await saveOptimizer(context.outputs.model!, training);
  await history.end({ step: kept.step, ...(best && { metric: stopping!.metric }) });
}

/** Rejects options that do not apply to these tokens. */
function refuseOptions({ task, problem_type = 'single_label_classification' }: TokensInfo, options: TrainContext['options']): void {
  if (options.task !== undefined && options.task !== task)
    throw new StepError(`the tokens were made for ${task}, not for ${options.task}`, `Set \`task\` of tokenize to ${options.task}.`, [
      'task',
    ]);
  const refuse = (given: boolean, name: string, hint: string, kind: string = task) => {
    if (given) throw new StepError(`\`${name}\` does not apply to ${kind}`, hint, [name]);
  };
  const classes = oneOfSeveral(task, problem_type);
  const needsClasses = ['It needs texts with one label of several.', `${task} (${problem_type})`] as const;
  refuse(options.class_weights !== undefined && !classes, 'class_weights', ...needsClasses);
  const oneOfTexts = classes && task === 'text-classification';
  refuse(options.sampler === 'balanced' && !oneOfTexts, 'sampler', ...needsClasses);
  refuse(options.reweigh !== undefined && !oneOfTexts, 'reweigh', ...needsClasses);
  const smooths = classes || task === 'masked-lm' || isGenerating(task);
  refuse(options.label_smoothing_factor > 0 && !smooths, 'label_smoothing_factor', ...needsClasses);
  for (const name of ['mlm_probability', 'whole_word_mask'] as const)
    refuse(options[name] !== undefined && task !== 'masked-lm', name, 'It applies only to masked-lm. Remove it.');
  const labels = task.endsWith('-classification');
  refuse(options.replace_head && !labels, 'replace_head', 'Its head has no labels and is always kept. Remove it.');
  const two = 'It applies only to text-classification with two labels. Remove it.';
  refuse(options.positive !== undefined && task !== 'text-classification', 'positive', two);
}

function refuseContinued({ lora, from_scratch }: TrainContext['options']): void {
  if (lora)
    throw new StepError(
      '`continue` cannot be combined with `lora`, whose adapters are merged when a training ends',
      'Give the trained model as `model`.',
      ['lora'],
    );
  if (from_scratch)
    throw new StepError('`continue` cannot be combined with `from_scratch`, because it replaces all weights', 'Remove one of them.', [
      'from_scratch',
    ]);
}

/** Checks that tokens and model were made for each other. Otherwise the training would learn nonsense or crash. */
async function checkFit(model: Model, info: TokensInfo, splits: Split[], inputs: TrainContext['inputs']): Promise<void> {
  const limit = model.family.maxLength(model.config);
  if (info.max_length > limit) {
    throw new StepError(
      `the tokens have a max_length of ${info.max_length}, but the model takes only ${limit} tokens`,
      'Tokenize with this model.',
    );
  }
  const highest = Math.max(...splits.map(({ highestId }) => highestId));
  if (highest >= model.config.vocab_size) {
    throw new StepError(
      `the tokens have the id ${highest}, but the model's vocab_size is ${model.config.vocab_size}`,
      'Tokenize with this model.',
    );
  }
  if ((await sameTokenizer(inputs.tokens, inputs.model)) === false) {
    throw new StepError("the tokens were not made with the model's tokenizer", 'Give tokenize the same model as train.');
  }
}

const shapeOf = ({ sequences, length, targetLength }: Batch): string =>
  `${sequences.length} × ${targetLength > 0 ? `${length} + ${targetLength}` : length} tokens`;

function countOf(weights: HostTensors, names: Iterable<string> = Object.keys(weights)): number {
  return [...names].reduce((sum, name) => sum + weights[name]!.data.length, 0);
}

function trainingOptionsOf(
  model: Model,
  teacher: Teacher | undefined,
  options: TrainContext['options'],
  lora?: Adapted['trained'],
): Parameters<Runtime['training']>[2] {
  const { parameters, axes } = model;
  const padded = Object.entries(parameters).flatMap(([name, { paddingRow }]) =>
    paddingRow === undefined ? [] : [[name, paddingRow] as const],
  );
  return {
    axes: { ...axes, ...teacher?.axes },
    optimizer: optimizerOf(options),
    maxGradNorm: options.max_grad_norm,
    checkpointing: options.gradient_checkpointing,
    weight: parameterGroups(model, { ...options, lora }),
    paddingRows: Object.fromEntries(padded),
  };
}

function optimizerOf({
  optim,
  adam_beta1,
  adam_beta2,
  adam_epsilon,
  momentum = 0,
  nesterov = false,
}: TrainContext['options']): OptimizerOptions {
  if (optim === 'adamw') return { name: optim, beta1: adam_beta1, beta2: adam_beta2, epsilon: adam_epsilon };
  return optim === 'sgd' ? { name: optim, momentum, nesterov } : { name: optim };
}

function diverged(loss: number, step: number, epoch: number, latest: Checkpoints['latest'], folder: string): StepError {
  const what = Number.isFinite(loss) ? 'the gradients are' : `the loss is ${loss},`;
  const where = latest ? `; the last good checkpoint (step ${latest.step}) is at ${path.relative(folder, latest.folder)}` : '';
  return new StepError(
    `the training diverged: ${what} not finite at step ${step} (epoch ${epoch})${where}`,
    `Use a lower learning_rate or a warmup (warmup_steps).${latest ? ' With the same options the training diverges again.' : ''}`,
    ['learning_rate'],
  );
}

const copyOf = (weights: HostTensors): HostTensors =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, { ...weight, data: weight.data.slice() }]));

async function saveFolder({ context, info, base: model, lora }: Setup, weights: HostTensors, done: { [key: string]: Json }): Promise<void> {
  const { inputs, outputs, addresses, options, seed } = context;
  const folder = outputs.model!;
  const alone = lora && !options.lora!.merge;
  // transformers calls this setting `prefix` too.
  if (info.prefix !== undefined) model.file.prefix = info.prefix;
  if (!alone) await saveModel(folder, model, lora ? lora.merged(weights) : weights);
  // PEFT resolves the base model by its name on the hub, or is given it; a path of this machine would not help.
  const base = /^hf:\/\/([^@]+)/.exec(addresses[inputs.model] ?? '')?.[1] ?? path.basename(inputs.model);
  await lora?.save(alone ? folder : path.join(folder, 'adapter'), weights, base);
  await copyTokenizer(inputs.tokens, folder);
  await carryPreprocessing(inputs.tokens, folder);
  await carrySources(inputs.tokens, folder);
  await copyGenerationConfig(inputs.model, folder);
  // Options outside the fingerprint must not change these bytes either.
  const { logging_steps, tensorboard, save_steps, save_minutes, ...counted } = options;
  const record = { ...encodingOf(info), options: { ...counted, seed }, ...done };
  await writeFile(path.join(folder, 'training.json'), `${JSON.stringify(record, null, 2)}\n`);
}
