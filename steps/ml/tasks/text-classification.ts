/**
 * text-classification: texts or pairs of texts, with one label of several, any number of labels, or a number
 * (regression) each.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import { bagOfWords } from '../bag-of-words.ts';
import type { Row } from '../data/database.ts';
import { quote } from '../data/sql.ts';
import { requireColumn } from '../data/table.ts';
import { labelReport, MULTI_LABEL_PROBABILITY_METRICS, multiLabelOf } from '../metrics/multi-label.ts';
import { PerExample } from '../metrics/per-example.ts';
import { reliabilityBins } from '../metrics/reliability.ts';
import {
  type Classified,
  classificationOf,
  classRanking,
  classReport,
  confusionMatrix,
  PROBABILITY_METRICS,
  positiveClass,
  regressionOf,
  whyOfLabels,
} from '../metrics/text-classification.ts';
import { whyOfSets, whyUncorrelated } from '../metrics/undefined-metrics.ts';
import { calibratedLogits, flagsByThreshold, labelByThreshold, type ModelCalibration } from '../models/calibration.ts';
import type { TokenColumn } from '../models/token-dataset.ts';
import type { Sequence } from '../models/tokenizer.ts';
import { answerSchema, example, purpose, pythonArguments, title } from './about-text-classification.ts';
import {
  flagColumns,
  type LabelCount,
  labelLists,
  labelledRows,
  labelSet,
  labelsInOrder,
  refuseUnknown,
  warnEmpty,
  warnUntrained,
} from './labels.ts';
import { metricNames } from './metrics.ts';
import {
  type BaselineRequest,
  type BaselineResult,
  best,
  logSoftmax,
  longTextIsTruncated,
  type Measurement,
  type Measuring,
  type Outputs,
  type Preparation,
  type PreparationContext,
  refuseNaN,
  rounded,
  rowOf,
  type TaskKind,
} from './task.ts';

export const textClassification: TaskKind<Float32Array> = {
  task: 'text-classification',
  fields: [{ name: 'text' }, { name: 'text_pair', optional: true }],
  prepare,
  tokenizing: ({ max_length, truncation }) => ({ maxLength: max_length!, ...(truncation && { truncation }) }),

  async encode(inputs, { tokenizer }) {
    const paired = inputs.filter((input) => input.text_pair !== undefined);
    const pairs = await tokenizer.encodePairs(paired.map(({ text, text_pair }) => [text!, text_pair!]));
    const singles = await tokenizer.encode(inputs.filter((input) => input.text_pair === undefined).map(({ text }) => text!));
    return inputs.map((input) => [(input.text_pair === undefined ? singles : pairs).shift()!]);
  },

  cut: ['text', 'text_pair'],

  read: (outputs, row) => read(outputs, row),

  answer(input, _, [logits], { labels, problem, calibration }): Json {
    if (problem === 'regression') return labels.length === 1 ? { score: rounded(logits![0]!) } : { scores: byLabel(labels, logits!) };
    const group = calibration?.group === undefined ? undefined : input[calibration.group];
    if (problem === 'multi_label_classification') {
      const { scores, flags } = classifiedSet(logits!, { labels, calibration, group });
      return { labels: labels.filter((_, k) => flags[k] === 1), scores: byLabel(labels, scores) };
    }
    const { scores, predicted } = classifiedLabel(logits!, { labels, calibration, group });
    return { label: labels[predicted]!, scores: byLabel(labels, scores) };
  },

  measure(measuring) {
    if (measuring.problem === 'regression') return measureNumbers(measuring);
    if (measuring.problem === 'multi_label_classification') return measureSets(measuring);
    return measureLabels(measuring);
  },

  baseline,

  async show({ values, info: { problem_type, labels } }) {
    const own = values('labels');
    if (problem_type === 'regression') return { target: String(own[0] ?? '') };
    if (problem_type === 'multi_label_classification') return { target: labels.filter((_, i) => own[i] === 1).join(', ') };
    return { target: labels[own[0] ?? -1] ?? '' };
  },

  card: { hubTask: 'text-classification', purpose, longInput: longTextIsTruncated, example, topK: true, pythonArguments },
  page: { button: 'Classify', title },
  answerSchema,
};

/* Rows: the text or the pair, and the label in one of three forms. */

interface Labelled extends Row {
  id: string;
  text: string;
  text_pair: string | null;
  /** A text, a JSON list of texts, or a number. */
  label: string | number;
}

async function prepare(source: PreparationContext): Promise<Preparation<Labelled>> {
  const { columns, options } = source;
  const [text, pair] = [options.text ?? 'text', options.text_pair];
  requireColumn(columns, text, 'text');
  if (pair !== undefined) requireColumn(columns, pair, 'text_pair');
  await warnEmpty(source, [text, ...(pair === undefined ? [] : [pair])]);
  const problem = options.problem_type ?? 'single_label_classification';
  const { table, labels, sql, values, column } = await LABELS[problem](source);
  return {
    table,
    labels,
    problem,
    fields: { text, ...(pair === undefined ? {} : { text_pair: pair }) },
    encoding: { ...(pair === undefined ? {} : { pairs: true, truncation: options.truncation ?? 'longest_first' }) },
    paired: pair !== undefined,
    columns: { labels: column },
    select: {
      text: `coalesce(${quote(text)}::VARCHAR, '')`,
      text_pair: pair === undefined ? 'NULL' : `coalesce(${quote(pair)}::VARCHAR, '')`,
      label: sql,
    },
    async encode(rows, read) {
      const sequences = await read(rows.map(({ text, text_pair }) => ({ text, ...(text_pair !== null && { text_pair }) })));
      return rows.map(({ id, label }, i) => {
        const [sequence] = sequences[i]! as [Sequence];
        return { example: { id }, sequences: [{ sequence, values: { labels: values(label) } }], truncated: sequence.truncated };
      });
    },
  };
}

interface Labels {
  /** The rows that have a label. */
  table: string;
  labels: string[];
  sql: string;
  values(label: string | number): number[];
  column: TokenColumn;
}

const LABELS = { single_label_classification: single, multi_label_classification: multiple, regression: number };

async function single(source: PreparationContext): Promise<Labels> {
  const { database, columns, options } = source;
  const label = (options.label ?? 'label') as string;
  const column = requireColumn(columns, label, 'label');
  if (column.type.endsWith('[]'))
    throw new StepError(
      `the column \`${label}\` contains lists`,
      'For texts with any number of labels set `problem_type: multi_label_classification`.',
      ['label'],
    );
  const table = await labelledRows(source, [column]);
  const counts = await database.rows<LabelCount>(
    `SELECT ${quote(label)}::VARCHAR AS label, count(*) AS rows, count(*) FILTER (WHERE ${source.split} = 'train') AS trained FROM ${table} GROUP BY ALL ORDER BY ALL`,
  );
  const labels = labelSet(counts, column.type, source, 'label');
  const ids = new Map(labels.map((name, i) => [name, i]));
  return {
    table,
    labels,
    sql: `${quote(label)}::VARCHAR`,
    values: (name) => [ids.get(name as string)!],
    column: { per: 'sequence', dtype: 'int32', width: 1 },
  };
}

/** A column of lists, or a column of 0 and 1 for each label. */
async function multiple(source: PreparationContext): Promise<Labels> {
  const given = source.options.label ?? 'label';
  const { table, names, list } = Array.isArray(given) ? await flagColumns(source, given) : await labelLists(source, given);
  const counts = await source.database.rows<LabelCount>(
    `SELECT label, count(*) AS rows, count(*) FILTER (WHERE split = 'train') AS trained FROM (SELECT ${source.split} AS split, unnest(${list}) AS label FROM ${table}) GROUP BY label ORDER BY label`,
  );
  const labels =
    source.known ??
    names ??
    labelsInOrder(
      counts.map(({ label }) => label),
      'VARCHAR',
    );
  if (source.known) refuseUnknown(counts, source.known, 'label');
  if (labels.length === 0) throw new StepError('no row has a label', 'Every list of labels is empty.', ['label']);
  if (source.splits.has('train')) warnUntrained(labels, counts, source.warn);
  return {
    table,
    labels,
    sql: `to_json(${list})::VARCHAR`,
    values(names) {
      const own = new Set(JSON.parse(names as string));
      return labels.map((label) => (own.has(label) ? 1 : 0));
    },
    column: { per: 'sequence', dtype: 'float32', width: labels.length },
  };
}

async function number(source: PreparationContext): Promise<Labels> {
  const { database, columns, options } = source;
  const label = (options.label ?? 'label') as string;
  const table = await labelledRows(source, [requireColumn(columns, label, 'label')]);
  const sql = `TRY_CAST(${quote(label)}::VARCHAR AS DOUBLE)`;
  const wrong = await database.rows<{ id: string; label: string | null }>(
    `SELECT id, ${quote(label)}::VARCHAR AS label FROM ${table} WHERE ${sql} IS NULL OR NOT isfinite(${sql}) ORDER BY id LIMIT 1`,
  );
  if (wrong.length > 0)
    throw new StepError(
      `row ${wrong[0]!.id}: \`${label}\` is ${JSON.stringify(wrong[0]!.label)}, not a number`,
      'regression needs numbers. Leave such rows out in collect with `where`.',
      ['label'],
    );
  return {
    table,
    labels: ['score'],
    sql,
    values: (value) => [value as number],
    column: { per: 'sequence', dtype: 'float32', width: 1 },
  };
}

/* Answers and measures, from the logits of a sequence. */

const read = ({ logits }: Outputs, row: number): Float32Array => rowOf(logits!, row);

/** What the scores and the predictions depend on besides the logits. `group`: the value of the calibration's column. */
interface Classifying {
  labels: string[];
  calibration: ModelCalibration | undefined;
  group: string | undefined;
}

/** One label of several. */
function classifiedLabel(logits: Float32Array, { labels, calibration, group }: Classifying) {
  const logs = logSoftmax(calibratedLogits(logits, calibration));
  const scores = logs.map(Math.exp);
  const highest = best(logits);
  return { logs, scores, predicted: labelByThreshold(scores, labels, calibration, group) ?? highest };
}

/** Any number of labels. */
function classifiedSet(logits: Float32Array, { labels, calibration, group }: Classifying) {
  logits.forEach(refuseNaN);
  const calibrated = calibratedLogits(logits, calibration);
  const scores = Float64Array.from(calibrated, sigmoid);
  return { calibrated, scores, flags: flagsByThreshold(scores, labels, calibration, group) };
}

const byLabel = (labels: string[], values: ArrayLike<number>): Record<string, Json> =>
  Object.fromEntries(labels.map((label, k) => [label, rounded(values[k]!)]));

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const PROBABILITIES = 'MAP(VARCHAR, DOUBLE)';

function measureLabels({ labels, metrics, positive, split, labelIds, calibration, group }: Measuring): Measurement<Float32Array> {
  /** The true and the predicted class, and the probability of the predicted class. */
  const rows = new PerExample(3);
  const losses = new PerExample(1);
  // The probabilities of every row would take more memory than everything else together.
  const keepsScores = metrics.some((name) => PROBABILITY_METRICS.includes(name) && name !== 'ece');
  const probabilities = new PerExample(labels.length);
  const classified = (): Classified & { confidence: ArrayLike<number> } => ({
    classes: labels.length,
    truth: rows.column(0),
    predicted: rows.column(1),
    confidence: rows.column(2),
    ...(keepsScores && { scores: probabilities.each() }),
    ...(positive === undefined ? {} : { positive }),
  });
  let metricsOf: ReturnType<typeof classificationOf> | undefined;
  return {
    columns: { label: 'VARCHAR', prediction: 'VARCHAR', score: 'DOUBLE', scores: PROBABILITIES, loss: 'DOUBLE', correct: 'BOOLEAN' },
    read,
    add(_, first, [logits]) {
      const label = labelIds[split.values('labels', first)![0]!]!;
      const { logs, scores, predicted } = classifiedLabel(logits!, { labels, calibration, group: group?.(rows.count) });
      const loss = -logs[label]!;
      rows.add([label, predicted, scores[predicted]!]);
      losses.add([loss]);
      if (keepsScores) probabilities.add(scores);
      metricsOf = undefined;
      return {
        label: labels[label]!,
        prediction: labels[predicted]!,
        score: rounded(scores[predicted]!),
        scores: byLabel(labels, scores),
        loss,
        correct: label === predicted,
      };
    },
    metrics(of) {
      metricsOf ??= classificationOf(classified(), metrics);
      return { loss: losses.sums(of)[0]! / (of?.length ?? rows.count), ...metricsOf(of) };
    },
    why: (metric, of) =>
      whyOfLabels(
        metric,
        { truth: rows.column(0, of), predicted: rows.column(1, of), ...(positive !== undefined && { positive }) },
        labels,
      ),
    strata: () => rows.column(0),
    report() {
      const all = classified();
      const matrix = confusionMatrix(all);
      const ranking = classRanking(all, metrics);
      const classes = Object.entries(classReport(labels, matrix)).map(([label, scores], k) => [label, { ...scores, ...ranking[k] }]);
      return {
        labels,
        ...(positive === undefined ? {} : { positive: labels[positive]! }),
        confusion_matrix: matrix,
        classes: Object.fromEntries(classes),
        calibration: { bins: reliabilityBins(all) },
      };
    },
    warnings() {
      const { truth, predicted } = classified();
      return allSame(predicted) && !allSame([...Array.from(predicted), ...Array.from(truth)])
        ? [`the model predicts the label "${labels[predicted[0]!]}" for every row`]
        : [];
    },
  };
}

function measureSets({ labels, metrics, split, labelIds, calibration, group }: Measuring): Measurement<Float32Array> {
  const truth = new PerExample(labels.length, Uint8Array);
  const predicted = new PerExample(labels.length, Uint8Array);
  const losses = new PerExample(1);
  const keepsScores = metrics.some((name) => MULTI_LABEL_PROBABILITY_METRICS.includes(name));
  const probabilities = new PerExample(labels.length);
  let metricsOf: ReturnType<typeof multiLabelOf> | undefined;
  const names = (flags: ArrayLike<number>) => labels.filter((_, k) => flags[k] === 1);
  const sets = () => ({ truth: truth.each(), predicted: predicted.each(), ...(keepsScores && { scores: probabilities.each() }) });
  return {
    columns: { label: 'VARCHAR[]', prediction: 'VARCHAR[]', scores: PROBABILITIES, loss: 'DOUBLE', correct: 'BOOLEAN' },
    read,
    add(_, first, [logits]) {
      const flags = new Uint8Array(labels.length);
      for (const [k, flag] of split.values('labels', first)!.entries()) if (flag === 1) flags[labelIds[k]!] = 1;
      let loss = 0;
      // −log σ(x) if the label applies, otherwise −log(1 − σ(x)), in the form that does not overflow.
      const { calibrated, scores, flags: given } = classifiedSet(logits!, { labels, calibration, group: group?.(losses.count) });
      for (let k = 0; k < labels.length; k++) {
        const x = calibrated[k]!;
        loss += (Math.max(x, 0) - x * flags[k]! + Math.log1p(Math.exp(-Math.abs(x)))) / labels.length;
      }
      truth.add(flags);
      predicted.add(given);
      losses.add([loss]);
      if (keepsScores) probabilities.add(scores);
      metricsOf = undefined;
      const correct = flags.every((flag, k) => flag === given[k]);
      return { label: names(flags), prediction: names(given), scores: byLabel(labels, scores), loss, correct };
    },
    metrics(of) {
      metricsOf ??= multiLabelOf(sets(), metrics);
      return { loss: losses.sums(of)[0]! / (of?.length ?? losses.count), ...metricsOf(of) };
    },
    why: (metric, of) => whyOfSets(metric, { truth, predicted, labels }, of),
    report: () => ({ labels, classes: labelReport(labels, sets(), metrics) }),
    warnings() {
      const [real, given] = [truth.each().map(String), predicted.each().map(String)];
      if (!allSame(given) || allSame([...given, ...real])) return [];
      const said = names(predicted.each()[0]!).map((label) => `"${label}"`);
      return [`the model predicts ${said.length > 0 ? `the labels ${said.join(', ')}` : 'no label at all'} for every row`];
    },
  };
}

function measureNumbers({ labels, metrics, split }: Measuring): Measurement<Float32Array> {
  const rows = new PerExample(2);
  let metricsOf: ReturnType<typeof regressionOf> | undefined;
  return {
    columns: { label: 'DOUBLE', prediction: 'DOUBLE', loss: 'DOUBLE' },
    read,
    add(_, first, [logits]) {
      const value = split.values('labels', first)![0]!;
      const predicted = logits![0]!;
      refuseNaN(predicted);
      rows.add([value, predicted]);
      metricsOf = undefined;
      return { label: rounded(value), prediction: rounded(predicted), loss: rounded((value - predicted) ** 2) };
    },
    metrics(of) {
      metricsOf ??= regressionOf(rows.column(0), rows.column(1), ['mse', ...metrics.filter((name) => name !== 'mse')]);
      const { mse, ...asked } = metricsOf(of);
      return { loss: mse!, ...Object.fromEntries(metrics.map((name) => [name, name === 'mse' ? mse! : asked[name]!])) };
    },
    why: (metric, of) => whyUncorrelated(metric, rows.column(0, of), rows.column(1, of)),
    report: () => ({ labels }),
  };
}

/** For two or more classes. */
const allSame = (values: ArrayLike<number | string>): boolean =>
  values.length > 1 && Array.from(values).every((value) => value === values[0]);

/* Baselines: the most frequent label, and a bag of words. */

interface Example {
  text: string;
  /** Its position among the labels. */
  label: number;
}

/** Fits on rows, and predicts the label of each text. */
type Method = (train: Example[], classes: number, texts: string[]) => number[];

const METHODS: Record<string, Method> = { majority, bag_of_words: bagOfWords };

async function baseline({ options, methods, read }: BaselineRequest): Promise<BaselineResult> {
  const columns = {
    id: 'id',
    text: options.text ?? 'text',
    ...(options.text_pair === undefined ? {} : { text_pair: options.text_pair }),
    label: options.label ?? 'label',
  };
  const labelled = async (split: string) => {
    const rows = await read(split, columns);
    const without = rows.filter(({ label }) => label === '').length;
    if (without > 0 && options.missing !== 'drop')
      throw new StepError(
        `${without} of ${rows.length} rows of the split ${split} have no label`,
        '`missing: drop` leaves such rows out.',
        ['label'],
      );
    return rows.filter(({ label }) => label !== '');
  };
  const train = await labelled('train');
  const test = await labelled(options.split);
  const labels = [...new Set(train.map((row) => String(row.label)))].sort();
  if (labels.length < 2)
    throw new StepError(
      `all rows of the training split have the same label, "${labels[0]}"`,
      'A classifier needs at least two labels to learn from.',
    );
  const unseen = test.find((row) => !labels.includes(String(row.label)));
  if (unseen)
    throw new StepError(
      `the label "${unseen.label}" occurs in the split ${options.split} but not in train`,
      'Use `stratify` in the split step.',
    );
  const names = metricNames('text-classification', 'single_label_classification', labels, options.metrics);
  const positive = positiveClass(labels, options.positive, names);

  const exampleOf = ({ text, text_pair, label }: (typeof train)[number]): Example => ({
    text: text_pair === undefined ? String(text) : `${text} ${text_pair}`,
    label: labels.indexOf(String(label)),
  });
  const examples = train.map(exampleOf);
  const measured = test.map(exampleOf);
  const texts = measured.map(({ text }) => text);
  const results = methods.map((name) => {
    const classified = {
      classes: labels.length,
      truth: measured.map(({ label }) => label),
      predicted: METHODS[name]!(examples, labels.length, texts),
      ...(positive === undefined ? {} : { positive }),
    };
    const matrix = confusionMatrix(classified);
    const report = { confusion_matrix: matrix, classes: { ...classReport(labels, matrix) } };
    return [name, { metrics: classificationOf(classified, names), report }] as const;
  });
  return {
    rows: test.length,
    ids: test.map(({ id }) => String(id)),
    strata: measured.map(({ label }) => label),
    about: { labels, ...(positive === undefined ? {} : { positive: labels[positive]! }) },
    methods: Object.fromEntries(results),
  };
}

function majority(train: Example[], classes: number, texts: string[]): number[] {
  const counts = new Array<number>(classes).fill(0);
  for (const { label } of train) counts[label]!++;
  const commonest = counts.indexOf(Math.max(...counts));
  return texts.map(() => commonest);
}
