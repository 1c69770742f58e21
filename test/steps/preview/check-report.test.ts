/** Tables of the report of check. */
import { expect, test } from 'vitest';
import { checkTables } from '../../../steps/preview/check-report.ts';

const report = {
  rows: 3,
  splits: { train: 2, test: 1 },
  metrics: { missing: 1 / 3, 'missing.id': 0, too_long: null },
  undefined: { too_long: 'no limit' },
  limits: [{ name: 'missing', limit: '<= 0', value: 1 / 3, met: false }],
  problems: { missing: 3 },
  checks: { missing: { columns: { text: { missing: 1, empty: 0 } } }, labels: { why: 'no label' } },
  examples: { missing: [{ id: 'a', split: 'train', label: null, detail: 'text is missing', text: '' }] },
};

test('figures with limits and reasons, counts and examples', () => {
  const tables = checkTables(JSON.stringify(report), 10)!;
  expect(tables.map(({ title }) => title)).toEqual(['checks of 3 rows (train 2, test 1)', 'missing values', 'missing, 3 rows']);
  expect(tables[0]!.table!.rows).toEqual([
    ['missing', '0.3333', '<= 0', 'missed'],
    ['too_long', 'n/a', '', 'no limit'],
  ]);
  expect(tables[2]).toMatchObject({ table: { rows: [['a', '', 'text is missing', '']] }, rest: '+ 2 more rows' });
});

test.each(['', '[]', '{"metrics": {}}', '{"limits": []', 'text'])('%j is no report', (text) => {
  expect(checkTables(text, 10)).toBeUndefined();
});
