/**
 * Evaluates: tokens of a split and a model → a prediction for each row → metrics. A seq2seq model also generates
 * texts if a metric needs them.
 */

import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type ContextOf, type Json, StepError } from '../../engine/contract/step.ts';
import { quantizationOf } from '../ml/answering/bundle.ts';
import { int8Files } from '../ml/answering/int8-files.ts';
import { openRuntime } from '../ml/device/open.ts';
import { type GeneratedTexts, writtenTexts } from '../ml/generation/evaluate-generated.ts';
import { generatedMetrics } from '../ml/metrics/generated.ts';
import { bootstrapOptions } from '../ml/metrics/interval-options.ts';
import { endsOf, type Intervals, missingEnds, noteOnNarrow, notesOnIntervals } from '../ml/metrics/intervals.ts';
import { positiveClass } from '../ml/metrics/text-classification.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import { calibrationInWords, type ModelCalibration, readCalibration } from '../ml/models/calibration.ts';
import { isGenerating, oneLabel } from '../ml/models/config.ts';
import { modelOnnx } from '../ml/models/family.ts';
import { loadModel, type Model } from '../ml/models/model-folder.ts';
import { openSplit, readTokensInfo, type Split, type TokensInfo } from '../ml/models/token-dataset.ts';
import { evaluationFromFiles } from '../ml/runtime/onnx/decoder-file.ts';
import { openModelFile } from '../ml/runtime/onnx/model-file.ts';
import { onnxPath } from '../ml/runtime/quantization.ts';
import type { Inference, Runtime } from '../ml/runtime/runtime.ts';
import { encodingDifferences } from '../ml/tasks/encoding-differences.ts';
import { evaluateSplit } from '../ml/tasks/evaluation.ts';
import { checkFit, intoModel } from '../ml/tasks/fit.ts';
import { groupOfExamples } from '../ml/tasks/groups.ts';
import { betterOf, evaluationMetrics, meansNothing } from '../ml/tasks/metrics.ts';
import { taskKind } from '../ml/tasks/registry.ts';
import { allRows, intervalsOf, readUnits, unitsIn } from '../ml/tasks/resampling.ts';
import { checkAhead } from './ahead.ts';
import { checkCompared, comparePredictions } from './compare.ts';
import { Predictions } from './predictions.ts';
import type step from './step.ts';
import { measureSubgroups, recordFigures, type Subgroups } from './subgroups.ts';
import { summaryOf } from './summary.ts';

type Context = ContextOf<typeof step>;

export async function evaluate(context: Context): Promise<void> {
  const { options, log } = context;
  const subject = await openSubject(context);
  const { split, ofTexts } = subject;
  try {
    const runtime = await openRuntime(options.runtime, { threads: context.threads, device: options.device });
    log(`runtime: ${runtime.description}`);
    const generated = ofTexts.length === 0 ? undefined : await generatedTexts(context, subject, runtime);
    const evaluation = await measured(context, subject, runtime, generated);
    const unitsOf = unitsIn(options.intervals, subject.units, evaluation.strata);
    const drawn = intervalsOf(options.intervals, evaluation.metrics, unitsOf(allRows(split)));
    const subgroups = await measureSubgroups(context, { ...evaluation, unitsOf, bootstrap: bootstrapOptions(options.intervals) });
    const comparison = await comparePredictions(context, { ...comparedIn(evaluation), unitsOf });
    await report(context, evaluation, { drawn, subgroups, comparison });
  } finally {
    split.close();
  }
}

/** What is evaluated, and how. */
interface Subject extends ReturnType<typeof metricsOf> {
  info: TokensInfo;
  split: Split;
  model: Model;
  calibration: ModelCalibration | undefined;
  /** The group of each example, by its index, if the calibration has thresholds for groups. */
  group: ((example: number) => string | undefined) | undefined;
  /** The group of each example for the bootstrap, if it draws groups. */
  units: Int32Array | undefined;
}

/** The results of an evaluation, for everything that is computed from them. */
interface Evaluation extends Subject {
  /**
   * The requested metrics of some examples: their positions in the split, which may repeat. Default: all examples. NaN means
   * that a metric is undefined.
   */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Why a metric is NaN on some examples, if that depends on the data. */
  why(metric: string, rows?: Int32Array): string | undefined;
  /** The class of each example, if it has one of several. */
  strata?: ArrayLike<number> | undefined;
  /** Further results of the task. */
  details: Record<string, Json>;
}

/** Opens model and tokens, and checks everything that can be checked before the long work. */
async function openSubject(context: Context): Promise<Subject> {
  const { options, inputs, log, warn } = context;
  const info = await readTokensInfo(inputs.tokens);
  const split = await openSplit(inputs.tokens, info, options.split);
  const model = await loadModel(inputs.model, info.task);
  await checkFit(info, model, inputs);
  const metrics = metricsOf(info, model, options);
  const units = await readUnits(split, inputs.data, options.intervals);
  await checkCompared(context, comparedIn({ info, split, model, ...metrics }));
  const differences = await encodingDifferences(info, inputs);
  if (differences !== undefined) warn(differences);
  const calibration = await readCalibration(inputs.model, model);
  if (calibration) log(`calibrated scores: ${calibrationInWords(calibration)}`);
  const subject = {
    info,
    split,
    model,
    calibration,
    units,
    group: await groupOfExamples(split, calibration, inputs.data, 'evaluate'),
    ...metrics,
  };
  await checkAhead(context, plannedFor(subject));
  return subject;
}

function plannedFor(subject: Subject): Parameters<typeof checkAhead>[1] {
  const { info, split, model, names, ofTexts, positive } = subject;
  return {
    columns: {
      ...taskKind(info.task).measure({ ...measuringOf(subject), split }).columns,
      ...(ofTexts.length > 0 && typesOfTexts(generatedMetrics(ofTexts).ofTexts)),
    },
    metrics: [...ofTexts, ...names],
    classifier: { task: info.task, problem: model.problem, labels: model.labels, positive: labelOf(model, positive) },
    text: info.fields?.text ?? 'text',
  };
}

const labelOf = ({ labels }: Model, place: number | undefined): string | undefined => (place === undefined ? undefined : labels[place]);

const measuringOf = ({ info, model, names, positive, calibration, group }: Subject) => ({
  labels: model.labels,
  problem: model.problem,
  labelIds: intoModel(info, model.labels),
  metrics: names,
  positive,
  calibration,
  group,
});

const comparedIn = ({ info, split, model, names, ofTexts }: Pick<Subject, 'info' | 'split' | 'model' | 'names' | 'ofTexts'>) => ({
  task: info.task,
  problem: model.problem,
  labels: model.labels,
  metrics: [...ofTexts, ...names],
  split,
});

const generatedTexts = (
  { options, inputs, signal, progress }: Context,
  { info, split, model, ofTexts }: Subject,
  runtime: Runtime,
): Promise<GeneratedTexts> =>
  writtenTexts(runtime, split, info, {
    model,
    folders: { own: inputs.model, tokenizer: inputs.model },
    metrics: ofTexts,
    overrides: options.generation ?? {},
    batchSize: options.batch_size,
    signal,
    progress: (rows) => progress(rows, split.rows, { generating: 'texts' }),
  });

/** Runs the model over the split and writes the predictions. */
async function measured(context: Context, subject: Subject, runtime: Runtime, generated: GeneratedTexts | undefined): Promise<Evaluation> {
  const { options, inputs, outputs, signal, warn, progress } = context;
  const { info, split, model, names } = subject;
  const inference = await inferenceOf(context, subject, runtime);
  const predictions = await Predictions.open(outputs.predictions!);
  const texts = generated && columnsOfTexts(generated);
  let row = 0;
  try {
    const measurement = await evaluateSplit((batch) => inference.run(batch), split, info, {
      ...measuringOf(subject),
      batchSize: options.batch_size,
      masking: { probability: 0.15, vocabulary: model.config.vocab_size },
      signal,
      progress: (rows) => progress(rows, split.rows),
      predicted: (id, prediction) => predictions.add(id, { ...prediction, ...texts?.of(row++) }),
    });
    await predictions.finish({ columns: { ...measurement.columns, ...texts?.columns }, split: options.split, data: inputs.data });
    for (const warning of measurement.warnings?.() ?? []) warn(warning);
    const metrics = (rows?: Int32Array) => {
      const values = measurement.metrics(rows);
      return { ...generated?.metrics(rows), ...Object.fromEntries(names.map((name) => [name, values[name]!])) };
    };
    const why = (name: string, rows?: Int32Array) => measurement.why?.(name, rows);
    return { ...subject, metrics, why, strata: measurement.strata?.(), details: { ...measurement.report(), ...generated?.report } };
  } finally {
    await predictions.close();
    await inference.dispose();
  }
}

/** A bundle in int8 is evaluated as predict and serve answer. The other weights in a bundle are the numbers of its ONNX model. */
async function inferenceOf({ inputs, threads, log }: Context, { model }: Subject, runtime: Runtime): Promise<Inference> {
  if ((await quantizationOf(inputs.model)) !== 'int8') return runtime.inference(model.program, model.weights, model.axes);
  log(`the int8 model answers, as in ${isGenerating(model.task) ? 'generate' : 'predict'} and serve`);
  const files = await int8Files(inputs.model);
  if (files) return evaluationFromFiles(files, threads);
  const file = path.join(inputs.model, onnxPath('int8'));
  return openModelFile(existsSync(file) ? file : modelOnnx(model, 'int8'), threads);
}

/** The columns of generated texts. `metrics`: those of each text. */
const typesOfTexts = (metrics: readonly string[]): Record<string, string> => ({
  prediction: 'VARCHAR',
  writable: 'VARCHAR',
  correct: 'BOOLEAN',
  ...Object.fromEntries(metrics.map((name) => [name, 'DOUBLE'])),
});

/** The columns of generated texts, and the values of each example. */
function columnsOfTexts({ texts, metrics, metricsOfText }: GeneratedTexts) {
  return {
    columns: typesOfTexts(metricsOfText),
    of(row: number) {
      const scores = metrics(Int32Array.of(row));
      return { ...texts[row]!, ...Object.fromEntries(metricsOfText.map((name) => [name, scores[name]!])) };
    },
  };
}

/** Records the metrics and writes the metrics file. */
async function report(
  { options, outputs, log, warn, metric, result }: Context,
  { info, split, names, metrics, why: reasonOf, details }: Evaluation,
  { drawn, subgroups, comparison }: { drawn: Intervals | undefined; subgroups: Subgroups | undefined; comparison: Subgroups | undefined },
): Promise<void> {
  const values = metrics();
  for (const [name, value] of Object.entries(values))
    metric(name, value, { better: betterOf(name), ...endsOf(drawn?.report.intervals, name) });
  const missing = Object.entries(values).filter(([, value]) => !Number.isFinite(value));
  const undefinedMetrics = Object.fromEntries(missing.map(([name, value]) => [name, whyUndefined(name, value, info.task, reasonOf(name))]));
  for (const [name, why] of Object.entries(undefinedMetrics)) warn(`${name} is undefined on the split ${options.split}: ${why}`);
  const figures = recordFigures({ ...subgroups?.figures, ...comparison?.figures }, { warn, metric });
  const ends = drawn ? Object.entries(undefinedMetrics).map(([name, why]) => missingEnds(name, why)) : [];
  const reasons: Record<string, string> = Object.assign({ ...undefinedMetrics, ...figures.undefined, ...drawn?.undefined }, ...ends);
  const intervals = { ...drawn?.report.intervals, ...figures.intervals };
  for (const line of notesOnIntervals(intervals, reasons)) log(line);
  const narrow = noteOnNarrow(intervals);
  if (narrow) warn(narrow);
  // A perplexity is meaningful only with the context length.
  const block = names.includes('perplexity') ? { block_length: info.max_target_length ?? info.max_length } : {};
  const all = {
    split: options.split,
    rows: split.rows,
    metrics: { ...values, ...figures.metrics },
    ...drawn?.report,
    ...(Object.keys(intervals).length > 0 && { intervals }),
    ...(Object.keys(reasons).length > 0 && { undefined: reasons }),
    ...block,
    ...details,
    ...subgroups?.fields,
    ...comparison?.fields,
  };
  await writeFile(outputs.metrics!, `${JSON.stringify(all, null, 2)}\n`);
  const summary = summaryOf({ metrics: all.metrics, intervals, subgroups, comparison });
  if (summary !== undefined) result(summary);
}

/** The metrics to compute, those that need generated texts, and the index of the positive class. */
function metricsOf(info: TokensInfo, { problem, labels }: Model, options: Context['options']) {
  const { names, ofTexts } = evaluationMetrics(info.task, problem, labels, options.metrics);
  if (options.generation && ofTexts.length === 0)
    throw new StepError('`generation` has no effect: no metric needs generated texts', 'Remove `generation`.', ['generation']);
  const positive = oneLabel(info.task, problem) ? positiveClass(labels, options.positive, names) : refusePositive(info, options.positive);
  return { names, ofTexts, positive };
}

function refusePositive(info: TokensInfo, positive: string | undefined): undefined {
  if (positive === undefined) return;
  const { message, hint } = meansNothing(info.task, info.problem_type);
  throw new StepError(message, hint, ['positive']);
}
