import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Json, StepError } from '../../engine/step.ts';
import { carryPreprocessing } from '../data/preprocessing.ts';
import { positiveClass } from '../metrics/positive.ts';
import { inputsOf, partsOf, trainingBatches } from '../models/batches.ts';
import { type Model, saveModel, startModel } from '../models/checkpoint.ts';
import { copyTokenizer, sameTokenizer } from '../models/tokenizer.ts';
import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../models/tokens.ts';
import { openRuntime } from '../runtime/open.ts';
import type { HostTensors, OptimizerOptions, Runtime, Training } from '../runtime/runtime.ts';
import { evaluateSplit } from '../tasks/evaluation.ts';
import { maskTokens } from '../tasks/masked-lm.ts';
import { taskKind } from '../tasks/registry.ts';
import { Checkpoints, type Progress } from './checkpoints.ts';
import { continueFrom, saveOptimizer } from './continue.ts';
import { type ClassWeights, classesOf, oneOfSeveral, sharesOf, weightsOf } from './counting.ts';
import { History } from './history.ts';
import { weightOptions } from './layers.ts';
import { schedule, warmupOf } from './schedule.ts';
import type step from './step.ts';
import { earlyStopping } from './stopping.ts';

export type TrainContext = Parameters<(typeof step)['run']>[0];

export async function train(context: TrainContext): Promise<void> {
  const { options, inputs, seed, signal, threads, log } = context;
  const info = await readTokensInfo(inputs.tokens);
  refuseOptions(info, options);
  const data = await openSplit(inputs.tokens, info, 'train');
  const validation = await openValidation(inputs.tokens, info, context);
  const measured = validationMetrics(info, options);
  const classWeights = options.class_weights && weightsOf(options.class_weights as ClassWeights, info, data);
  const model = await startModel(inputs.model, {
    task: info.task,
    problem: info.problem_type ?? 'single_label_classification',
    labels: info.labels,
    replaceHead: options.replace_head,
    seed,
    dropout: options.dropout,
    loss: { smoothing: options.label_smoothing_factor, classWeights },
    say: log,
  });
  await checkFit(model, info, validation ? [data, validation] : [data], inputs);
  const continued = inputs.continue ? await continueFrom(inputs.continue, model, options) : undefined;
  const runtime = await openRuntime(options.runtime, { threads, device: options.device, precision: options.precision });
  log(`runtime: ${runtime.description}`);

  const training = runtime.training(model.program, model.weights, trainingOptions(model, options));
  try {
    const batchSize = options.batch_size * options.gradient_accumulation_steps;
    const classes = options.sampler === 'balanced' ? classesOf(data) : undefined;
    const perEpoch = Math.ceil(data.sequences / batchSize);
    const total = options.epochs * perEpoch;
    const factor = schedule(options.lr_scheduler_type, warmupOf(options.warmup_steps, total), total);
    const stopping = options.early_stopping && earlyStopping(options.early_stopping);
    const history = new History(context, total);
    const checkpoints = new Checkpoints(context, { runtime, training, history, stopping });
    const progress: Progress = (await checkpoints.restore(total)) ??
      continued?.restore(training, perEpoch, total, log) ?? { step: 0, epoch: 0, within: 0 };
    try {
      while (progress.epoch < options.epochs && !stopping?.stop) {
        const epoch = progress.epoch + 1;
        for (const batch of trainingBatches(data, batchSize, { seed, epoch, classes }).slice(progress.within)) {
          signal.throwIfAborted();
          const { step } = progress;
          const learningRate = options.learning_rate * factor(step);
          const parts = partsOf(data, batch, options.batch_size);
          const given = parts.map((part) => {
            const inputs = inputsOf(data, part, info);
            if (info.task !== 'masked-lm') return inputs;
            return maskTokens(inputs, part.sequences, info, model.config.vocab_size, { probability: hidden(options), seed, epoch });
          });
          const shares = sharesOf(given, classWeights);
          const done = await training.step(
            given.map((inputs, i) => ({ inputs, share: shares[i]! })),
            { seed, epoch, step, learningRate },
          );
          if (!Number.isFinite(done.loss + done.gradNorm)) throw diverged(done.loss, step + 1, epoch, checkpoints.kept, context.folder);
          progress.step++;
          progress.within++;
          history.step({ step: progress.step, epoch, learningRate, ...done }, data, parts);
          await checkpoints.afterStep(progress);
          await setImmediate(); // a runtime that never waits would leave no turn to Ctrl-C
        }
        const trainedUntil = performance.now();
        const metrics = validation && (await validate(training, validation, info, model, measured, context));
        history.epoch(epoch, progress.step, metrics, trainedUntil);
        if (stopping?.add(metrics![options.early_stopping!.metric]!)) progress.best = { epoch, weights: copyOf(training.weights()) };
        progress.epoch = epoch;
        progress.within = 0;
        await checkpoints.afterEpoch(progress);
      }
    } catch (error) {
      if (error === signal.reason) await checkpoints.beforeEnding(progress);
      throw error;
    }
    const { step, epoch, best } = progress;
    if (stopping?.stop)
      log(`stopped: ${options.early_stopping!.metric} has not gained since epoch ${epoch - options.early_stopping!.patience}`);
    const kept = best ?? { epoch, weights: training.weights() };
    if (kept.epoch < epoch) log(`the weights of epoch ${kept.epoch} are kept, the best by ${options.early_stopping!.metric}`);
    await save(context, info, model, kept.weights, {
      epochs: epoch,
      steps: step,
      kept_epoch: kept.epoch,
      runtime: { name: runtime.name, description: runtime.description },
    });
    if (options.save_optimizer) await saveOptimizer(context.outputs.model!, training);
    await history.end(kept.epoch);
  } finally {
    data.close();
    validation?.close();
    await training.dispose();
  }
}

/** Options that mean nothing for these tokens. */
function refuseOptions({ task, problem_type = 'single_label_classification' }: TokensInfo, options: TrainContext['options']): void {
  if (options.task !== undefined && options.task !== task)
    throw new StepError(`the tokens were made for ${task}, not for ${options.task}`, `Set the task of tokenize to ${options.task}.`, [
      'task',
    ]);
  const ofClasses = { class_weights: options.class_weights !== undefined, sampler: options.sampler === 'balanced' };
  for (const [name, given] of Object.entries(ofClasses))
    if (given && (!oneOfSeveral(task, problem_type) || (name === 'sampler' && task !== 'text-classification')))
      throw new StepError(`${name} means nothing for ${task} (${problem_type})`, 'It is of texts that have one label of several.', [name]);
  if (options.label_smoothing_factor > 0 && !oneOfSeveral(task, problem_type) && task !== 'masked-lm')
    throw new StepError(`label_smoothing_factor means nothing for ${task} (${problem_type})`, 'It is of one label of several.', [
      'label_smoothing_factor',
    ]);
  if (options.mlm_probability !== undefined && task !== 'masked-lm')
    throw new StepError(`mlm_probability means nothing for ${task}`, 'It is of masked-lm.', ['mlm_probability']);
  if (options.positive !== undefined && task !== 'text-classification')
    throw new StepError(`positive means nothing for ${task}`, 'It is of text-classification with two labels.', ['positive']);
}

const hidden = ({ mlm_probability }: TrainContext['options']): number => mlm_probability ?? 0.15;

async function openValidation(folder: string, info: TokensInfo, { options, log }: TrainContext): Promise<Split | undefined> {
  // Early stopping needs it, so that there it is an error if it is missing.
  if (options.early_stopping || info.splits.validation?.rows) return openSplit(folder, info, 'validation');
  log('the tokens have no validation split: nothing is measured between epochs');
  return undefined;
}

interface Measured {
  metrics: string[];
  positive: number | undefined;
}

/** What is measured of the validation split beside the loss. */
function validationMetrics(info: TokensInfo, { early_stopping, positive }: TrainContext['options']): Measured {
  const problem = info.problem_type ?? 'single_label_classification';
  const { known, usual } = taskKind(info.task).metrics(problem, info.labels);
  const stop = early_stopping?.metric ?? 'loss';
  if (stop !== 'loss' && !known.includes(stop))
    throw new StepError(`${info.task} has no metric ${stop}`, `It has ${known.join(', ')}.`, ['early_stopping', 'metric']);
  const shown = usual.filter((name) => SHOWN.includes(name));
  const metrics = [...new Set([...shown, ...(stop === 'loss' ? [] : [stop])])];
  const classifies = info.task === 'text-classification' && problem === 'single_label_classification';
  return { metrics, positive: classifies ? positiveClass(info.labels, positive, metrics) : undefined };
}

/** Of a task's usual metrics those that an epoch's line has room for. */
const SHOWN = ['accuracy', 'f1', 'macro_f1', 'exact_match', 'perplexity', 'r2'];

/** Tokens and model must be made for each other; what does not fit would end in nonsense, or in a crash. */
async function checkFit(model: Model, info: TokensInfo, splits: Split[], inputs: TrainContext['inputs']): Promise<void> {
  const limit = model.family.maxLength(model.config);
  if (info.max_length > limit) {
    throw new StepError(
      `the tokens have a max_length of ${info.max_length}, and the model takes ${limit} tokens`,
      'Tokenize with this model.',
    );
  }
  const highest = Math.max(...splits.map(({ highestId }) => highestId));
  if (highest >= model.config.vocab_size) {
    throw new StepError(
      `the tokens have the id ${highest}, and the model's vocab_size is ${model.config.vocab_size}`,
      'Tokenize with this model.',
    );
  }
  if ((await sameTokenizer(inputs.tokens, inputs.model)) === false) {
    throw new StepError("the tokens were made with another tokenizer than the model's", 'Give tokenize the same model as train.');
  }
}

function trainingOptions(model: Model, options: TrainContext['options']): Parameters<Runtime['training']>[2] {
  const { parameters, axes } = model;
  const padded = Object.entries(parameters).flatMap(([name, { paddingRow }]) =>
    paddingRow === undefined ? [] : [[name, paddingRow] as const],
  );
  return {
    axes,
    optimizer: optimizerOf(options),
    maxGradNorm: options.max_grad_norm,
    weight: weightOptions(model, options),
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

async function validate(
  training: Training,
  split: Split,
  info: TokensInfo,
  model: Model,
  measured: Measured,
  { options, signal }: TrainContext,
): Promise<Record<string, number>> {
  const { metrics } = await evaluateSplit((inputs) => training.evaluate(inputs), split, info, {
    labels: info.labels,
    problem: model.problem,
    labelIds: Int32Array.from(info.labels, (_, id) => id),
    ...measured,
    batchSize: options.batch_size,
    masking: { probability: hidden(options), vocabulary: model.config.vocab_size },
    signal,
  });
  const stop = options.early_stopping?.metric;
  if (stop && !Number.isFinite(metrics[stop]))
    throw new StepError(`${stop} cannot be computed of the validation split`, 'Is there a label that none of its rows has?', [
      'early_stopping',
      'metric',
    ]);
  return metrics;
}

function diverged(loss: number, step: number, epoch: number, kept: Checkpoints['kept'], folder: string): StepError {
  const what = Number.isFinite(loss) ? 'the gradients are' : `the loss is ${loss},`;
  const where = kept ? `; the last good checkpoint (step ${kept.step}) is kept at ${path.relative(folder, kept.folder)}` : '';
  return new StepError(
    `the training diverged: ${what} not finite at step ${step} (epoch ${epoch})${where}`,
    `A lower learning_rate, or some warmup_steps, keeps it stable.${kept ? ' With the same options it ends here again.' : ''}`,
    ['learning_rate'],
  );
}

const copyOf = (weights: HostTensors): HostTensors =>
  Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, { ...weight, data: weight.data.slice() }]));

async function save(
  { inputs, outputs, options, seed }: TrainContext,
  info: TokensInfo,
  model: Model,
  weights: HostTensors,
  done: { [key: string]: Json },
) {
  const folder = outputs.model!;
  await saveModel(folder, model, weights);
  await copyTokenizer(inputs.tokens, folder);
  await carryPreprocessing(inputs.tokens, folder);
  const record = { max_length: info.max_length, options: { ...options, seed }, ...done };
  await writeFile(path.join(folder, 'training.json'), `${JSON.stringify(record, null, 2)}\n`);
}
