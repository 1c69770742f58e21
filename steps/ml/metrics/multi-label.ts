/**
 * Metrics of text-classification with any number of labels for each text, with the names and definitions of scikit-learn
 * (zero_division = 0). Each example has a flag for every label, 1 if it applies. Precision, recall and F1 of examples
 * without any true label are NaN instead of scikit-learn's 0.
 */

import { type Counts, mean, meanOver, ratio, scoresAlone, scoresOf, total } from './counts.ts';
import { LabelFlags } from './label-flags.ts';
import { isRanked, RANKED, Ranking, timesOf } from './ranking.ts';

type Average = 'precision' | 'recall' | 'f1';

export interface LabelSets {
  truth: ArrayLike<number>[];
  predicted: ArrayLike<number>[];
  /** Probabilities: needed only by MULTI_LABEL_PROBABILITY_METRICS. */
  scores?: ArrayLike<number>[];
}

type MeanOf = (truth: ArrayLike<number>, predicted: ArrayLike<number>) => number;

/** Means of a value of each example. */
const MEANS: Record<string, MeanOf> = {
  /** The share of examples whose flags are all correct. */
  accuracy: (truth, predicted) => (wrongFlags(truth, predicted) === 0 ? 1 : 0),
  /** The share of flags that are wrong. */
  hamming_loss: (truth, predicted) => wrongFlags(truth, predicted) / truth.length,
  samples_precision: (truth, predicted) => scoresOf(countsOf(truth, predicted)).precision,
  samples_recall: (truth, predicted) => scoresOf(countsOf(truth, predicted)).recall,
  samples_f1: (truth, predicted) => scoresOf(countsOf(truth, predicted)).f1,
};

/** The same, from the probabilities instead of the predictions: the mean over the labels of scikit-learn's metric of two classes. */
const MEANS_OF_SCORES: Record<string, MeanOf> = {
  log_loss: (truth, scores) => meanOver(truth.length, (k) => -Math.log(probabilityOf(truth[k]!, scores[k]!))),
  brier_score: (truth, scores) => meanOver(truth.length, (k) => (scores[k]! - truth[k]!) ** 2),
};

/** Of the flag that is true. As in scikit-learn, probabilities are clipped by float64's epsilon and normalized to sum to one. */
export function probabilityOf(flag: number, score: number): number {
  const [yes, no] = [score, 1 - score].map((p) => Math.min(Math.max(p, Number.EPSILON), 1 - Number.EPSILON)) as [number, number];
  return (flag === 1 ? yes : no) / (yes + no);
}

/** From the counts of each label. */
const COUNTED: Record<string, (labels: Counts[]) => number> = { ...averages('precision'), ...averages('recall'), ...averages('f1') };

/** Metrics that say nothing about examples without any true label. */
const needsTrueLabels = (name: string): boolean => COUNTED[name] !== undefined || name.startsWith('samples_');

/** The names of all metrics. */
export const MULTI_LABEL: readonly string[] = [...[MEANS, COUNTED, RANKED, MEANS_OF_SCORES].flatMap((metrics) => Object.keys(metrics))];

/** Metrics that need probabilities, `scores`. */
export const MULTI_LABEL_PROBABILITY_METRICS: readonly string[] = [...Object.keys(RANKED), ...Object.keys(MEANS_OF_SCORES)];

/** From 0 to 1, except log_loss (nats, from 0). `names` are in MULTI_LABEL. */
export const multiLabelMetrics = (sets: LabelSets, names: readonly string[]): Record<string, number> => multiLabelOf(sets, names)();

/** The metrics of any of these examples, by their positions, which may repeat. What does not depend on them is computed once. */
export function multiLabelOf(sets: LabelSets, names: readonly string[]): (rows?: Int32Array) => Record<string, number> {
  const { truth, predicted } = sets;
  const count = truth.length;
  const values = new Map(
    names.flatMap((name) => {
      const of = MEANS[name] ?? MEANS_OF_SCORES[name];
      const given = MEANS[name] ? predicted : of && needScores(sets);
      return of ? [[name, Float64Array.from(truth, (flags, i) => of(flags, given![i]!))] as const] : [];
    }),
  );
  const flags = names.some(needsTrueLabels) ? flagsOf(sets) : undefined;
  const ranked = names.some(isRanked) ? rankings(sets) : [];
  return (rows) => {
    const labels = flags?.counts(rows);
    const unlabelled = labels !== undefined && summed(labels).support === 0;
    const times = rows && ranked.length > 0 ? timesOf(rows, count) : undefined;
    return Object.fromEntries(
      names.map((name) => {
        const own = values.get(name);
        if (unlabelled && needsTrueLabels(name)) return [name, Number.NaN];
        if (own) return [name, rows ? meanOver(rows.length, (i) => own[rows[i]!]!) : meanOver(count, (i) => own[i]!)];
        if (isRanked(name)) return [name, mean(ranked.map((ranking) => RANKED[name](ranking, times)))];
        return [name, COUNTED[name]!(labels!)];
      }),
    );
  };
}

/** For each label, by name; `names`: those of RANKED are added, and null if they are undefined. */
export function labelReport(
  labels: string[],
  sets: LabelSets,
  names: readonly string[],
): Record<string, ReturnType<typeof scoresAlone> & Record<string, number | null>> {
  const ranked = names.some(isRanked) ? rankings(sets) : [];
  const counts = flagsOf(sets).counts();
  return Object.fromEntries(
    labels.map((label, k) => {
      const values = names.filter(isRanked).map((name) => [name, RANKED[name](ranked[k]!)] as const);
      return [
        label,
        { ...scoresAlone(counts[k]!), ...Object.fromEntries(values.map(([name, value]) => [name, Number.isNaN(value) ? null : value])) },
      ];
    }),
  );
}

function needScores({ scores }: LabelSets): ArrayLike<number>[] {
  if (!scores) throw new Error('the metric needs probabilities');
  return scores;
}

/** Of each label. The unweighted mean counts; NaN if a label applies to no example (roc_auc: or to all). */
function rankings(sets: LabelSets): Ranking[] {
  const { truth } = sets;
  const scores = needScores(sets);
  return Array.from(
    truth[0] ?? [],
    (_, k) =>
      new Ranking(
        Float64Array.from(scores, (row) => row[k]!),
        (i) => truth[i]![k] === 1,
      ),
  );
}

function averages(of: Average): Record<string, (labels: Counts[]) => number> {
  return {
    [`micro_${of}`](labels) {
      const all = summed(labels);
      return of === 'precision' && all.claimed === 0 ? Number.NaN : scoresOf(all)[of];
    },
    [`macro_${of}`]: (labels) => mean(labels.map((counts) => scoresOf(counts)[of])),
    [`weighted_${of}`]: (labels) => ratio(total(labels.map((counts) => scoresOf(counts)[of] * counts.support)), summed(labels).support),
  };
}

function wrongFlags(truth: ArrayLike<number>, predicted: ArrayLike<number>): number {
  let wrong = 0;
  for (let k = 0; k < truth.length; k++) if (truth[k] !== predicted[k]) wrong++;
  return wrong;
}

function countsOf(truth: ArrayLike<number>, predicted: ArrayLike<number>): Counts {
  const counts = { hits: 0, claimed: 0, support: 0 };
  for (let k = 0; k < truth.length; k++) {
    counts.support += truth[k]!;
    counts.claimed += predicted[k]!;
    counts.hits += truth[k]! * predicted[k]!;
  }
  return counts;
}

const summed = (counts: Counts[]): Counts => ({
  hits: total(counts.map(({ hits }) => hits)),
  claimed: total(counts.map(({ claimed }) => claimed)),
  support: total(counts.map(({ support }) => support)),
});

function flagsOf({ truth, predicted }: LabelSets): LabelFlags {
  const flags = new LabelFlags(truth[0]?.length ?? 0);
  truth.forEach((own, i) => {
    for (let k = 0; k < own.length; k++) flags.add(k, own[k] === 1, predicted[i]![k] === 1);
    flags.end();
  });
  return flags;
}
