/** Metrics of regression, as defined by scikit-learn and SciPy, and the perplexity of language models. */

import { mean } from './counts.ts';

type Metric = (truth: number[], predicted: number[]) => number;

/** All metrics by name. */
export const METRICS: Record<string, Metric> = {
  mse: (truth, predicted) => mean(truth.map((t, i) => (t - predicted[i]!) ** 2)),
  rmse: (truth, predicted) => Math.sqrt(METRICS.mse!(truth, predicted)),
  mae: (truth, predicted) => mean(truth.map((t, i) => Math.abs(t - predicted[i]!))),
  /**
   * The share of the variance that is explained; without variance, 1 if all predictions are correct, otherwise 0. NaN
   * for a single example.
   */
  r2(truth, predicted) {
    if (truth.length < 2) return Number.NaN;
    const centre = mean(truth);
    const variance = mean(truth.map((t) => (t - centre) ** 2));
    const error = METRICS.mse!(truth, predicted);
    return variance === 0 ? Number(error === 0) : 1 - error / variance;
  },
  pearson,
  /** Pearson's correlation of the ranks; equal numbers get the mean of their ranks. */
  spearman: (truth, predicted) => pearson(ranks(truth), ranks(predicted)),
};

/**
 * In the unit of the numbers (mae, rmse), in its square (mse), or without unit; NaN if a metric is undefined. `names`
 * are keys of METRICS.
 */
export function regressionMetrics(truth: number[], predicted: number[], names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, METRICS[name]!(truth, predicted)]));
}

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

/** The perplexity of a language model: the exponential of the mean loss per token, in nats, over all predicted tokens. */
export interface Perplexity {
  /** The summed loss of `tokens` tokens. */
  add(loss: number, tokens: number): void;
  /** The mean loss per token. */
  loss(): number;
  value(): number;
}

/** Weighted by tokens: a short block counts less than a full one. */
export function perplexity(): Perplexity {
  let [sum, count] = [0, 0];
  return {
    add(loss, tokens) {
      sum += loss;
      count += tokens;
    },
    loss: () => sum / count,
    value: () => Math.exp(sum / count),
  };
}
