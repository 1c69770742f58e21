/** The reason of an undefined metric is what is the case in the data. */
import { expect, test } from 'vitest';
import { classificationMetrics, regressionMetrics, whyOfLabels } from '../../../../steps/ml/metrics/text-classification.ts';
import { whyUncorrelated } from '../../../../steps/ml/metrics/undefined-metrics.ts';
import { openScorer } from '../../../../steps/ml/tasks/scorer.ts';

test.each<[metric: string, labels: string[], truth: number[], why: string]>([
  ['roc_auc', ['ham', 'spam'], [1, 1], 'every row has the label spam'],
  ['roc_auc', ['ham', 'spam'], [0, 0], 'no row has the label spam'],
  ['average_precision', ['ham', 'spam'], [0, 0], 'no row has the label spam'],
  ['roc_auc', ['a', 'b', 'c', 'd'], [0, 1, 0], 'no row has the label c, d'],
  ['roc_auc', ['a', 'b', 'c'], [1, 1, 1], 'every row has the label b'],
  ['average_precision', ['a', 'b', 'c'], [1, 1, 1], 'no row has the label a, c'],
  ['f1', ['ham', 'spam'], [0, 0], 'no row has the label spam'],
  ['mcc', ['a', 'b', 'c'], [2, 2], 'every row has the label c'],
])('%s of %j with %j: %s', (metric, labels, truth, why) => {
  const scores = truth.map(() => labels.map((_, k) => (k + 1) / 10));
  const classified = { classes: labels.length, positive: 1, truth, predicted: truth, scores };
  expect(classificationMetrics(classified, [metric])[metric]).toBeNaN();
  expect(whyOfLabels(metric, { truth, predicted: truth, ...(labels.length === 2 && { positive: 1 }) }, labels)).toBe(why);
});

test.each<[metric: string, truth: number[], predicted: number[], why: string]>([
  ['pearson', [2, 2], [1, 3], 'all true values are 2'],
  ['spearman', [1, 2, 3], [0.5, 0.5, 0.5], 'all predictions are 0.5'],
  ['pearson', [2, 2], [1, 1], 'all true values are 2, and all predictions are 1'],
  // The mean of these values is rounded, so each differs from it. SciPy: nan.
  ['pearson', [1, 2, 3], [0.1, 0.1, 0.1], 'all predictions are 0.1'],
  ['spearman', [0.1, 0.1, 0.1], [3, 1, 2], 'all true values are 0.1'],
  ['r2', [2], [2], 'there is only one row'],
])('%s of %j and %j: %s', (metric, truth, predicted, why) => {
  expect(regressionMetrics(truth, predicted, [metric])[metric]).toBeNaN();
  expect(whyUncorrelated(metric, truth, predicted)).toBe(why);
});

test('r2 of equal numbers, from which their rounded mean differs', () => {
  const same = [0.1, 0.1, 0.1];
  expect(regressionMetrics(same, [0.1, 0.2, 0.1], ['r2'])).toEqual({ r2: 0 });
  expect(regressionMetrics(same, same, ['r2'])).toEqual({ r2: 1 });
});

test('precision without a positive prediction', () => {
  const classified = { classes: 2, positive: 1, truth: [0, 1], predicted: [0, 0] };
  expect(classificationMetrics(classified, ['precision']).precision).toBeNaN();
  expect(whyOfLabels('precision', classified, ['ham', 'spam'])).toBe('no row is predicted spam');
});

test('entities', () => {
  const reasonOf = (truth: string, predicted: string) => {
    const scorer = openScorer({
      task: 'token-classification',
      problem: 'single_label_classification',
      labels: ['B-A', 'O'],
      metrics: ['precision'],
    });
    scorer.add([truth], { tags: [predicted] });
    return [scorer.metrics().precision, scorer.why!('precision')];
  };
  expect(reasonOf('O', 'B-A')).toEqual([Number.NaN, 'no row has an entity']);
  expect(reasonOf('B-A', 'O')).toEqual([Number.NaN, 'no entity is predicted']);
});

test('several labels per text', () => {
  const scorer = openScorer({
    task: 'text-classification',
    problem: 'multi_label_classification',
    labels: ['a', 'b', 'c'],
    metrics: ['roc_auc', 'log_loss'],
  });
  for (const truth of [['a'], ['a', 'b']]) scorer.add(truth, { labels: [], scores: { a: 0.5, b: 0.25, c: 0.75 } });
  expect(scorer.metrics().roc_auc).toBeNaN();
  expect(scorer.metrics().log_loss).toBeCloseTo((2 * Math.log(2) - Math.log(0.75) - Math.log(0.25) - 2 * Math.log(0.25)) / 6, 12);
  expect(scorer.why!('roc_auc')).toBe('every row has the label a');
  expect(scorer.why!('average_precision')).toBe('no row has the label c');
  expect(scorer.why!('log_loss')).toBeUndefined();
});
