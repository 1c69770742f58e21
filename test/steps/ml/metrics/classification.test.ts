/** Every metric equals scikit-learn's on stored classifications (test/golden/metrics.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CLASSIFICATION, classificationMetrics, confusionMatrix } from '../../../../steps/ml/metrics/text-classification.ts';

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

test('every metric has a reference', () => {
  const held = new Set(golden.cases.flatMap((c: any) => Object.keys(c.metrics)));
  expect(Object.keys(CLASSIFICATION).filter((name) => !held.has(name))).toEqual([]);
});
