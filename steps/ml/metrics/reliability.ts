/** Whether probabilities mean what they say: reliability bins, and the expected calibration error (ece). */

import { total } from './counts.ts';

/** For each example its class, the predicted one, and the probability of the predicted one. */
interface Predicted {
  truth: ArrayLike<number>;
  predicted: ArrayLike<number>;
  confidence: ArrayLike<number>;
}

const BINS = 15;

/** Examples whose predicted class has a probability in (from, to]. `confidence`: their mean probability; null without examples. */
export type ReliabilityBin = { from: number; to: number; rows: number; confidence: number | null; accuracy: number | null };

/** Bins of equal width (Guo et al. 2017, arXiv:1706.04599). `rows`: the examples, default all. */
export function reliabilityBins({ truth, predicted, confidence }: Predicted, rows?: Int32Array): ReliabilityBin[] {
  const [counts, sums, right] = [new Int32Array(BINS), new Float64Array(BINS), new Int32Array(BINS)];
  for (let i = 0; i < (rows?.length ?? truth.length); i++) {
    const row = rows ? rows[i]! : i;
    const bin = Math.min(BINS - 1, Math.max(0, Math.ceil(confidence[row]! * BINS) - 1));
    counts[bin]!++;
    sums[bin]! += confidence[row]!;
    if (predicted[row] === truth[row]) right[bin]!++;
  }
  return Array.from(counts, (count, k) => ({
    from: k / BINS,
    to: (k + 1) / BINS,
    rows: count,
    confidence: count === 0 ? null : sums[k]! / count,
    accuracy: count === 0 ? null : right[k]! / count,
  }));
}

/** Expected calibration error: the mean distance of confidence and accuracy over the bins, weighted by their examples. */
export function calibrationError(examples: Predicted, rows?: Int32Array): number {
  const bins = reliabilityBins(examples, rows);
  const distances = bins.map((bin) => bin.rows * Math.abs((bin.accuracy ?? 0) - (bin.confidence ?? 0)));
  return total(distances) / total(bins.map((bin) => bin.rows));
}
