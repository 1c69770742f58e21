/** Every metric equals scikit-learn's on stored classifications (test/golden/metrics.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { entityMetrics } from '../../../../steps/ml/metrics/entities.ts';
import { multiLabelMetrics, multiLabelOf } from '../../../../steps/ml/metrics/multi-label.ts';
import { reliabilityBins } from '../../../../steps/ml/metrics/reliability.ts';
import {
  CLASSIFICATION,
  classificationMetrics,
  classificationOf,
  confusionMatrix,
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
    const bins = reliabilityBins({ ...c, confidence: c.scores.map((row: number[], i: number) => row[c.predicted[i]]) });
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

describe('instead of 0, the value is undefined', () => {
  const of = (truth: number[], predicted: number[]) =>
    classificationMetrics({ classes: 2, positive: 1, truth, predicted }, [
      'precision',
      'recall',
      'f1',
      'mcc',
      'balanced_accuracy',
      'accuracy',
    ]);

  test.each([[[0, 0]], [[0, 1]]])('without a positive row, and with one label only (predicted: %j)', (predicted) => {
    const nothing = Number.NaN;
    const expected = { precision: nothing, recall: nothing, f1: nothing, mcc: nothing, balanced_accuracy: nothing };
    expect(of([0, 0], predicted)).toMatchObject(expected);
  });

  test('if no row is predicted positive: precision alone; recall, F1 and MCC are 0', () => {
    expect(of([0, 1], [0, 0])).toEqual({ precision: Number.NaN, recall: 0, f1: 0, mcc: 0, balanced_accuracy: 0.5, accuracy: 0.5 });
  });

  test('if all rows are positive: only what compares labels', () => {
    expect(of([1, 1], [1, 0])).toMatchObject({ precision: 1, recall: 0.5, mcc: Number.NaN, balanced_accuracy: Number.NaN });
  });

  test('with several labels per text and none of them true', () => {
    const names = ['micro_f1', 'macro_recall', 'weighted_precision', 'samples_f1', 'accuracy'];
    const sets = {
      truth: [
        [0, 0],
        [0, 1],
      ],
      predicted: [
        [0, 0],
        [0, 1],
      ],
    };
    const nothing = Number.NaN;
    expect(multiLabelOf(sets, names)(Int32Array.of(0))).toEqual({
      micro_f1: nothing,
      macro_recall: nothing,
      weighted_precision: nothing,
      samples_f1: nothing,
      accuracy: 1,
    });
    const unclaimed = { truth: [[0, 1]], predicted: [[0, 0]] };
    expect(multiLabelMetrics(unclaimed, ['micro_precision', 'micro_f1'])).toEqual({ micro_precision: nothing, micro_f1: 0 });
  });

  test('without a true entity', () => {
    const names = ['precision', 'recall', 'f1', 'macro_f1', 'accuracy'];
    const nothing = { precision: Number.NaN, recall: Number.NaN, f1: Number.NaN, macro_f1: Number.NaN };
    expect(entityMetrics({ truth: [['O', 'O']], predicted: [['O', 'O']] }, names)).toEqual({ ...nothing, accuracy: 1 });
    expect(entityMetrics({ truth: [['O', 'O']], predicted: [['O', 'B-PER']] }, names)).toMatchObject(nothing);
    expect(entityMetrics({ truth: [['B-PER']], predicted: [['O']] }, names)).toMatchObject({ precision: Number.NaN, recall: 0, f1: 0 });
  });
});

test('every metric has a reference', () => {
  const held = new Set(golden.cases.flatMap((c: any) => Object.keys(c.metrics)));
  expect(CLASSIFICATION.filter((name) => !held.has(name))).toEqual([]);
});
