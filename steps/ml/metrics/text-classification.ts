/**
 * Metrics of text-classification, with the names and definitions of scikit-learn (zero_division = 0) and SciPy: for one
 * label of several, and for numbers. A metric of rows that it says nothing about, such as F1 without a positive row, is
 * NaN instead of scikit-learn's 0. Those for any number of labels are in multi-label.ts.
 */

import { type Json, StepError } from '../../../engine/contract/step.ts';
import { type Counts, mean, meanOver, picked, ratio, scoresAlone, scoresOf, total } from './counts.ts';
import { isRanked, RANKED, Ranking, timesOf } from './ranking.ts';
import { calibrationError } from './reliability.ts';
import { whyUnranked } from './undefined-metrics.ts';

type Average = 'precision' | 'recall' | 'f1';

/* One label of several. Classes are numbers from 0 on. */

export interface Classified {
  classes: number;
  truth: ArrayLike<number>;
  predicted: ArrayLike<number>;
  /** Probabilities, one row per example: needed only by PROBABILITY_METRICS. */
  scores?: ArrayLike<number>[];
  /** The probability of the predicted class, for `ece`. Default: from `scores`. */
  confidence?: ArrayLike<number>;
  /** The positive class of two, for precision, recall, f1, roc_auc and average_precision; without it they are unavailable. */
  positive?: number;
}

/** From the counts of each class; `positive` is one of two. */
type OfCounts = (counts: Counts[], positive: number | undefined) => number;

const COUNTED: Record<string, OfCounts> = {
  accuracy,
  balanced_accuracy: (counts) => ofSeveral(counts, () => mean(counts.filter(occurs).map((own) => scoresOf(own).recall))),
  precision: (counts, positive) => ofPositive(counts, positive, 'precision'),
  recall: (counts, positive) => ofPositive(counts, positive, 'recall'),
  f1: (counts, positive) => ofPositive(counts, positive, 'f1'),
  ...averages('precision'),
  ...averages('recall'),
  ...averages('f1'),
  mcc: (counts) => ofSeveral(counts, () => mcc(counts)),
};

/** Means of a value of each example. */
const MEANS: Record<string, (c: Classified, example: number) => number> = {
  log_loss: crossEntropy,
  brier_score: squaredError,
  top_3_accuracy: (c, example) => amongBest(c, example, 3),
  top_5_accuracy: (c, example) => amongBest(c, example, 5),
};

/** The names of all metrics. */
export const CLASSIFICATION: readonly string[] = [...[COUNTED, RANKED, MEANS].flatMap((metrics) => Object.keys(metrics)), 'ece'];

/** Metrics that need two classes, one of them positive. */
export const BINARY_METRICS = ['precision', 'recall', 'f1'];

/** Metrics that depend on which of two classes is positive. */
export const POSITIVE_METRICS = [...BINARY_METRICS, ...Object.keys(RANKED)];

/** Metrics that need probabilities, `scores`. */
export const PROBABILITY_METRICS = [...Object.keys(RANKED), ...Object.keys(MEANS), 'ece'];

/** Metrics that need more classes than this. */
const TOP: Record<string, number> = { top_3_accuracy: 3, top_5_accuracy: 5 };

/**
 * From 0 to 1, except mcc (−1 to 1), log_loss (nats, from 0) and brier_score (up to 2 for more than two classes); NaN if undefined.
 * `names` are in CLASSIFICATION: those of BINARY_METRICS need `positive`, those of PROBABILITY_METRICS need `scores`.
 */
export const classificationMetrics = (c: Classified, names: readonly string[]): Record<string, number> => classificationOf(c, names)();

/** The metrics of any of these examples, by their positions, which may repeat. What does not depend on them is computed once. */
export function classificationOf(c: Classified, names: readonly string[]): (rows?: Int32Array) => Record<string, number> {
  const count = c.truth.length;
  const values = new Map(
    names.flatMap((name) => {
      const of = MEANS[name];
      return of ? [[name, Float64Array.from({ length: count }, (_, i) => of(c, i))] as const] : [];
    }),
  );
  const ranked = names.some(isRanked) ? rankings(c) : [];
  const confidence = names.includes('ece') ? confidenceOf(c) : [];
  const countsOf = counter(c);
  return (rows) => {
    const counts = countsOf(rows);
    const times = rows && ranked.length > 0 ? timesOf(rows, count) : undefined;
    return Object.fromEntries(
      names.map((name) => {
        const own = values.get(name);
        if (own) return [name, rows ? meanOver(rows.length, (i) => own[rows[i]!]!) : meanOver(count, (i) => own[i]!)];
        if (isRanked(name)) return [name, mean(ranked.map((ranking) => RANKED[name](ranking, times)))];
        return [name, name === 'ece' ? calibrationError({ ...c, confidence }, rows) : COUNTED[name]!(counts, c.positive)];
      }),
    );
  };
}

/** A metric that the counts of two classes determine; class 1 is positive. */
export const ofTwoClasses = (name: string, counts: [Counts, Counts]): number => COUNTED[name]!(counts, 1);

/**
 * The counts of each class, for any of these examples. Examples with the same two classes are one kind, and a sample only counts
 * kinds: intervals need thousands of samples.
 */
function counter({ classes, truth, predicted }: Classified): (rows?: Int32Array) => Counts[] {
  const kinds = new Map<number, number>();
  const kindOf = Int32Array.from({ length: truth.length }, (_, i) => {
    const pair = truth[i]! * classes + predicted[i]!;
    if (!kinds.has(pair)) kinds.set(pair, kinds.size);
    return kinds.get(pair)!;
  });
  return (rows) => {
    const times = new Int32Array(kinds.size);
    for (let i = 0; i < (rows?.length ?? kindOf.length); i++) times[kindOf[rows ? rows[i]! : i]!]!++;
    const counts = Array.from({ length: classes }, (): Counts => ({ hits: 0, claimed: 0, support: 0 }));
    for (const [pair, kind] of kinds) {
      const [real, claimed] = [Math.floor(pair / classes), pair % classes];
      counts[real]!.support += times[kind]!;
      counts[claimed]!.claimed += times[kind]!;
      if (real === claimed) counts[real]!.hits += times[kind]!;
    }
    return counts;
  };
}

/** Rows are true classes, columns predicted ones. */
export function confusionMatrix({ classes, truth, predicted }: Classified): number[][] {
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < truth.length; i++) matrix[truth[i]!]![predicted[i]!]!++;
  return matrix;
}

/** Of a class: `roc_auc` and `average_precision` against all others, if they were requested. */
type ClassScores = ReturnType<typeof scoresAlone> & { predicted_as: Record<string, number>; [metric: string]: Json };

/** For each class by name, the predictions of its examples: the confusion matrix by names, without zeros. */
export function classReport(labels: string[], matrix: number[][]): Record<string, ClassScores> {
  return Object.fromEntries(
    countsIn(matrix).map((counts, k) => {
      const predicted = labels.flatMap((label, j): [string, number][] => (matrix[k]![j]! > 0 ? [[label, matrix[k]![j]!]] : []));
      return [labels[k]!, { ...scoresAlone(counts), predicted_as: Object.fromEntries(predicted) }];
    }),
  );
}

/** For each class, those of these metrics that rank examples; null if one is undefined. */
export function classRanking(c: Classified, names: readonly string[]): Record<string, number | null>[] {
  const wanted = names.filter(isRanked);
  return Array.from({ length: c.classes }, (_, k) => {
    if (wanted.length === 0) return {};
    const ranking = rankingOf(c, k);
    return Object.fromEntries(wanted.map((name) => [name, definedOrNull(RANKED[name](ranking))]));
  });
}

const definedOrNull = (value: number): number | null => (Number.isNaN(value) ? null : value);

const countsIn = (matrix: number[][]): Counts[] =>
  matrix.map((row, k) => ({ hits: row[k]!, claimed: total(matrix.map((other) => other[k]!)), support: total(row) }));

const occurs = ({ support }: Counts): boolean => support > 0;

const rowsIn = (counts: Counts[]): number => total(counts.map(({ support }) => support));

const hitsIn = (counts: Counts[]): number => total(counts.map(({ hits }) => hits));

function accuracy(counts: Counts[]): number {
  return hitsIn(counts) / rowsIn(counts);
}

function ofPositive(counts: Counts[], positive: number | undefined, of: Average): number {
  if (positive === undefined) throw new Error(`${of} needs a positive class`);
  const own = counts[positive]!;
  return own.support === 0 || (of === 'precision' && own.claimed === 0) ? Number.NaN : scoresOf(own)[of];
}

/** NaN if all true classes are the same: any prediction of it alone would be perfect, or no better than chance. */
const ofSeveral = (counts: Counts[], value: () => number): number => (counts.filter(occurs).length < 2 ? Number.NaN : value());

function averages(of: Average): Record<string, OfCounts> {
  return {
    // scikit-learn averages over the labels that occur in the truth or among the predictions.
    [`macro_${of}`]: (counts) => mean(counts.filter(({ support, claimed }) => support + claimed > 0).map((own) => scoresOf(own)[of])),
    [`weighted_${of}`]: (counts) => total(counts.map((own) => scoresOf(own)[of] * own.support)) / rowsIn(counts),
    // Each false positive of a class is a false negative of another.
    [`micro_${of}`]: accuracy,
  };
}

/** Matthews' correlation coefficient, for any number of classes (Gorodkin 2004). */
function mcc(counts: Counts[]): number {
  const rows = rowsIn(counts);
  const sumOf = (value: (own: Counts) => number) => total(counts.map(value));
  const [both, real, predicted] = [
    sumOf(({ claimed, support }) => claimed * support),
    sumOf(({ support }) => support ** 2),
    sumOf(({ claimed }) => claimed ** 2),
  ];
  return ratio(hitsIn(counts) * rows - both, Math.sqrt(rows * rows - predicted) * Math.sqrt(rows * rows - real));
}

/** Of one class against all others: with two classes of the positive one, with more of all classes, whose unweighted mean counts. */
function rankings(c: Classified): Ranking[] {
  const classes = c.classes === 2 ? [c.positive ?? 1] : Array.from({ length: c.classes }, (_, k) => k);
  return classes.map((k) => rankingOf(c, k));
}

/** Why a metric is undefined on these examples. `labels`: the names of the classes. */
export function whyOfLabels(
  metric: string,
  { truth, predicted, positive }: Pick<Classified, 'truth' | 'predicted' | 'positive'>,
  labels: readonly string[],
): string | undefined {
  const counts = new Array<number>(labels.length).fill(0);
  for (let i = 0; i < truth.length; i++) counts[truth[i]!]!++;
  const only = counts.indexOf(truth.length);
  if (['mcc', 'balanced_accuracy'].includes(metric) && only >= 0) return `every row has the label ${labels[only]}`;
  if (BINARY_METRICS.includes(metric) && positive !== undefined) {
    if (counts[positive] === 0) return `no row has the label ${labels[positive]}`;
    return metric === 'precision' && !Array.from(predicted).includes(positive) ? `no row is predicted ${labels[positive]}` : undefined;
  }
  const ranked = labels.length === 2 ? [positive ?? 1] : labels.map((_, k) => k);
  return whyUnranked(metric, { labels: ranked.map((k) => labels[k]!), counts: ranked.map((k) => counts[k]!), examples: truth.length });
}

function rankingOf(c: Classified, k: number): Ranking {
  const scores = needScores(c);
  return new Ranking(
    Float64Array.from(scores, (row) => row[k]!),
    (i) => c.truth[i] === k,
  );
}

/** In nats. As in scikit-learn, probabilities are clipped by float64's epsilon and normalized to sum to one. */
function crossEntropy(c: Classified, example: number): number {
  const clipped = Array.from(needScores(c)[example]!, (p) => Math.min(Math.max(p, Number.EPSILON), 1 - Number.EPSILON));
  return -Math.log(clipped[c.truth[example]!]! / total(clipped));
}

/** Summed over the classes. As in scikit-learn (`scale_by_half="auto"`), half of it for two classes. */
function squaredError(c: Classified, example: number): number {
  let sum = 0;
  const scores = needScores(c)[example]!;
  for (let k = 0; k < scores.length; k++) sum += (scores[k]! - (c.truth[example] === k ? 1 : 0)) ** 2;
  return c.classes === 2 ? sum / 2 : sum;
}

/** 1 if the true class is among the `most` best ones. Of equal scores the later class is better, as in scikit-learn. */
function amongBest(c: Classified, example: number, most: number): number {
  const scores = needScores(c)[example]!;
  const truth = c.truth[example]!;
  let better = 0;
  for (let k = 0; k < scores.length; k++) if (scores[k]! > scores[truth]! || (scores[k] === scores[truth] && k > truth)) better++;
  return better < most ? 1 : 0;
}

const confidenceOf = (c: Classified): ArrayLike<number> =>
  c.confidence ?? Float64Array.from(needScores(c), (row, i) => row[c.predicted[i]!]!);

function needScores(c: Classified): ArrayLike<number>[] {
  if (!c.scores) throw new Error('the metric needs probabilities');
  return c.scores;
}

/**
 * The class named `positive`, by default the last of two in sort order (numbers by value): models and baselines
 * may number their labels differently, but must mean the same class. Undefined with more than two labels. Throws,
 * before anything is computed, if a metric does not apply to these labels. For messages: `option` has the metrics, `beside` is the
 * path of the option `positive` without its name, and `note` is added to the hint about metrics.
 */
export function positiveClass(
  labels: string[],
  positive: string | undefined,
  metrics: readonly string[],
  { option = ['metrics'], beside = [], note = '' }: { option?: string[]; beside?: string[]; note?: string } = {},
): number | undefined {
  const binary = binaryProblem(metrics, labels);
  if (binary) throw new StepError(binary.message, `${binary.hint}${note}`, option);
  const wrong = positive === undefined ? undefined : positiveProblem(positive, labels);
  if (wrong) throw new StepError(wrong.message, wrong.hint, [...beside, 'positive']);
  return labels.length === 2 ? labels.indexOf(positive ?? labels.toSorted(inOrder)[1]!) : undefined;
}

/** The problem with a class that is named `positive`. */
export function positiveProblem(positive: string, labels: readonly string[]): { message: string; hint: string } | undefined {
  if (labels.length !== 2) return { message: `\`positive\` needs two labels, and there are ${labels.length}`, hint: 'Remove it.' };
  if (labels.includes(positive)) return undefined;
  return { message: `no label is "${positive}"`, hint: `The labels are ${labels.join(' and ')}.` };
}

/** The problem with metrics that need two labels, or more than some number, if there are others. */
export function binaryProblem(metrics: readonly string[], labels: readonly string[]): { message: string; hint: string } | undefined {
  const top = metrics.find((name) => (TOP[name] ?? 0) >= labels.length);
  if (top !== undefined)
    return {
      message: `${top} needs more than ${TOP[top]} labels, and there are ${labels.length}`,
      hint: 'It would always be 1. Use accuracy.',
    };
  const binary = labels.length === 2 ? undefined : metrics.find((name) => BINARY_METRICS.includes(name));
  if (binary === undefined) return undefined;
  return { message: `${binary} needs two labels, and there are ${labels.length}`, hint: `Use macro_${binary} or weighted_${binary}.` };
}

function inOrder(a: string, b: string): number {
  const [x, y] = [a, b].map((label) => (label.trim() === '' ? Number.NaN : Number(label)));
  return Number.isNaN(x! + y!) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x! - y!;
}

/* Numbers. */

type Distance = (truth: Float64Array, predicted: Float64Array) => number;

export const REGRESSION: Record<string, Distance> = {
  mse: (truth, predicted) => meanOver(truth.length, (i) => (truth[i]! - predicted[i]!) ** 2),
  rmse: (truth, predicted) => Math.sqrt(REGRESSION.mse!(truth, predicted)),
  mae: (truth, predicted) => meanOver(truth.length, (i) => Math.abs(truth[i]! - predicted[i]!)),
  /** The explained share of the variance; without variance, 1 if all predictions are correct, otherwise 0. NaN for a single example. */
  r2(truth, predicted) {
    if (truth.length < 2) return Number.NaN;
    const error = REGRESSION.mse!(truth, predicted);
    if (isConstant(truth)) return Number(error === 0);
    const centre = meanOver(truth.length, (i) => truth[i]!);
    const variance = meanOver(truth.length, (i) => (truth[i]! - centre) ** 2);
    return 1 - error / variance;
  },
  pearson,
  /** Pearson's correlation of the ranks; equal numbers get the mean of their ranks. */
  spearman: (truth, predicted) => pearson(ranks(codesOf(truth)), ranks(codesOf(predicted))),
};

/** In the unit of the numbers (mae, rmse), its square (mse), or without unit; NaN if undefined. `names` are keys of REGRESSION. */
export const regressionMetrics = (
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  names: readonly string[],
): Record<string, number> => regressionOf(truth, predicted, names)();

/** The metrics of any of these examples, by their positions, which may repeat. Numbers are sorted only once. */
export function regressionOf(
  truth: ArrayLike<number>,
  predicted: ArrayLike<number>,
  names: readonly string[],
): (rows?: Int32Array) => Record<string, number> {
  const all = [Float64Array.from(truth), Float64Array.from(predicted)] as const;
  const codes = names.includes('spearman') ? all.map(codesOf) : [];
  return (rows) => {
    const [real, claimed] = rows ? all.map((values) => picked(values, rows)) : all;
    const spearman = () => pearson(ranks(codes[0]!, rows), ranks(codes[1]!, rows));
    return Object.fromEntries(names.map((name) => [name, name === 'spearman' ? spearman() : REGRESSION[name]!(real!, claimed!)]));
  };
}

/** Whether all values are the same. The variance of such values may be above 0, because their mean is rounded. */
const isConstant = (values: Float64Array): boolean => values.every((value) => value === values[0]);

/** NaN if one of them is constant. */
function pearson(a: Float64Array, b: Float64Array): number {
  if (isConstant(a) || isConstant(b)) return Number.NaN;
  const [centreA, centreB] = [a, b].map((values) => meanOver(values.length, (i) => values[i]!)) as [number, number];
  const product = (x: Float64Array, cx: number, y: Float64Array, cy: number) => meanOver(x.length, (i) => (x[i]! - cx) * (y[i]! - cy));
  const spread = Math.sqrt(product(a, centreA, a, centreA) * product(b, centreB, b, centreB));
  return spread === 0 ? Number.NaN : Math.max(-1, Math.min(1, product(a, centreA, b, centreB) / spread));
}

/** For each number how many different ones are smaller. */
interface Codes {
  codes: Int32Array;
  different: number;
}

function codesOf(values: Float64Array): Codes {
  const sorted = values.slice().sort();
  const places = new Map<number, number>();
  for (const value of sorted) if (!places.has(value)) places.set(value, places.size);
  return { codes: Int32Array.from(values, (value) => places.get(value)!), different: places.size };
}

/** The rank of each of these examples among them; equal numbers get the mean of their ranks. */
function ranks({ codes, different }: Codes, rows?: Int32Array): Float64Array {
  const own = rows ? Int32Array.from(picked(codes, rows)) : codes;
  const counts = timesOf(own, different);
  const middle = new Float64Array(different);
  let below = 0;
  for (let code = 0; code < different; code++) {
    middle[code] = below + (counts[code]! + 1) / 2;
    below += counts[code]!;
  }
  return picked(middle, own);
}
