/** Fairness against fairlearn (test/golden/fairness.py), and intervals of shares against statsmodels (test/golden/proportions.py). */
import { expect, test } from 'vitest';
import { extremeGroups, fairnessMetrics, ratesOf } from '../../../../steps/ml/metrics/fairness.ts';
import { meansInterval, newcombeInterval, wilsonInterval } from '../../../../steps/ml/metrics/proportions.ts';
import fairness from '../../../golden/fairness.json' with { type: 'json' };
import proportions from '../../../golden/proportions.json' with { type: 'json' };

test.each(fairness.map((stored, i) => ({ i, ...stored })))('fairness between groups is that of fairlearn, case $i', (stored) => {
  const { truth, predicted, group, by_group, metrics } = stored;
  const rates = Object.entries(by_group as Record<string, any>).map(([name, stored]) => {
    const own = group.flatMap((one, i) => (one === name ? [i] : []));
    const count = (of: (i: number) => boolean) => own.filter(of).length;
    const rates = ratesOf({
      rows: own.length,
      positives: count((i) => truth[i] === 1),
      selected: count((i) => predicted[i] === 1),
      hits: count((i) => truth[i] === 1 && predicted[i] === 1),
    });
    for (const [rate, value] of Object.entries(rates)) expect(value, rate).toBeCloseTo(stored[rate]!, 12);
    return rates;
  });
  for (const [name, value] of Object.entries(fairnessMetrics(rates))) expect(value, name).toBeCloseTo((metrics as any)[name], 12);
});

test('groups that alone have the smallest or the largest rate', () => {
  expect(extremeGroups([0.5, 0.2, 0.9, 0.3])).toEqual([1, 2]);
  expect(extremeGroups([0.2, 0.2, 0.9])).toEqual([2]);
  expect(extremeGroups([0.2, 0.2])).toEqual([]);
  expect(extremeGroups([0.2, Number.NaN, 0.9, Number.NaN])).toEqual([1, 3]);
});

test('the number of groups is not limited', () => {
  const groups = Array.from({ length: 300_000 }, (_, i) =>
    ratesOf({ rows: 4, positives: 2, selected: i === 7 ? 4 : 2, hits: i === 7 ? 2 : 1 }),
  );
  expect(fairnessMetrics(groups)).toMatchObject({ demographic_parity_difference: 0.5, equalized_odds_ratio: 0.5 });
  expect(extremeGroups(groups.map((rates) => rates.selection_rate))).toEqual([7]);
});

test('a rate without rows is undefined, and so are the figures that need it', () => {
  const [none, some] = [
    { rows: 4, positives: 0, selected: 1, hits: 0 },
    { rows: 4, positives: 2, selected: 2, hits: 1 },
  ].map(ratesOf);
  expect(none).toEqual({ selection_rate: 0.25, true_positive_rate: Number.NaN, false_positive_rate: 0.25, accuracy: 0.75 });
  expect(fairnessMetrics([none!, some!])).toEqual({
    demographic_parity_difference: 0.25,
    demographic_parity_ratio: 0.5,
    equalized_odds_difference: Number.NaN,
    equalized_odds_ratio: Number.NaN,
  });
});

const close = (interval: { low: number; high: number }, stored: { low: number; high: number }) => {
  expect(interval.low).toBeCloseTo(stored.low, 10);
  expect(interval.high).toBeCloseTo(stored.high, 10);
};

test.each(proportions.shares)('intervals of $one.hits of $one.rows, and of the difference from $other.hits of $other.rows', (stored) => {
  close(wilsonInterval(stored.one, stored.level), stored.wilson);
  close(newcombeInterval(stored.one, stored.other, stored.level), stored.newcombe);
});

test.each(proportions.means)('the interval of the difference between two means, at the level $level', ({ one, other, level, interval }) => {
  const sample = (values: number[]) => ({
    rows: values.length,
    sum: values.reduce((sum, value) => sum + value, 0),
    squares: values.reduce((sum, value) => sum + value ** 2, 0),
  });
  close(meansInterval(sample(one), sample(other), level), interval);
});
