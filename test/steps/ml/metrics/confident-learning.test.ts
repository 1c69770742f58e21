/** Confident learning finds what cleanlab finds (test/golden/label-errors.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  confidentJoint,
  confidentThresholds,
  findLabelErrors,
  LABEL_ERROR_FILTERS,
  type LabelledProbabilities,
} from '../../../../steps/ml/metrics/confident-learning.ts';

const golden = JSON.parse(readFileSync(new URL('../../../golden/label-errors.json', import.meta.url), 'utf8'));
const cases = [...golden.cases, golden.texts].map((c: any) => [c.thresholds.length, c.labels.length, c] as const);

describe.each(cases)('%i classes, %i rows', (classes, _, c) => {
  const given: LabelledProbabilities = {
    labels: Int32Array.from(c.labels),
    probabilities: Float64Array.from(c.probabilities.flat()),
    classes,
  };

  test('thresholds and confident joint', () => {
    confidentThresholds(given).forEach((threshold, k) => {
      expect(threshold).toBeCloseTo(c.thresholds[k], 12);
    });
    const { counted, calibrated } = confidentJoint(given);
    expect(counted).toEqual(c.counted);
    expect(calibrated).toEqual(c.calibrated);
  });

  test.each(LABEL_ERROR_FILTERS)('%s', (filter) => {
    expect(findLabelErrors(given, filter)).toEqual(c.issues[filter]);
  });
});
