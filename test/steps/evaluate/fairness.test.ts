/** Fairness of rows with several labels, or one of more than two, and its intervals. */
import { describe, expect, test } from 'vitest';
import { measureFairness } from '../../../steps/evaluate/fairness.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import type { BootstrapOptions } from '../../../steps/ml/metrics/bootstrap.ts';

/** `rows`: group, label and prediction. */
async function measured(
  rows: [string | null, string[], string[]][],
  problem: 'single' | 'multi',
  positive?: string,
  bootstrap?: Partial<BootstrapOptions>,
) {
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
    return await measureFairness(
      { group: 'group', ...(positive && { positive }) },
      predictions,
      {
        task: 'text-classification',
        problem: one ? 'single_label_classification' : 'multi_label_classification',
        labels: ['x', 'y', 'z'],
        positive: undefined,
      },
      () => {},
      bootstrap && {
        units: { rows: Int32Array.from(rows.keys()) },
        options: { resamples: 1000, level: 0.95, method: 'percentile', seed: 0, ...bootstrap },
      },
    );
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

test('the reason of an undefined ratio: no row is predicted positive, or none of the positive rows is', async () => {
  const { undefined: why } = await measured(
    [
      ['a', ['x'], ['y']],
      ['a', ['y'], ['x']],
      ['b', ['x'], ['y']],
      ['b', ['y'], ['y']],
    ],
    'single',
    'x',
  );
  expect(why).toEqual({ equalized_odds_ratio: 'no row with the label x is predicted x' });
});

test('five of many groups without a positive row are listed', async () => {
  const rows = Array.from({ length: 8 }, (_, i): [string, string[], string[]] => [`g${i}`, ['y'], ['x']]);
  const { undefined: why } = await measured(rows, 'single', 'x');
  expect(why!.equalized_odds_difference).toMatch(/^in the group g0, no row has the label x; .*in the group g4, [^;]* and 3 more$/);
});

describe('intervals', () => {
  /** `count` rows of a group, of which `hits` of the label x and `misses` of the label y are predicted x. */
  const rowsOf = (group: string, count: number, hits: number, misses: number) =>
    Array.from({ length: count }, (_, i): [string, string[], string[]] => {
      const half = count / 2;
      const isX = i < half;
      return [group, [isX ? 'x' : 'y'], [(isX ? i < hits : i - half < misses) ? 'x' : 'y']];
    });

  test('of a difference of two rates: close to those of the normal distribution', async () => {
    const rows = [...rowsOf('a', 400, 160, 40), ...rowsOf('b', 400, 120, 20)];
    for (const method of ['percentile', 'bca'] as const) {
      const { metrics, intervals, undefined: why } = await measured(rows, 'single', 'x', { method });
      expect(metrics.demographic_parity_difference).toBeCloseTo(0.15, 12);
      // 1.96 × √(0.5 × 0.5 / 400 + 0.35 × 0.65 / 400)
      const { low, high, usable } = intervals!.demographic_parity_difference;
      expect(low).toBeCloseTo(0.15 - 0.0677, 1);
      expect(high! - low!).toBeGreaterThan(0.12);
      expect(high! - low!).toBeLessThan(0.15);
      expect(usable).toBeUndefined();
      expect(why).toBeUndefined();
      expect(intervals!.equalized_odds_ratio.low).toBeLessThan(metrics.equalized_odds_ratio!);
    }
  });

  test('samples without a row of a group are left out if they are few; otherwise there is no interval', async () => {
    // (1 − 4/204)^204 is 1.8%, and (1 − 1/201)^201 is 37%.
    const { intervals } = await measured([...rowsOf('a', 200, 80, 20), ...rowsOf('b', 4, 1, 0)], 'single', 'x', {});
    const { usable, low } = intervals!.demographic_parity_difference;
    expect(usable).toBeGreaterThan(0.96);
    expect(usable).toBeLessThan(1);
    expect(low).not.toBeNull();
    const few = await measured([...rowsOf('a', 200, 80, 20), ['b', ['x'], ['y']]], 'single', 'x', {});
    expect(few.metrics.demographic_parity_difference).toBeCloseTo(0.5, 12);
    expect(few.intervals!.demographic_parity_difference).toMatchObject({ low: null, high: null });
    expect(few.undefined!['demographic_parity_difference.lower']).toMatch(
      /^the metric is undefined on 3\d% of the bootstrap samples, which have no row of a group, or/,
    );
    expect(few.undefined!['equalized_odds_difference.upper']).toBe('the metric itself is undefined');
  });

  test('of groups that are treated alike: from 0 on', async () => {
    const { metrics, intervals } = await measured([...rowsOf('a', 100, 30, 10), ...rowsOf('b', 100, 30, 10)], 'single', 'x', {
      method: 'bca',
    });
    expect(metrics.demographic_parity_difference).toBe(0);
    const { low, high } = intervals!.demographic_parity_difference;
    expect(low).toBe(0);
    expect(high).toBeGreaterThan(0.1);
    expect(high).toBeLessThan(0.2);
    expect(intervals!.equalized_odds_ratio.high).toBe(1);
  });

  test('of each label, and of the worst one', async () => {
    const { labels, intervals } = await measured([...rowsOf('a', 60, 20, 8), ...rowsOf('b', 60, 10, 5)], 'multi', undefined, {});
    expect(Object.values(labels).map(({ intervals: own }) => own!.demographic_parity_difference.low !== null)).toEqual([true, true, false]);
    // x and y exclude each other, so their rates differ by the same amount.
    expect(intervals!.demographic_parity_difference.high).toBeCloseTo(labels.x!.intervals!.demographic_parity_difference.high!, 12);
  });
});
