/** What `tunesmith show` prints has a reason for every figure that is undefined or has no interval. */
import { expect, test } from 'vitest';
import { baselineTable } from '../../../steps/preview/baselines.ts';
import { subgroupTables } from '../../../steps/preview/subgroups.ts';

test('baselines', () => {
  const { lines } = baselineTable({
    split: 'test',
    rows: 9,
    undefined: { 'majority.mcc': 'one label', 'majority.f1.lower': 'constant', 'majority.f1.upper': 'constant' },
    methods: { majority: { metrics: { f1: 0.5, mcc: null } } },
  });
  expect(lines).toEqual(['majority.mcc is undefined: one label', 'no interval of majority.f1: constant']);
});

test('slices and groups', () => {
  const slice = { slice: 'web', rows: 9, metrics: { f1: 0.5, mcc: null, roc_auc: null }, gap: 0 };
  const reasons = { mcc: 'one class', roc_auc: 'one class', 'f1.lower': 'constant', 'f1.upper': 'constant' };
  const rates = { selection_rate: 0.5, true_positive_rate: null, false_positive_rate: 0.5, accuracy: 0.5 };
  const metrics = {
    demographic_parity_difference: 0,
    demographic_parity_ratio: 1,
    equalized_odds_difference: 0,
    equalized_odds_ratio: 1,
  };
  const tables = subgroupTables(
    {
      slices: { source: { by: 'column source', metric: 'f1', min_rows: 5, gap: 0, slices: [{ ...slice, undefined: reasons }] } },
      fairness: {
        group: ['source'],
        metrics,
        labels: {
          good: {
            metrics,
            groups: [{ group: 'web', rows: 9, positives: 0, ...rates, undefined: { true_positive_rate: 'no row is positive' } }],
          },
        },
      },
    },
    10,
  );
  expect(tables.map(({ lines }) => lines)).toEqual([
    ['mcc, roc_auc of web are undefined: one class', 'web: no interval of f1: constant'],
    [],
    ['true positive rate of web is undefined: no row is positive'],
  ]);
});
