/** What `quantize` does: a smaller ONNX model in the bundle, and what it changes on the validation split. */

import { stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { int8Files } from '../ml/answering/int8-files.ts';
import { openRuntime } from '../ml/device/open.ts';
import { positiveClass } from '../ml/metrics/text-classification.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import { type ModelCalibration, readCalibration } from '../ml/models/calibration.ts';
import { oneLabel } from '../ml/models/config.ts';
import { listed } from '../ml/models/json.ts';
import { loadModel, type Model, readConfig, writeConfig } from '../ml/models/model-folder.ts';
import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { TOO_LARGE_FOR_FLOAT16 } from '../ml/runtime/half-precision.ts';
import { evaluationFromFiles } from '../ml/runtime/onnx/decoder-file.ts';
import { fitsOnnx } from '../ml/runtime/onnx/export.ts';
import { openModelFile } from '../ml/runtime/onnx/model-file.ts';
import { type OnnxFiles, type Quantization, TRANSFORMERS_JS_DTYPE } from '../ml/runtime/quantization.ts';
import type { Inference } from '../ml/runtime/runtime.ts';
import { encodingDifferences } from '../ml/tasks/encoding-differences.ts';
import { evaluateSplit } from '../ml/tasks/evaluation.ts';
import { checkFit, intoModel } from '../ml/tasks/fit.ts';
import { groupOfExamples } from '../ml/tasks/groups.ts';
import { betterOf, mainMetric, taskMetrics } from '../ml/tasks/metrics.ts';
import { bytesOf, exportFiles, writeFiles } from './onnx-files.ts';
import type step from './step.ts';

/** The part of a step's context that deploy uses. */
export interface DeployContext
  extends Pick<ContextOf<typeof step>, 'outputs' | 'threads' | 'signal' | 'progress' | 'log' | 'warn' | 'result'> {
  options: Partial<ContextOf<typeof step>['options']>;
  inputs: Partial<ContextOf<typeof step>['inputs']> & { model: string };
}

/** The contents of quantization.json. */
export interface QuantizationReport {
  quantize: Quantization;
  /** The ONNX model or, without one, the weights. */
  file: string;
  /** All files of a model that has several. */
  files?: string[];
  /** Their size, and that of the same files in float32. */
  bytes: number;
  float32_bytes: number;
  /** Undefined if there were no tokens. */
  change?: Change;
}

/** Metrics of the model before and after quantization. Null for a metric that is undefined. */
interface Change {
  split: string;
  rows: number;
  /** The metric that `max_loss` limits. */
  metric: string;
  before: Record<string, number | null>;
  after: Record<string, number | null>;
  max_loss?: number;
}

/** The rows on which the two models are compared. */
export interface ValidationRows {
  info: TokensInfo;
  split: Split;
  calibration: ModelCalibration | undefined;
  group: ((example: number) => string | undefined) | undefined;
}

/** Finds everything that could fail before the long work. Returns what `quantize` compares the models on, if there are tokens. */
export async function prepareQuantization({ options, inputs, warn }: DeployContext, model: Model): Promise<ValidationRows | undefined> {
  const { quantize, max_loss } = options;
  if (max_loss !== undefined && (quantize === undefined || inputs.tokens === undefined))
    throw new StepError('`max_loss` needs `quantize` and the input `tokens`', 'Give the tokens of a tokenize step.', ['max_loss']);
  if (quantize === undefined) return undefined;
  if (quantize === 'int8' && !fitsOnnx(model.weights))
    throw new StepError(
      '`quantize: int8` does not apply to a model of more than 2 GB, to which an ONNX file is limited',
      'Use `quantize: fp16`, which halves the file of the weights.',
      ['quantize'],
    );
  if (quantize === 'fp16') refuseTooLarge(model);
  if (inputs.tokens === undefined) return undefined;
  const info = await readTokensInfo(inputs.tokens);
  if (info.task !== model.task)
    throw new StepError(`the tokens are for ${info.task}, but the model is for ${model.task}`, 'Use the tokens that it was trained on.', [
      'tokens',
    ]);
  const folders = { tokens: inputs.tokens, model: inputs.model };
  await checkFit(info, model, folders);
  const differences = await encodingDifferences(info, folders);
  if (differences !== undefined) warn(differences);
  const split = await openSplit(inputs.tokens, info, SPLIT);
  const calibration = await readCalibration(inputs.model, model);
  return { info, split, calibration, group: await groupOfExamples(split, calibration, inputs.data, 'deploy') };
}

const SPLIT = 'validation';

function refuseTooLarge({ weights }: Model): void {
  for (const [name, { data }] of Object.entries(weights)) {
    const value = (data as Float32Array).find((one) => Math.abs(one) >= TOO_LARGE_FOR_FLOAT16);
    if (value !== undefined)
      throw new StepError(`${name} contains ${value}, which is too large for fp16`, 'Use `quantize: int8`.', ['quantize']);
  }
}

/**
 * Writes the smaller model and quantization.json into the bundle, which has the weights already. `float32`: the ONNX
 * model, unless the model generates text.
 */
export async function quantizeBundle(
  context: DeployContext,
  bundle: string,
  { comparison, ...made }: { model: Model; quantize: Quantization; float32: OnnxFiles | undefined; comparison: ValidationRows | undefined },
): Promise<QuantizationReport> {
  const { log, warn } = context;
  const { model, quantize } = made;
  const report = await writeQuantized(bundle, { ...made, threads: context.threads });
  log(`${listed(report.files ?? [report.file])}: ${megabytes(report.bytes)}; ${megabytes(report.float32_bytes)} in float32`);
  if (comparison) report.change = await compareQuantized(context, { model, report, comparison, bundle });
  else warn(`what \`quantize: ${quantize}\` changes was not measured: give deploy the input \`tokens\`, which has a validation split`);
  await writeFile(path.join(bundle, 'quantization.json'), `${JSON.stringify(report, null, 2)}\n`);
  return report;
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function writeQuantized(
  bundle: string,
  { model, quantize, float32, threads }: { model: Model; quantize: Quantization; float32: OnnxFiles | undefined; threads: number },
): Promise<QuantizationReport> {
  if (!float32) {
    const { size } = await stat(path.join(bundle, 'model.safetensors'));
    const float32_bytes = 4 * Object.values(model.weights).reduce((sum, { data }) => sum + data.length, 0);
    return { quantize, file: 'model.safetensors', bytes: size, float32_bytes };
  }
  // The weights in the bundle are the rounded ones for fp16. With int8, inputs are rounded, too: only the split shows by how much.
  const files = await exportFiles(model, threads, {
    quantize,
    ...(quantize === 'fp16' ? { reference: await loadModel(bundle) } : { tolerance: Number.POSITIVE_INFINITY }),
  });
  const [file, ...more] = await writeFiles(bundle, files, quantize);
  return {
    quantize,
    file: file!,
    ...(more.length > 0 && { files: [file!, ...more] }),
    bytes: bytesOf(files),
    float32_bytes: bytesOf(float32),
  };
}

/** Sets the `dtype` that transformers.js uses by default. It would look for onnx/model.onnx. */
export async function declareDtype(bundle: string, quantize: Quantization | undefined): Promise<void> {
  const config = await readConfig(bundle);
  const { dtype: _, ...others } = (config['transformers.js_config'] ?? {}) as Record<string, unknown>;
  const settings = { ...others, ...(quantize && { dtype: TRANSFORMERS_JS_DTYPE[quantize] }) };
  const { 'transformers.js_config': __, ...rest } = config;
  if (Object.keys(settings).length > 0) await writeConfig(bundle, { ...rest, 'transformers.js_config': settings });
  else if ('transformers.js_config' in config) await writeConfig(bundle, rest);
}

/** Evaluates both models on the split. @throws StepError if the main metric got worse by more than `max_loss` */
async function compareQuantized(
  context: DeployContext,
  { model, report, comparison, bundle }: { model: Model; report: QuantizationReport; comparison: ValidationRows; bundle: string },
): Promise<Change> {
  const { options, threads, log, result } = context;
  const { quantize } = report;
  const { split } = comparison;
  const runtime = await openRuntime('onnx', { threads });
  const smaller =
    quantize === 'int8'
      ? await openInt8(bundle, report, threads)
      : runtime.inference(model.program, (await loadModel(bundle)).weights, model.axes);
  const before = await measure(context, runtime.inference(model.program, model.weights, model.axes), { model, comparison, done: 0 });
  const after = await measure(context, smaller, { model, comparison, done: split.rows });
  const metric = mainMetric(model.task, model.problem, model.labels);
  const change: Change = { split: SPLIT, rows: split.rows, metric, before: before.values, after: after.values };
  const line = `${changeInWords(change, metric)} on ${split.rows} rows of ${SPLIT}`;
  log(`${quantize}: ${line}`);
  result(line);
  const { max_loss } = options;
  if (max_loss === undefined) return change;
  const unknown = [before, after].find(({ values }) => values[metric] === null);
  if (unknown)
    throw new StepError(
      `\`max_loss\` cannot be judged: ${metric} is undefined on ${SPLIT}, because ${unknown.why(metric)}`,
      'Use more rows, or remove `max_loss`.',
      ['max_loss'],
    );
  const loss = lossOf(change, metric)!;
  // Differences of decimal fractions are not exact.
  if (loss > max_loss + 1e-9) {
    const verb = betterOf(metric) === 'higher' ? 'lowers' : 'raises';
    throw new StepError(
      `\`quantize: ${quantize}\` ${verb} ${metric} on ${SPLIT} from ${shown(change.before[metric]!)} to ${shown(change.after[metric]!)}, by ${shown(loss)}, and \`max_loss\` allows ${max_loss}`,
      quantize === 'int8' ? 'Use `quantize: fp16`, or raise `max_loss`.' : 'Deploy without `quantize`, or raise `max_loss`.',
      ['max_loss'],
    );
  }
  return { ...change, max_loss };
}

async function openInt8(bundle: string, { file }: QuantizationReport, threads: number): Promise<Inference> {
  const generating = await int8Files(bundle);
  return generating ? evaluationFromFiles(generating, threads) : openModelFile(path.join(bundle, file), threads);
}

async function measure(
  { signal, progress }: DeployContext,
  inference: Inference,
  { model, comparison, done }: { model: Model; comparison: ValidationRows; done: number },
) {
  const { info, split, calibration, group } = comparison;
  const { task, problem, labels, config } = model;
  const { usual } = taskMetrics(task, problem, labels);
  try {
    const measurement = await evaluateSplit((batch) => inference.run(batch), split, info, {
      labels,
      problem,
      labelIds: intoModel(info, labels),
      metrics: usual,
      positive: oneLabel(task, problem) ? positiveClass(labels, undefined, usual) : undefined,
      calibration,
      group,
      batchSize: 32,
      masking: { probability: 0.15, vocabulary: config.vocab_size },
      signal,
      progress: (rows) => progress(done + rows, 2 * split.rows),
    });
    const values = measurement.metrics();
    return {
      values: Object.fromEntries(usual.map((name) => [name, Number.isFinite(values[name]) ? values[name]! : null])),
      why: (name: string) => whyUndefined(name, values[name]!, task, measurement.why?.(name)),
    };
  } finally {
    await inference.dispose();
  }
}

/** By how much a metric got worse; negative if it got better, undefined if it is undefined. */
function lossOf({ before, after }: Change, metric: string): number | undefined {
  const [old, now] = [before[metric], after[metric]];
  if (typeof old !== 'number' || typeof now !== 'number') return undefined;
  return betterOf(metric) === 'higher' ? old - now : now - old;
}

/** `accuracy 0.972 → 0.971 (−0.001)` */
function changeInWords(change: Change, metric: string): string {
  const difference = differenceInWords(change, metric);
  return `${metric} ${figureInWords(change.before[metric])} → ${figureInWords(change.after[metric])}${difference === 'n/a' ? '' : ` (${difference})`}`;
}

export function differenceInWords({ before, after }: Pick<Change, 'before' | 'after'>, metric: string): string {
  const [old, now] = [before[metric], after[metric]];
  if (typeof old !== 'number' || typeof now !== 'number') return 'n/a';
  const sign = now === old ? '±' : now > old ? '+' : '−';
  return `${sign}${shown(Math.abs(now - old))}`;
}

export const figureInWords = (value: number | null | undefined): string => (typeof value === 'number' ? shown(value) : 'n/a');

/** Three digits after the point; more for a small number. */
const shown = (value: number): string => (value === 0 || Math.abs(value) >= 0.0005 ? value.toFixed(3) : value.toPrecision(1));
