import { expect, test } from 'vitest';
import { positiveClass } from '../../../../steps/ml/metrics/text-classification.ts';

test.each([
  [['bad', 'good'], 1],
  [['good', 'bad'], 0],
  [['0', '1'], 1],
  [['10', '9'], 0],
  [['Spam', 'ham'], 1],
  [['-1', '1'], 1],
  [['', '1'], 1],
])('the positive label of %j is the last in sort order, however a model numbers them', (labels, place) => {
  expect(positiveClass(labels, undefined, ['f1'])).toBe(place);
  expect(positiveClass(labels, labels[0], ['f1'])).toBe(0);
});
