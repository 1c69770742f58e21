/** Label errors in texts equal those of scikit-learn's bag of words and cleanlab (test/golden/label-errors.py). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { bagOfWordsProbabilities } from '../../../steps/ml/bag-of-words.ts';
import { findLabelErrors } from '../../../steps/ml/metrics/confident-learning.ts';

const { texts: golden } = JSON.parse(readFileSync(new URL('../../golden/label-errors.json', import.meta.url), 'utf8'));

test('out-of-fold probabilities and the label errors that follow from them', () => {
  const rows = golden.texts.map((text: string, i: number) => ({ text, label: golden.labels[i], fold: golden.folds[i] }));
  const probabilities = new Float64Array(rows.length * 3);
  for (let fold = 0; fold < 4; fold++) {
    const predict = bagOfWordsProbabilities(
      rows.filter((row: any) => row.fold !== fold),
      3,
    );
    rows.forEach((row: any, i: number) => {
      if (row.fold === fold) probabilities.set(predict(row.text), i * 3);
    });
  }
  const expected: number[] = golden.probabilities.flat();
  expect(Math.max(...expected.map((p, i) => Math.abs(p - probabilities[i]!)))).toBeLessThan(1e-4);
  const given = { labels: Int32Array.from(golden.labels as number[]), probabilities, classes: 3 };
  expect(findLabelErrors(given)).toEqual(golden.issues.prune_by_noise_rate);
});
