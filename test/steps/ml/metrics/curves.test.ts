/** ROC and precision–recall curves against scikit-learn's: test/golden/curves.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { curvesOf, thinned } from '../../../../steps/ml/metrics/curves.ts';

const cases = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/curves.json'), 'utf8'));

test.each(cases as Record<string, any>[])('points and areas equal those of scikit-learn ($scores.length rows)', (stored) => {
  const { roc, precisionRecall, rocAuc, averagePrecision } = curvesOf(stored.truth, stored.scores)!;
  for (const [ours, theirs] of [
    [roc, stored.roc],
    [precisionRecall, stored.precision_recall],
  ] as [number[][], number[][]][]) {
    expect(ours.length).toBe(theirs.length);
    for (const [i, [x, y]] of ours.entries()) {
      expect(x).toBeCloseTo(theirs[i]![0]!, 10);
      expect(y).toBeCloseTo(theirs[i]![1]!, 10);
    }
  }
  expect(rocAuc).toBeCloseTo(stored.roc_auc, 10);
  expect(averagePrecision).toBeCloseTo(stored.average_precision, 10);
});

test('one label only, no rows, and scores that are not numbers have no curve', () => {
  expect(curvesOf([1, 1], [0.1, 0.2])).toBeUndefined();
  expect(curvesOf([0, 0], [0.1, 0.2])).toBeUndefined();
  expect(curvesOf([], [])).toBeUndefined();
  expect(curvesOf([0, 1], [0.1, Number.NaN])).toBeUndefined();
});

test('a thinned curve keeps its ends', () => {
  expect(thinned([1, 2, 3, 4, 5, 6, 7], 3)).toEqual([1, 4, 7]);
  expect(thinned([1, 2], 3)).toEqual([1, 2]);
});
