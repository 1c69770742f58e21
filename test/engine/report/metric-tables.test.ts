/** The table of a sweep: one column for each varying dimension, equal precision, no two rows that look the same. */
import { expect, test } from 'vitest';
import type { MetricDirection } from '../../../engine/contract/step.ts';
import { tableLines } from '../../../engine/format/table.ts';
import { colorsFor } from '../../../engine/format/terminal-text.ts';
import { type FinalMetrics, metricTables } from '../../../engine/report/metric-tables.ts';

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
