/** Why a metric is undefined on some examples, in words. */

import type { Task } from '../models/config.ts';
import { listed } from '../models/json.ts';
import type { PerExample } from './per-example.ts';

/**
 * Why a metric has no value, for a value that is not a finite number. `found`: what is the case in the data, as a measurement tells;
 * without it, what may be the case.
 */
export function whyUndefined(metric: string, value: number, task: Task, found?: string): string {
  if (!Number.isNaN(value)) return 'it is too large for a number';
  if (found !== undefined) return found;
  if (task === 'token-classification' && metric !== 'accuracy') return without('no entity is true', 'no entity is predicted', metric);
  if (/^(micro|macro|weighted|samples)_/.test(metric)) return without('no row has a label', 'no label is predicted', metric);
  return UNDEFINED[metric] ?? 'no example has anything to count for it';
}

/** Precision needs predictions, too. */
const without = (truth: string, predicted: string, metric: string): string =>
  metric.endsWith('precision') ? `${truth}, or ${predicted}` : truth;

const NO_POSITIVE = 'no row has the positive label';

const SAME_LABEL = 'all rows have the same label';

const UNDEFINED: Record<string, string> = {
  precision: without(NO_POSITIVE, 'none is predicted to have it', 'precision'),
  recall: NO_POSITIVE,
  f1: NO_POSITIVE,
  mcc: SAME_LABEL,
  balanced_accuracy: SAME_LABEL,
  roc_auc: 'it needs at least one example of every label, and one without it',
  average_precision: 'it needs at least one example of every label',
  r2: 'it needs at least two examples',
  pearson: 'all true values, or all predictions, are the same',
  spearman: 'all true values, or all predictions, are the same',
  perplexity: 'no token is to be predicted',
  accuracy: 'no token is to be predicted',
};

/* What is the case for the labels and predictions of the examples. */

interface LabelCounts {
  /** The labels that are ranked, each against all others. */
  labels: readonly string[];
  /** How many examples have each of these labels. */
  counts: readonly number[];
  examples: number;
}

/** For roc_auc, which needs examples with and without each label, and for average_precision, which needs examples with it. */
export function whyUnranked(metric: string, { labels, counts, examples }: LabelCounts): string | undefined {
  const having = (count: number) => labels.filter((_, k) => counts[k] === count);
  if (metric === 'roc_auc' && having(examples).length > 0) return `every row has the label ${listed(having(examples))}`;
  const none = having(0);
  return ['roc_auc', 'average_precision'].includes(metric) && none.length > 0 ? `no row has the label ${listed(none)}` : undefined;
}

/** With any number of labels per text: for each example, a flag for each label. */
export function whyOfSets(
  metric: string,
  { truth, predicted, labels }: { truth: PerExample; predicted: PerExample; labels: readonly string[] },
  rows?: Int32Array,
): string | undefined {
  const counts = [...truth.sums(rows)];
  if (!/^(micro|macro|weighted|samples)_/.test(metric))
    return whyUnranked(metric, { labels, counts, examples: rows?.length ?? truth.count });
  if (counts.every((count) => count === 0)) return 'no row has a label';
  return metric === 'micro_precision' && predicted.sums(rows).every((count) => count === 0) ? 'no label is predicted' : undefined;
}

/** For r2, which needs two examples, and for correlations, which need different values. */
export function whyUncorrelated(metric: string, truth: ArrayLike<number>, predicted: ArrayLike<number>): string | undefined {
  if (truth.length < 2) return truth.length === 0 ? 'there is no row' : 'there is only one row';
  if (metric !== 'pearson' && metric !== 'spearman') return undefined;
  const constant = [
    ['true values', truth],
    ['predictions', predicted],
  ] as const;
  const same = constant.filter(([, values]) => Array.from(values).every((value) => value === values[0]));
  return same.length === 0
    ? undefined
    : `all ${same.map(([name, values]) => `${name} are ${Number(values[0]!.toPrecision(6))}`).join(', and all ')}`;
}
