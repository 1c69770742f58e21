/**
 * Metrics of multi-label classification, with scikit-learn's names and definitions (zero_division = 0). Each example
 * has a flag for every label: 1 if it applies.
 */

import { type Counts, mean, ratio, type Scores, scoresOf, total } from './counts.ts';

export interface LabelSets {
  truth: ArrayLike<number>[];
  predicted: ArrayLike<number>[];
}

type Of = 'precision' | 'recall' | 'f1';

/** All metrics by name. */
export const METRICS: Record<string, (sets: LabelSets) => number> = {
  /** The share of examples whose flags are all correct. */
  accuracy: ({ truth, predicted }) => mean(truth.map((row, i) => (Array.from(row).every((flag, k) => flag === predicted[i]![k]) ? 1 : 0))),
  /** The share of flags that are wrong. */
  hamming_loss: ({ truth, predicted }) =>
    mean(truth.map((row, i) => mean(Array.from(row, (flag, k) => (flag === predicted[i]![k] ? 0 : 1))))),
  ...averages('precision'),
  ...averages('recall'),
  ...averages('f1'),
};

/** From 0 to 1. `names` are keys of METRICS. */
export function multiLabelMetrics(sets: LabelSets, names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, METRICS[name]!(sets)]));
}

/** For each label, by name. */
export function labelReport(labels: string[], sets: LabelSets): Record<string, Scores> {
  return Object.fromEntries(perLabel(sets).map((counts, k) => [labels[k]!, scoresOf(counts)]));
}

function averages(of: Of): Record<string, (sets: LabelSets) => number> {
  return {
    [`micro_${of}`]: (sets) => scoresOf(summed(perLabel(sets)))[of],
    [`macro_${of}`]: (sets) => mean(perLabel(sets).map((counts) => scoresOf(counts)[of])),
    [`weighted_${of}`]: (sets) => {
      const counts = perLabel(sets);
      return ratio(total(counts.map((one) => scoresOf(one)[of] * one.support)), summed(counts).support);
    },
    [`samples_${of}`]: ({ truth, predicted }) => mean(truth.map((row, i) => scoresOf(countsOf([row], [predicted[i]!]))[of])),
  };
}

function perLabel({ truth, predicted }: LabelSets): Counts[] {
  return Array.from(truth[0] ?? [], (_, k) =>
    countsOf(
      truth.map((row) => [row[k]!]),
      predicted.map((row) => [row[k]!]),
    ),
  );
}

function countsOf(truth: ArrayLike<number>[], predicted: ArrayLike<number>[]): Counts {
  const counts = { hits: 0, claimed: 0, support: 0 };
  for (const [i, row] of truth.entries()) {
    for (let k = 0; k < row.length; k++) {
      counts.support += row[k]!;
      counts.claimed += predicted[i]![k]!;
      counts.hits += row[k]! * predicted[i]![k]!;
    }
  }
  return counts;
}

const summed = (counts: Counts[]): Counts => ({
  hits: total(counts.map(({ hits }) => hits)),
  claimed: total(counts.map(({ claimed }) => claimed)),
  support: total(counts.map(({ support }) => support)),
});
