/** Label errors in texts equal those of scikit-learn's bag of words and cleanlab (test/golden/label-errors.py). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { outOfFoldProbabilities, WordCounts } from '../../../steps/ml/bag-of-words.ts';
import { findLabelErrors } from '../../../steps/ml/metrics/confident-learning.ts';

const { texts: golden } = JSON.parse(readFileSync(new URL('../../golden/label-errors.json', import.meta.url), 'utf8'));

test('out-of-fold probabilities and the label errors that follow from them', async () => {
  const counts = new WordCounts();
  for (const text of golden.texts) counts.add(text);
  const labels = Int32Array.from(golden.labels as number[]);
  const models: number[] = [];
  const probabilities = await outOfFoldProbabilities(counts, labels, {
    fold: Int32Array.from(golden.folds as number[]),
    folds: 4,
    classes: 3,
    fitted: async (count) => void models.push(count),
  });
  expect(models).toEqual([1, 2, 3, 4]);
  const expected: number[] = golden.probabilities.flat();
  expect(Math.max(...expected.map((p, i) => Math.abs(p - probabilities[i]!)))).toBeLessThan(1e-4);
  const given = { labels, probabilities, classes: 3 };
  expect(findLabelErrors(given)).toEqual(golden.issues.prune_by_noise_rate);
});
