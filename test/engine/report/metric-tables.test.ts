/** The table of a sweep: one column for each varying dimension, equal precision, no two rows that look the same. */
import { expect, test } from 'vitest';
import type { MetricDirection } from '../../../engine/contract/step.ts';
import { tableLines } from '../../../engine/format/table.ts';
import { colorsFor } from '../../../engine/format/terminal-text.ts';
import { figureWithin } from '../../../engine/format/text.ts';
import { type FinalMetric, type FinalMetrics, metricTables } from '../../../engine/report/metric-tables.ts';

const plain = colorsFor({ isTTY: false } as NodeJS.WriteStream);

/** The directions that the steps declare. */
const BETTER: Record<string, MetricDirection> = { validation_loss: 'lower', perplexity: 'lower', accuracy: 'higher', mape: 'lower' };

function lines(cells: Record<string, Record<string, number>>, columns = 80): string[] {
  const metrics: FinalMetrics = new Map(
    Object.entries(cells).map(([cell, values]) => [
      cell,
      new Map(Object.entries(values).map(([name, value]) => [name, { value, better: BETTER[name] }])),
    ]),
  );
  return metricTables(metrics, columns, plain);
}

test('a metric has its best value where its step says, and none if the step does not say it', () => {
  const cells = { 'fit[n=1]': { mape: 12.5, map: 0.5 }, 'fit[n=2]': { mape: 3.5, map: 0.75 } };
  expect(lines(cells)).toEqual(['fit', 'n  mape     map', '1  12.5    0.50', '2   3.5 *  0.75']);
});

test('the same metric with two directions has no best value; a cell of an older run has no say', () => {
  const cell = (name: string, value: number, better?: MetricDirection) =>
    [`fit[n=${name}]`, new Map([['score', { value, better }]])] as const;
  const table = (...cells: ReturnType<typeof cell>[]) => metricTables(new Map(cells), 80, plain);
  expect(table(cell('1', 1, 'higher'), cell('2', 2, 'lower')).join('\n')).not.toContain('*');
  expect(table(cell('1', 1), cell('2', 2, 'lower'))[2]).toBe('1      1 *');
});

test('eight cells with three dimensions in 80 columns', () => {
  const cells: Record<string, Record<string, number>> = {};
  let n = 0;
  for (const rate of ['0.00003', '0.0003'])
    for (const size of [8, 128])
      for (const optim of ['adamw', 'sgd'])
        cells[`train[batch_size=${size},epochs=3,learning_rate=${rate},optim=${optim}]`] = {
          train_loss: 0.5 + n / 7,
          validation_loss: 0.25 + n++ / 3,
        };
  expect(lines(cells)).toEqual([
    'train',
    'batch_size  learning_rate  optim  train_loss  validation_loss',
    '         8        0.00003  adamw      0.5000           0.2500 *',
    '         8        0.00003  sgd        0.6429           0.5833',
    '       128        0.00003  adamw      0.7857           0.9167',
    '       128        0.00003  sgd        0.9286           1.2500',
    '         8        0.00030  adamw      1.0714           1.5833',
    '         8        0.00030  sgd        1.2143           1.9167',
    '       128        0.00030  adamw      1.3571           2.2500',
    '       128        0.00030  sgd        1.5000           2.5833',
  ]);
});

test('equal precision in a column: exponents for all if one number needs them, thousands next to decimals', () => {
  const cells = { 'a[x=1e-9]': { perplexity: 5210.4, rate: 2e-5 }, 'a[x=0.5]': { perplexity: 12.35, rate: 0.5 } };
  expect(lines(cells)).toEqual(['a', '   x  perplexity       rate', '1e-9    5,210.40    2.00e-5', '5e-1       12.35 *  5.00e-1']);
});

test('a narrow screen repeats the dimensions and never cuts two names to the same text', () => {
  const cells = Object.fromEntries(
    ['one', 'two'].map((end) => [
      `fit[prompt="the same long beginning of a text, ${end}, and the same long end of it",seed=1]`,
      Object.fromEntries(['accuracy', 'precision', 'recall', 'loss', 'perplexity'].map((name, i) => [name, i / 10])),
    ]),
  );
  const shown = lines(cells, 40);
  expect(shown.every((line) => line.length <= 40 || line.includes('  1  '))).toBe(true);
  expect(shown.join('\n')).toContain('one');
  expect(shown.join('\n')).toContain('two');
  const rows = shown.filter((line) => /^ ?[12] {2}/.test(line));
  expect(new Set(rows).size).toBe(rows.length);
});

test('a column that identifies rows stays distinct', () => {
  const name = (middle: string) => `train[${'a'.repeat(30)}${middle}${'b'.repeat(30)}]`;
  const shown = tableLines(
    ['cell', 'why'],
    [
      [name('1'), 'x'],
      [name('2'), 'y'],
    ],
    { columns: 40 },
  );
  expect(new Set(shown.map((line) => line.split('  ')[0])).size).toBe(3);
});

test('intervals', () => {
  const table = (...cells: [string, FinalMetric][]) =>
    metricTables(new Map(cells.map(([cell, metric]) => [cell, new Map([['f1', metric]])])), 80, plain);
  const first = { value: 0.95512, low: 0.93111, high: 0.97512, better: 'higher' } as const;
  expect(table(['evaluate', first])).toEqual(['evaluate                    f1', '          0.955 [0.931, 0.975]']);
  expect(
    table(
      ['evaluate[n=1]', first],
      ['evaluate[n=2]', { value: 0.8, better: 'higher' }],
      ['evaluate[n=3]', { ...first, value: Number.NaN }],
    ),
  ).toEqual(['evaluate', 'n                    f1', '1  0.955 [0.931, 0.975] *', '2  0.800', '3    n/a [0.931, 0.975]']);
});

test('an interval has as many decimals as its width needs', () => {
  const shown = (value: number, low: number, high: number) => figureWithin({ value, low, high });
  expect(shown(0.955123, 0.931, 0.975)).toBe('0.955 [0.931, 0.975]');
  expect(shown(0.95, 0.7, 1)).toBe('0.950 [0.700, 1.000]');
  expect(shown(0.955123, 0.95501, 0.95526)).toBe('0.95512 [0.95501, 0.95526]');
  expect(shown(27.3456, 25.1, 29.44)).toBe('27.3 [25.1, 29.4]');
  expect(shown(12345.6, 11999.7, 12720.2)).toBe('12,346 [12,000, 12,720]');
  expect(shown(2e-7, 1e-7, 3e-7)).toBe('2.00e-7 [1.00e-7, 3.00e-7]');
  expect(shown(Number.POSITIVE_INFINITY, 1, 3)).toBe('Infinity [1.0, 3.0]');
  expect(figureWithin({ value: 0.955123 })).toBe('0.9551');
});

test('metrics with a dot are left out if they do not fit beside the others, and a command prints them all', () => {
  const values = { accuracy: 0.71, f1: 0.8, 'gap.source': 0.5, 'fairness.demographic_parity_difference': 0.25, 'difference.f1': 0.1 };
  const metrics: FinalMetrics = new Map(
    [1, 2].map((n) => [`test[n=${n}]`, new Map(Object.entries(values).map(([name, value]) => [name, { value: value * n }]))]),
  );
  expect(metricTables(metrics, 60, plain, 'tunesmith runs show')).toEqual([
    'test',
    'n  accuracy   f1  gap.source',
    '1      0.71  0.8         0.5',
    '2      1.42  1.6         1.0',
    '+ 2 more metrics: tunesmith runs show',
  ]);
  expect(metricTables(metrics, 60, plain).join('\n')).toContain('fairness.demographic_parity_difference');
  // Without metrics of another kind, these are the main ones.
  const baselines: FinalMetrics = new Map([
    [
      'simple',
      new Map([
        ['majority.accuracy', { value: 0.5 }],
        ['bag_of_words.accuracy', { value: 0.9 }],
      ]),
    ],
  ]);
  expect(metricTables(baselines, 30, plain, 'tunesmith runs show').join('\n')).toContain('bag_of_words.accuracy');
});
