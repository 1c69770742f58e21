/**
 * Metrics of text-classification, with the names and definitions of scikit-learn (zero_division = 0) and SciPy: for one
 * label of several, for any number of labels, and for numbers.
 */

import { StepError } from '../../../engine/contract/step.ts';
import { type Counts, computed, mean, ratio, type Scores, scoresOf, total } from './counts.ts';

type Average = 'precision' | 'recall' | 'f1';

/* One label of several. Classes are numbers from 0 on. */

export interface Classified {
  classes: number;
  truth: ArrayLike<number>;
  predicted: ArrayLike<number>;
  /** Probabilities, one row per example: needed only by roc_auc, log_loss and ece. */
  scores?: ArrayLike<number>[];
  /** The positive class of two, for precision, recall, f1 and roc_auc; without it they are unavailable. */
  positive?: number;
}

type Metric = (c: Classified, matrix: number[][]) => number;

/** All metrics by name. */
export const CLASSIFICATION: Record<string, Metric> = {
  accuracy: (c, m) => total(m.map((row, k) => row[k]!)) / c.truth.length,
  balanced_accuracy: (_, m) => mean(perClass(m).flatMap(({ support, recall }) => (support > 0 ? [recall] : []))),
  precision: (c, m) => ofPositive(c, m, 'precision'),
  recall: (c, m) => ofPositive(c, m, 'recall'),
  f1: (c, m) => ofPositive(c, m, 'f1'),
  ...averages('precision'),
  ...averages('recall'),
  ...averages('f1'),
  mcc,
  roc_auc: rocAuc,
  log_loss: logLoss,
  ece,
};

/** Metrics that need two classes, one of them positive. */
export const BINARY_METRICS = ['precision', 'recall', 'f1'];

/** Metrics that need probabilities, `scores`. */
export const PROBABILITY_METRICS = ['roc_auc', 'log_loss', 'ece'];

/**
 * From 0 to 1, except mcc (−1 to 1) and log_loss (nats, from 0). `names` are keys of CLASSIFICATION: those of BINARY_METRICS
 * need `positive`, those of PROBABILITY_METRICS need `scores`.
 */
export const classificationMetrics = (c: Classified, names: readonly string[]): Record<string, number> =>
  computed(CLASSIFICATION, names, c, confusionMatrix(c));

/** Rows are true classes, columns predicted ones. */
export function confusionMatrix({ classes, truth, predicted }: Classified): number[][] {
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (let i = 0; i < truth.length; i++) matrix[truth[i]!]![predicted[i]!]!++;
  return matrix;
}

/** For each class by name, the predictions of its examples: the confusion matrix by names, without zeros. */
export function classReport(labels: string[], matrix: number[][]): Record<string, Scores & { predicted_as: Record<string, number> }> {
  return Object.fromEntries(
    perClass(matrix).map((scores, k) => {
      const predicted = labels.flatMap((label, j): [string, number][] => (matrix[k]![j]! > 0 ? [[label, matrix[k]![j]!]] : []));
      return [labels[k]!, { ...scores, predicted_as: Object.fromEntries(predicted) }];
    }),
  );
}

function perClass(matrix: number[][]): Scores[] {
  return matrix.map((row, k) => scoresOf({ hits: row[k]!, claimed: total(matrix.map((other) => other[k]!)), support: total(row) }));
}

function ofPositive({ positive }: Classified, matrix: number[][], of: Average): number {
  if (positive === undefined) throw new Error(`${of} needs a positive class`);
  return perClass(matrix)[positive]![of];
}

function averages(of: Average): Record<string, Metric> {
  return {
    [`macro_${of}`]: (_, m) => mean(present(m).map((s) => s[of])),
    [`weighted_${of}`]: (c, m) => total(perClass(m).map((s) => s[of] * s.support)) / c.truth.length,
    // Each false positive of a class is a false negative of another.
    [`micro_${of}`]: (c, m) => CLASSIFICATION.accuracy!(c, m),
  };
}

/** scikit-learn averages over the labels that occur in the truth or among the predictions. */
function present(matrix: number[][]): Scores[] {
  return perClass(matrix).filter((s, k) => s.support > 0 || matrix.some((row) => row[k]! > 0));
}

/** Matthews' correlation coefficient, for any number of classes (Gorodkin 2004). */
function mcc(c: Classified, m: number[][]): number {
  const n = c.truth.length;
  const hits = total(m.map((row, k) => row[k]!));
  const rows = m.map(total);
  const columns = m.map((_, k) => total(m.map((row) => row[k]!)));
  const dot = (a: number[], b: number[]) => total(a.map((x, k) => x * b[k]!));
  return ratio(hits * n - dot(rows, columns), Math.sqrt(n * n - dot(columns, columns)) * Math.sqrt(n * n - dot(rows, rows)));
}

/** For more than two classes the unweighted mean of one-vs-rest. NaN if a class has no example or no counter-example. */
function rocAuc(c: Classified): number {
  const scores = needScores(c, 'roc_auc');
  const classes = c.classes === 2 ? [c.positive ?? 1] : Array.from({ length: c.classes }, (_, k) => k);
  return mean(classes.map((k) => areaUnderRoc(c.truth, scores, k)));
}

/** The Mann-Whitney statistic with mid-ranks: a tie counts one half. */
function areaUnderRoc(truth: ArrayLike<number>, scores: ArrayLike<number>[], k: number): number {
  const order = scores.map((row, i) => ({ score: row[k]!, hit: truth[i] === k })).sort((a, b) => a.score - b.score);
  let ranks = 0;
  let hits = 0;
  for (let i = 0; i < order.length; ) {
    let end = i;
    while (end < order.length && order[end]!.score === order[i]!.score) end++;
    const here = order.slice(i, end).filter((e) => e.hit).length;
    ranks += (here * (i + 1 + end)) / 2;
    hits += here;
    i = end;
  }
  const misses = order.length - hits;
  return (ranks - (hits * (hits + 1)) / 2) / (hits * misses);
}

/** Mean cross-entropy in nats. As in scikit-learn, probabilities are clipped by float64's epsilon and normalized to sum to one. */
function logLoss(c: Classified): number {
  const losses = needScores(c, 'log_loss').map((row, i) => {
    const clipped = Array.from(row, (p) => Math.min(Math.max(p, Number.EPSILON), 1 - Number.EPSILON));
    return -Math.log(clipped[c.truth[i]!]! / total(clipped));
  });
  return mean(losses);
}

/** Expected calibration error of the predicted class over 15 equal bins (Guo et al. 2017, arXiv:1706.04599). */
function ece(c: Classified): number {
  const BINS = 15;
  const bins = Array.from({ length: BINS }, () => ({ n: 0, confidence: 0, right: 0 }));
  needScores(c, 'ece').forEach((row, i) => {
    const confidence = row[c.predicted[i]!]!;
    // Bins are open on the left: (k/15, (k+1)/15].
    const bin = bins[Math.min(BINS - 1, Math.max(0, Math.ceil(confidence * BINS) - 1))]!;
    bin.n++;
    bin.confidence += confidence;
    if (c.predicted[i] === c.truth[i]) bin.right++;
  });
  return total(bins.map((b) => Math.abs(b.right - b.confidence))) / c.truth.length;
}

function needScores(c: Classified, metric: string): ArrayLike<number>[] {
  if (!c.scores) throw new Error(`${metric} needs probabilities`);
  return c.scores;
}

/**
 * The class named `positive`, by default the last of two in sort order (numbers by value): models and baselines
 * may number their labels differently, but must mean the same class. Undefined with more than two labels. Throws,
 * before anything is computed, if a metric does not apply to these labels.
 */
export function positiveClass(labels: string[], positive: string | undefined, metrics: readonly string[]): number | undefined {
  const binary = binaryProblem(metrics, labels);
  if (binary) throw new StepError(binary.message, binary.hint, ['metrics']);
  const wrong = positive === undefined ? undefined : positiveProblem(positive, labels);
  if (wrong) throw new StepError(wrong.message, wrong.hint, ['positive']);
  return labels.length === 2 ? labels.indexOf(positive ?? labels.toSorted(inOrder)[1]!) : undefined;
}

/** The problem with a class that is named `positive`. */
export function positiveProblem(positive: string, labels: readonly string[]): { message: string; hint: string } | undefined {
  if (labels.length !== 2) return { message: `\`positive\` needs two labels, and there are ${labels.length}`, hint: 'Remove it.' };
  if (labels.includes(positive)) return undefined;
  return { message: `no label is "${positive}"`, hint: `The labels are ${labels.join(' and ')}.` };
}

/** The problem with metrics that need two labels, if there are not two. */
export function binaryProblem(metrics: readonly string[], labels: readonly string[]): { message: string; hint: string } | undefined {
  const binary = labels.length === 2 ? undefined : metrics.find((name) => BINARY_METRICS.includes(name));
  if (binary === undefined) return undefined;
  return { message: `${binary} needs two labels, and there are ${labels.length}`, hint: `Use macro_${binary} or weighted_${binary}.` };
}

function inOrder(a: string, b: string): number {
  const [x, y] = [a, b].map((label) => (label.trim() === '' ? Number.NaN : Number(label)));
  return Number.isNaN(x! + y!) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x! - y!;
}

/* Any number of labels: each example has a flag for every label, 1 if it applies. */

interface LabelSets {
  truth: ArrayLike<number>[];
  predicted: ArrayLike<number>[];
}

export const MULTI_LABEL: Record<string, (sets: LabelSets) => number> = {
  /** The share of examples whose flags are all correct. */
  accuracy: ({ truth, predicted }) => mean(truth.map((row, i) => (wrongFlags(row, predicted[i]!) === 0 ? 1 : 0))),
  /** The share of flags that are wrong. */
  hamming_loss: ({ truth, predicted }) => mean(truth.map((row, i) => wrongFlags(row, predicted[i]!) / row.length)),
  ...averagesOfLabels('precision'),
  ...averagesOfLabels('recall'),
  ...averagesOfLabels('f1'),
};

/** From 0 to 1. `names` are keys of MULTI_LABEL. */
export const multiLabelMetrics = (sets: LabelSets, names: readonly string[]): Record<string, number> => computed(MULTI_LABEL, names, sets);

/** For each label, by name. */
export function labelReport(labels: string[], sets: LabelSets): Record<string, Scores> {
  return Object.fromEntries(perLabel(sets).map((counts, k) => [labels[k]!, scoresOf(counts)]));
}

function averagesOfLabels(of: Average): Record<string, (sets: LabelSets) => number> {
  return {
    [`micro_${of}`]: (sets) => scoresOf(summed(perLabel(sets)))[of],
    [`macro_${of}`]: (sets) => mean(perLabel(sets).map((counts) => scoresOf(counts)[of])),
    [`weighted_${of}`]: (sets) => {
      const counts = perLabel(sets);
      return ratio(total(counts.map((one) => scoresOf(one)[of] * one.support)), summed(counts).support);
    },
    [`samples_${of}`]: ({ truth, predicted }) => mean(truth.map((row, i) => scoresOf(countsOf(row, predicted[i]!))[of])),
  };
}

function perLabel({ truth, predicted }: LabelSets): Counts[] {
  const counts = Array.from(truth[0] ?? [], () => ({ hits: 0, claimed: 0, support: 0 }));
  for (let i = 0; i < truth.length; i++) {
    const [row, flags] = [truth[i]!, predicted[i]!];
    for (let k = 0; k < counts.length; k++) count(counts[k]!, row[k]!, flags[k]!);
  }
  return counts;
}

/** Of one example. */
function countsOf(row: ArrayLike<number>, flags: ArrayLike<number>): Counts {
  const counts = { hits: 0, claimed: 0, support: 0 };
  for (let k = 0; k < row.length; k++) count(counts, row[k]!, flags[k]!);
  return counts;
}

function count(counts: Counts, truth: number, predicted: number): void {
  counts.support += truth;
  counts.claimed += predicted;
  counts.hits += truth * predicted;
}

function wrongFlags(row: ArrayLike<number>, flags: ArrayLike<number>): number {
  let wrong = 0;
  for (let k = 0; k < row.length; k++) if (row[k] !== flags[k]) wrong++;
  return wrong;
}

const summed = (counts: Counts[]): Counts => ({
  hits: total(counts.map(({ hits }) => hits)),
  claimed: total(counts.map(({ claimed }) => claimed)),
  support: total(counts.map(({ support }) => support)),
});

/* Numbers. */

type Distance = (truth: number[], predicted: number[]) => number;

export const REGRESSION: Record<string, Distance> = {
  mse: (truth, predicted) => mean(truth.map((t, i) => (t - predicted[i]!) ** 2)),
  rmse: (truth, predicted) => Math.sqrt(REGRESSION.mse!(truth, predicted)),
  mae: (truth, predicted) => mean(truth.map((t, i) => Math.abs(t - predicted[i]!))),
  /** The explained share of the variance; without variance, 1 if all predictions are correct, otherwise 0. NaN for a single example. */
  r2(truth, predicted) {
    if (truth.length < 2) return Number.NaN;
    const centre = mean(truth);
    const variance = mean(truth.map((t) => (t - centre) ** 2));
    const error = REGRESSION.mse!(truth, predicted);
    return variance === 0 ? Number(error === 0) : 1 - error / variance;
  },
  pearson,
  /** Pearson's correlation of the ranks; equal numbers get the mean of their ranks. */
  spearman: (truth, predicted) => pearson(ranks(truth), ranks(predicted)),
};

/** In the unit of the numbers (mae, rmse), its square (mse), or without unit; NaN if undefined. `names` are keys of REGRESSION. */
export const regressionMetrics = (truth: number[], predicted: number[], names: readonly string[]): Record<string, number> =>
  computed(REGRESSION, names, truth, predicted);

/** NaN if one of them is constant. */
function pearson(a: number[], b: number[]): number {
  const [centreA, centreB] = [mean(a), mean(b)];
  const product = (x: number[], cx: number, y: number[], cy: number) => mean(x.map((value, i) => (value - cx) * (y[i]! - cy)));
  const spread = Math.sqrt(product(a, centreA, a, centreA) * product(b, centreB, b, centreB));
  return spread === 0 ? Number.NaN : Math.max(-1, Math.min(1, product(a, centreA, b, centreB) / spread));
}

function ranks(values: number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const ranks = new Array<number>(values.length);
  for (let i = 0; i < order.length; ) {
    let end = i;
    while (end < order.length && values[order[end]!] === values[order[i]!]) end++;
    for (const place of order.slice(i, end)) ranks[place] = (i + 1 + end) / 2;
    i = end;
  }
  return ranks;
}
