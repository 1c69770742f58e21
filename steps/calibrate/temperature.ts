/**
 * Temperature scaling (Guo et al. 2017, arXiv:1706.04599): the number that all logits are divided by so that the negative
 * log-likelihood of the labels is lowest.
 */

import { logSoftmax } from '../ml/tasks/task.ts';

/** The logits of some examples, row by row, and what is true. */
export interface Scored {
  logits: Float32Array;
  /** The number of logits of an example. */
  width: number;
  /** One label of several: its index, for each example. Any number of labels: a flag for each logit. */
  truth: Uint8Array | Int32Array;
  /** Each logit stands for itself: any number of labels. */
  independent: boolean;
}

/** The temperature, or the reason why there is none. */
type Fitted = { temperature: number } | { none: string };

/**
 * The loss is convex in the inverse temperature, so its slope has at most one zero: Newton's method finds it, and a narrower
 * interval takes over wherever Newton's method would leave it.
 */
export function fitTemperature(scored: Scored): Fitted {
  if (slopeAt(0, scored).slope >= 0)
    return { none: 'the scores say nothing about the labels: the loss is lowest if all labels have the same score' };
  if (separates(scored)) return { none: 'the scores separate the labels completely: the loss falls without end as the temperature falls' };
  let low = 0;
  let high = 1;
  while (slopeAt(high, scored).slope < 0) [low, high] = [high, 10 * high];
  let inverse = high;
  for (let i = 0; i < 200; i++) {
    const { slope, curvature } = slopeAt(inverse, scored);
    if (slope === 0) break;
    if (slope > 0) high = inverse;
    else low = inverse;
    const newton = inverse - slope / curvature;
    const next = newton > low && newton < high ? newton : low > 0 ? Math.sqrt(low * high) : high / 10;
    const done = Math.abs(next - inverse) <= 1e-13 * inverse;
    inverse = next;
    if (done) break;
  }
  return { temperature: 1 / inverse };
}

/** Whether no label has a higher score than the true one. */
function separates({ logits, width, truth, independent }: Scored): boolean {
  if (independent) return logits.every((logit, i) => (truth[i] === 1 ? logit >= 0 : logit <= 0));
  return truth.every((label, row) =>
    logits.subarray(row * width, (row + 1) * width).every((logit) => logit <= logits[row * width + label]!),
  );
}

/** The first and the second derivative of the loss by the inverse temperature, as sums over all examples. */
function slopeAt(inverse: number, { logits, width, truth, independent }: Scored): { slope: number; curvature: number } {
  let slope = 0;
  let curvature = 0;
  if (independent) {
    for (const [i, logit] of logits.entries()) {
      const score = 1 / (1 + Math.exp(-inverse * logit));
      slope += (score - truth[i]!) * logit;
      curvature += score * (1 - score) * logit * logit;
    }
    return { slope, curvature };
  }
  for (let from = 0, row = 0; from < logits.length; from += width, row++) {
    let highest = Number.NEGATIVE_INFINITY;
    for (let k = from; k < from + width; k++) highest = Math.max(highest, logits[k]!);
    let [sum, first, second] = [0, 0, 0];
    for (let k = from; k < from + width; k++) {
      // Relative to the highest logit, so that nothing overflows and small differences count.
      const logit = logits[k]! - highest;
      const weight = Math.exp(inverse * logit);
      sum += weight;
      first += weight * logit;
      second += weight * logit * logit;
    }
    const mean = first / sum;
    slope += mean - (logits[from + truth[row]!]! - highest);
    curvature += Math.max(0, second / sum - mean * mean);
  }
  return { slope, curvature };
}

/** The probability for each logit, row by row. */
export function probabilitiesOf({ logits, width, independent }: Scored, temperature: number): Float64Array {
  const probabilities = Float64Array.from(logits, (logit) => logit / temperature);
  if (independent) return probabilities.map((logit) => 1 / (1 + Math.exp(-logit)));
  for (let from = 0; from < probabilities.length; from += width)
    probabilities.set(logSoftmax(probabilities.subarray(from, from + width)).map(Math.exp), from);
  return probabilities;
}
