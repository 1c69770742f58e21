/**
 * `better_than`: two models answer the same raw rows, each with its own preprocessing, encoding, calibration and generation
 * settings, as `predict` and `generate` do. A paired test shows whether their difference may be due to chance.
 */

import { type ContextOf, StepError } from '../../engine/contract/step.ts';
import { answerAll } from '../ml/answering/answer-all.ts';
import { type Bundle, openBundle } from '../ml/answering/bundle.ts';
import { Database } from '../ml/data/database.ts';
import { beginsWith, readPreprocessing, remainingSteps } from '../ml/data/preprocessing.ts';
import { type PairedTest, pairedTests } from '../ml/metrics/paired-tests.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import { isGenerating, type Task } from '../ml/models/config.ts';
import { listed } from '../ml/models/json.ts';
import { tokenizerDifference } from '../ml/models/tokenizer-json.ts';
import { betterOf, reportedMetrics, writtenMetrics } from '../ml/tasks/metrics.ts';
import { isShareOfRows, openScorer, type ScoredAnswers } from '../ml/tasks/scorer.ts';
import type { Compared, ComparedFigures, ModelOfRows } from './compared.ts';
import { type ComparedRows, openRows } from './rows.ts';
import type step from './step.ts';
import type { RequiredLimits } from './step.ts';

type Context = ContextOf<typeof step>;

export interface Comparison {
  /** The model to surpass. */
  model: string;
  metric: string;
  better: 'higher' | 'lower';
  /** Null for data without splits. */
  split: string | null;
  rows: number;
  /** The metric of the model, and of the model to surpass; null if undefined. */
  value: number | null;
  other: number | null;
  /** The first minus the second, with its 95% bootstrap interval. */
  difference: number | null;
  interval: { low: number; high: number } | null;
  test: { name: PairedTest['test']; only_model?: number; only_other?: number; exact?: boolean; resamples?: number };
  p: number | null;
  /** The highest p-value. */
  limit: number;
  passed: boolean;
  /** Why it has not passed. */
  why?: string;
}

const LEVEL = 0.95;

type BetterThan = NonNullable<RequiredLimits['better_than']>;

export async function compareModels(context: Context, named: { model: string; other: string }): Promise<Comparison> {
  const { options, inputs, warn } = context;
  const better = (options.limits as RequiredLimits).better_than!;
  const model = await openBundle(inputs.model);
  const other = await openBundle(inputs['limits.better_than.model']!);
  refuseUnlike(model, other, { metric: better.metric, other: named.other });
  const sameTokenizer = await compareTokenizers(model, other, { metric: better.metric, other: named.other });
  const database = await Database.open();
  try {
    const rows = await openRows(database, model, { data: inputs.data!, split: options.split, label: better.label });
    if (rows.unlabelled > 0)
      warn(
        `${rows.unlabelled} rows${options.split === false ? '' : ` of the split ${options.split}`} have no true value, and are left out`,
      );
    const subject: ScoredAnswers = {
      ...model,
      labels: labelsOf(model, other, rows),
      metrics: [better.metric],
      positive: better.positive,
      option: ['limits', 'better_than'],
    };
    warnUnknown(
      subject,
      rows,
      [
        [model, named.model],
        [other, named.other],
      ],
      warn,
    );
    const compared: Compared = { ...subject, metric: better.metric, rows, database, sameTokenizer, context };
    const own = await measured(await forRows(model, named.model, context), compared);
    const others = await measured(await forRows(other, named.other, context), compared);
    return { model: named.other, split: options.split || null, ...tested(own, others, subject, rows.ids.length, better) };
  } finally {
    database.close();
  }
}

function refuseUnlike(model: Bundle, other: Bundle, { metric, other: name }: { metric: string; other: string }): void {
  if (model.task !== other.task)
    throw refusal(`the model is for ${model.task}, but ${name} is for ${other.task}`, 'Compare it with a model of the same task.', 'model');
  if (model.problem !== other.problem)
    throw refusal(
      `the model is for ${model.problem}, but ${name} is for ${other.problem}`,
      'Compare it with a model of the same kind.',
      'model',
    );
  const { known } = reportedMetrics(model.task, model.problem, model.labels);
  if (!known.includes(metric)) throw refusal(`${model.task} has no metric ${metric}`, `It has ${known.join(', ')}.`, 'metric');
}

const refusal = (message: string, hint: string, ...option: string[]): StepError =>
  new StepError(message, hint, ['limits', 'better_than', ...option]);

/** Whether both models have the same tokenizer. @throws StepError if the metric has no meaning otherwise */
async function compareTokenizers(
  model: Bundle,
  other: Bundle,
  { metric, other: name }: { metric: string; other: string },
): Promise<boolean> {
  if (!isOfTokens(model.task)) return false;
  const difference = await tokenizerDifference(other.folder, model.folder);
  if (difference === undefined) return true;
  const texts = writtenMetrics(model.task).known;
  if (texts.includes(metric)) return false;
  throw refusal(
    `${metric} counts tokens, and ${name} has another tokenizer than the model: ${difference}. So the two values cannot be compared`,
    texts.length > 0 ? `Compare the generated texts: ${texts.join(', ')}.` : 'Compare models with the same tokenizer.',
    'metric',
  );
}

const isOfTokens = (task: Task): boolean => isGenerating(task) || task === 'masked-lm';

/** Whether the answers are labels. */
const hasLabels = ({ task, problem }: Pick<Bundle, 'task' | 'problem'>): boolean =>
  task.endsWith('-classification') && problem !== 'regression';

/** Those of both models, in the order of the first. */
function labelsOf(model: Bundle, other: Bundle, { truth }: ComparedRows): string[] {
  const labels = [...new Set([...model.labels, ...other.labels])];
  if (!hasLabels(model)) return labels;
  const strange = [...new Set(truth.flat() as string[])].filter((label) => !labels.includes(label));
  if (strange.length === 0) return labels;
  throw new StepError(
    `neither model knows the label ${listed(strange)}, which the data have`,
    `The labels of the models are ${listed(labels)}. Set \`label\` to the column of the labels.`,
    ['limits', 'better_than'],
  );
}

/** A model that does not know a label gets its rows wrong. */
function warnUnknown(subject: ScoredAnswers, { truth }: ComparedRows, models: [Bundle, string][], warn: Context['warn']): void {
  if (!hasLabels(subject)) return;
  for (const [{ labels }, name] of models) {
    const unknown = subject.labels.filter((label) => !labels.includes(label));
    const rows = truth.filter((own) => [own].flat().some((label) => unknown.includes(label as string))).length;
    if (rows > 0) warn(`${name} does not know the label ${listed(unknown)}, so it cannot predict it for ${rows} rows`);
  }
}

async function forRows(bundle: Bundle, name: string, { inputs, warn }: Context): Promise<ModelOfRows> {
  const ofData = await readPreprocessing(inputs.data!);
  if (!beginsWith(bundle.preprocessing, ofData))
    warn(
      `the data were cleaned in another way than the training data of ${name}, which cleans them once more. Give \`data\` rows from before the clean step`,
    );
  return { bundle, name, preprocessing: remainingSteps(bundle.preprocessing, ofData) };
}

async function measured(model: ModelOfRows, compared: Compared): Promise<ComparedFigures> {
  const { task, metric } = compared;
  if (!isOfTokens(task)) return answersOf(model, compared);
  if (writtenMetrics(task).known.includes(metric)) return (await import('./texts.ts')).textsOf(model, compared);
  return (await import('./tokens.ts')).tokensOf(model, compared);
}

/** As `predict` answers the rows. */
async function answersOf({ bundle, name, preprocessing }: ModelOfRows, { rows, context, ...subject }: Compared): Promise<ComparedFigures> {
  const { threads, signal, progress } = context;
  const scorer = openScorer(subject);
  let row = 0;
  for await (const answers of answerAll({ ...bundle, preprocessing }, rows.inputs(bundle, name), { threads, signal })) {
    for (const answer of answers) {
      if (answer instanceof StepError) throw new StepError(`row ${rows.ids[row]}, ${name}: ${answer.message}`, answer.hint);
      scorer.add(rows.truth[row++]!, answer);
    }
    progress(row, rows.ids.length, { model: name });
  }
  return scorer;
}

function tested(
  own: ComparedFigures,
  others: ComparedFigures,
  subject: ScoredAnswers,
  count: number,
  { metric, p: limit, resamples }: BetterThan,
) {
  const rows = Int32Array.from({ length: count }, (_, row) => row);
  const correct = ({ metrics }: ComparedFigures) => Uint8Array.from(rows, (row) => metrics(Int32Array.of(row))[metric]!);
  const tests = pairedTests(others.metrics, own.metrics, {
    correct: () => (isShareOfRows(subject, metric) ? { first: correct(others), second: correct(own) } : undefined),
    units: { rows },
    options: { resamples, level: LEVEL, method: 'percentile', seed: 0 },
  });
  const { test: name, first: other, second: value, difference, interval, p, mcnemar: exact } = tests[metric]!;
  const better = betterOf(metric);
  const ahead = better === 'lower' ? difference < 0 : difference > 0;
  const why = whyNot({ value, other, ahead, p, limit }, subject, { own, others });
  const { low, high } = interval;
  return {
    metric,
    better,
    rows: count,
    value: orNull(value),
    other: orNull(other),
    difference: orNull(difference),
    interval: Number.isNaN(low) ? null : { low, high },
    test: exact ? { name, only_model: exact.onlySecond, only_other: exact.onlyFirst, exact: exact.exact } : { name, resamples },
    p: orNull(p),
    limit,
    passed: why === undefined,
    ...(why !== undefined && { why }),
  };
}

function whyNot(
  { value, other, ahead, p, limit }: { value: number; other: number; ahead: boolean; p: number; limit: number },
  { task, metrics: [metric] }: ScoredAnswers,
  { own, others }: { own: ComparedFigures; others: ComparedFigures },
): string | undefined {
  for (const [one, { why }] of [
    [value, own],
    [other, others],
  ] as const)
    if (!Number.isFinite(one)) return `${metric} is undefined: ${whyUndefined(metric!, one, task, why?.(metric!))}`;
  if (value === other) return 'both are equal';
  if (!ahead) return 'the model is worse';
  return p <= limit ? undefined : 'the difference may be due to chance';
}

const orNull = (value: number): number | null => (Number.isFinite(value) ? value : null);
