/** Every metric equals scikit-learn's on stored classifications (test/golden/metrics.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  CLASSIFICATION,
  classificationMetrics,
  classificationOf,
  confusionMatrix,
  reliabilityBins,
} from '../../../../steps/ml/metrics/text-classification.ts';

const golden = JSON.parse(readFileSync(new URL('../../../golden/metrics.json', import.meta.url), 'utf8'));

describe.each<[number, any]>(golden.cases.map((c: any, i: number) => [i, c]))('case %i', (_, c) => {
  const classified = { ...c, positive: c.positive ?? undefined };

  test('confusion matrix', () => {
    expect(confusionMatrix(classified)).toEqual(c.confusion_matrix);
  });

  test.each(Object.entries(c.metrics as Record<string, number>))('%s', (name, value) => {
    expect(classificationMetrics(classified, [name])[name]).toBeCloseTo(value, 10);
  });
});

/** Some examples, some of them several times. */
const some = (count: number) => Int32Array.from({ length: count + 3 }, (_, i) => (i * i) % count);

test.each<[number, any]>(golden.cases.map((c: any, i: number) => [i, c]))('metrics of a sample of case %i', (_, c) => {
  const classified = { ...c, positive: c.positive ?? undefined };
  const names = Object.keys(c.metrics);
  const rows = some(c.truth.length);
  const pick = (values: unknown[]) => Array.from(rows, (row) => values[row]);
  const part = { ...classified, truth: pick(c.truth), predicted: pick(c.predicted), scores: pick(c.scores) };
  const [sampled, alone] = [classificationOf(classified, names)(rows), classificationMetrics(part, names)];
  for (const name of names) {
    if (Number.isNaN(alone[name])) expect(sampled[name]).toBeNaN();
    else expect(sampled[name]).toBeCloseTo(alone[name]!, 12);
  }
});

test('the rows of the bins are all rows, and their distances are the calibration error', () => {
  for (const c of golden.cases) {
    const bins = reliabilityBins(c);
    expect(bins).toHaveLength(15);
    expect(bins.reduce((sum, { rows }) => sum + rows, 0)).toBe(c.truth.length);
    for (const { from, to, rows, confidence, accuracy } of bins) {
      if (rows === 0) expect([confidence, accuracy]).toEqual([null, null]);
      else {
        expect(confidence).toBeGreaterThan(from);
        expect(confidence).toBeLessThanOrEqual(to + 1e-12);
      }
    }
    const error = bins.reduce((sum, { rows, confidence, accuracy }) => sum + rows * Math.abs(confidence! - accuracy!), 0);
    expect(error / c.truth.length).toBeCloseTo(c.metrics.ece, 10);
  }
});

test('a metric that ranks is undefined if all examples have the same label', () => {
  const c = {
    classes: 2,
    positive: 1,
    truth: [1, 1],
    predicted: [1, 0],
    scores: [
      [0.2, 0.8],
      [0.6, 0.4],
    ],
  };
  expect(classificationMetrics(c, ['roc_auc', 'average_precision'])).toEqual({ roc_auc: Number.NaN, average_precision: 1 });
  expect(classificationMetrics({ ...c, truth: [0, 0] }, ['average_precision'])).toEqual({ average_precision: Number.NaN });
});

test('every metric has a reference', () => {
  const held = new Set(golden.cases.flatMap((c: any) => Object.keys(c.metrics)));
  expect(Object.keys(CLASSIFICATION).filter((name) => !held.has(name))).toEqual([]);
});
