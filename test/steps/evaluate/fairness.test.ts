/** Fairness of rows with several labels, or one of more than two. */
import { expect, test } from 'vitest';
import { measureFairness } from '../../../steps/evaluate/fairness.ts';
import { Database } from '../../../steps/ml/data/database.ts';

/** `rows`: group, label and prediction. */
async function measured(rows: [string | null, string[], string[]][], problem: 'single' | 'multi', positive?: string) {
  const database = await Database.open();
  const one = problem === 'single';
  const sql = (labels: string[]) => (one ? `'${labels[0]}'` : `[${labels.map((label) => `'${label}'`).join(', ')}]::VARCHAR[]`);
  try {
    const values = rows.map(
      ([group, label, prediction]) => `(${group === null ? 'NULL' : `'${group}'`}, ${sql(label)}, ${sql(prediction)})`,
    );
    await database.run(`CREATE TABLE made AS SELECT * FROM (VALUES ${values.join(', ')}) AS made ("group", label, prediction)`);
    const predictions = {
      database,
      table: 'made',
      columns: await database.columns('made'),
      withData: true,
      text: 'text',
      tokens: async () => new Float64Array(),
    };
    return await measureFairness({ group: 'group', ...(positive && { positive }) }, predictions, {
      task: 'text-classification',
      problem: one ? 'single_label_classification' : 'multi_label_classification',
      labels: ['x', 'y', 'z'],
      positive: undefined,
    });
  } finally {
    database.close();
  }
}

test('one of three labels: each is positive in turn, and the worst value counts', async () => {
  const rows: [string, string[], string[]][] = [
    ['a', ['x'], ['x']],
    ['a', ['y'], ['x']],
    ['a', ['z'], ['z']],
    ['a', ['x'], ['y']],
    ['b', ['x'], ['x']],
    ['b', ['y'], ['y']],
    ['b', ['z'], ['y']],
    ['b', ['z'], ['z']],
  ];
  const { labels, metrics } = await measured(rows, 'single');
  expect(Object.keys(labels)).toEqual(['x', 'y', 'z']);
  expect(labels.x!.groups).toMatchObject([
    { group: 'a', rows: 4, positives: 2, selection_rate: 0.5, true_positive_rate: 0.5, false_positive_rate: 0.5 },
    { group: 'b', rows: 4, positives: 1, selection_rate: 0.25, true_positive_rate: 1, false_positive_rate: 0 },
  ]);
  expect(metrics.demographic_parity_difference).toBe(0.25);
  expect(metrics.equalized_odds_difference).toBe(1); // y: no hit in a, all in b
  expect(Object.keys((await measured(rows, 'single', 'z')).labels)).toEqual(['z']);
});

test('several labels: a label that no group has is undefined, and so is the worst value', async () => {
  const {
    labels,
    metrics,
    undefined: why,
  } = await measured(
    [
      ['a', ['x', 'y'], ['x']],
      ['a', [], ['y']],
      [null, ['x'], ['x', 'y']],
      [null, ['y'], []],
    ],
    'multi',
  );
  expect(labels.x!.groups.map(({ group, selection_rate }) => [group, selection_rate])).toEqual([
    ['(missing)', 0.5],
    ['a', 0.5],
  ]);
  expect(labels.x!.metrics).toMatchObject({ demographic_parity_difference: 0, equalized_odds_difference: 0 });
  expect(labels.z!.metrics.demographic_parity_ratio).toBeNull();
  expect(metrics.demographic_parity_ratio).toBeNull();
  expect(why!.demographic_parity_ratio).toBe('for the label z: no row of any group is predicted z');
  expect(why!.equalized_odds_difference).toMatch(/^for the label z: in the group \(missing\), no row has the label z; in the group a/);
});
