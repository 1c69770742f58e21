/** ROC and precision–recall curves, as scikit-learn computes them, and the area below a curve. */

export interface Curves {
  /** Points [false positive rate, true positive rate], from [0, 0] to [1, 1]. */
  roc: [x: number, y: number][];
  /** Points [recall, precision] for each threshold, from the highest one. */
  precisionRecall: [x: number, y: number][];
  rocAuc: number;
  averagePrecision: number;
}

/** `truth`: 1 for the positive label. Undefined if there are no positive or no negative rows, or if scores are not numbers. */
export function curvesOf(truth: ArrayLike<number>, scores: ArrayLike<number>): Curves | undefined {
  const order = Array.from({ length: truth.length }, (_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
  let positives = 0;
  for (let i = 0; i < truth.length; i++) {
    if (Number.isNaN(scores[i]!)) return undefined;
    positives += truth[i]!;
  }
  const negatives = truth.length - positives;
  if (positives === 0 || negatives === 0) return undefined;
  const roc: Curves['roc'] = [[0, 0]];
  const precisionRecall: Curves['precisionRecall'] = [];
  let [hits, area, averagePrecision] = [0, 0, 0];
  for (let i = 0; i < order.length; ) {
    const score = scores[order[i]!]!;
    // All rows with the same score are on the same side of a threshold.
    while (i < order.length && scores[order[i]!] === score) hits += truth[order[i++]!]!;
    const [x, y] = [(i - hits) / negatives, hits / positives];
    const [x0, y0] = roc.at(-1)!;
    area += ((x - x0) * (y + y0)) / 2;
    roc.push([x, y]);
    const precision = hits / i;
    averagePrecision += (y - y0) * precision;
    precisionRecall.push([y, precision]);
  }
  return { roc, precisionRecall, rocAuc: area, averagePrecision };
}

/** At most `most` points of a curve, with its first and last one. */
export function thinned<T>(points: readonly T[], most: number): T[] {
  if (points.length <= most) return [...points];
  return Array.from({ length: most }, (_, i) => points[Math.round((i * (points.length - 1)) / (most - 1))]!);
}
