/** The live region, tables and cut text always fit the terminal. */
import stringWidth from 'string-width';
import { expect, test } from 'vitest';
import { tableLines } from '../../../engine/format/table.ts';
import { colorsFor } from '../../../engine/format/terminal-text.ts';
import { clip, clipMiddle, duration, figure, width, wrap } from '../../../engine/format/text.ts';
import { type FinalMetric, type FinalMetrics, metricTables } from '../../../engine/report/metric-tables.ts';
import { planLines } from '../../../engine/report/plan-table.ts';
import { frame, paced, type RunningCell } from '../../../engine/report/reporter.ts';

const colors = colorsFor({ isTTY: false });
const NAMES = ['a', 'train[batch_size=32,learning_rate=0.0001]', 'train[name="日本語のとても長い名前です"]', `x${'y'.repeat(300)}`];
const whole = { cells: 1000, ended: 12, seconds: 4000, stopping: false };

function work(cell: string, more: Partial<RunningCell> = {}): RunningCell {
  return { cell, since: performance.now() - 95_000, status: 'ein Wort 日本語 '.repeat(20), waiting: false, ...more };
}

test('no line of the live region is wider than the terminal, and none is lost', () => {
  const values = { loss: 0.312345, 'tokens/s': 5210.3, learning_rate: 0.00003, phase: 'warm-up' };
  const progress = { done: 120, total: 400, values, from: { done: 0, at: performance.now() - 95_000 } };
  for (let columns = 19; columns <= 200; columns += 3) {
    const working = NAMES.flatMap((cell) => [
      work(cell),
      work(cell, { progress }),
      work(cell, { progress: { ...progress, total: undefined } }),
      work(cell, { waiting: true }),
    ]);
    for (const rows of [4, 10, 24, 60]) {
      const lines = frame(working, whole, columns, rows, colors).split('\n');
      for (const line of lines) expect(stringWidth(line), line).toBeLessThanOrEqual(columns);
      expect(lines.length).toBeLessThanOrEqual(Math.max(3, rows - 1));
      if (rows < working.length) expect(lines.at(-2)).toMatch(/^ {2}\+ \d+ more$/);
      else expect(lines).toHaveLength(working.length + 1);
    }
  }
});

const lineOf = (done: number, from: { done: number; secondsAgo: number }) => {
  const begun = { done: from.done, at: performance.now() - 1000 * from.secondsAgo };
  const progress = { done, total: 400, values: { loss: 0.3, 'tokens/s': 5210.3 }, from: begun };
  return frame([work('train', { progress })], whole, 120, 24, colors).split('\n')[0];
};

test('a wide line has all fields', () => {
  const line = lineOf(100, { done: 0, secondsAgo: 95 });
  expect(line).toMatch(/^\S train {2}━+─+ {2}25% {2}1m 35s {2}ETA 4m 45s {2}loss 0\.3 {2}5,210 tokens\/s$/);
});

test('the estimated time of a resumed step depends only on what this run did', () => {
  expect(lineOf(100, { done: 90, secondsAgo: 10 })).toContain('25%  1m 35s  ETA 5m 00s');
  expect(lineOf(100, { done: 100, secondsAgo: 10 })).not.toContain('ETA');

  const first = paced({ done: 90, total: 400, values: {} }, undefined);
  expect(paced({ done: 100, total: 400, values: {} }, first).from).toEqual(first.from);
  // Another count begins, such as that of the rows of a validation.
  expect(paced({ done: 1, total: 400, values: {} }, first).from.done).toBe(1);
  expect(paced({ done: 100, total: 900, values: {} }, first).from.done).toBe(100);
});

test('tables fit: text is cut, numbers are not, other columns follow below', () => {
  const header = ['name', 'text', ...Array.from({ length: 12 }, (_, i) => `metric_${i}`)];
  const rows = [['first', 'word '.repeat(50), ...Array.from({ length: 12 }, (_, i) => String(1000 + i))]];
  for (const columns of [30, 40, 80, 200]) {
    const lines = tableLines(header, rows, { columns, right: (c) => c > 1 });
    for (const line of lines) expect(width(line), line).toBeLessThanOrEqual(columns);
    for (let i = 0; i < 12; i++) expect(lines.join('\n')).toContain(String(1000 + i));
  }
});

test('the best value is marked if the step declares which values are better', () => {
  const values = (loss: number, f1: number, steps: number, seconds: number) =>
    new Map<string, FinalMetric>([
      ['loss', { value: loss, better: 'lower' }],
      ['f1', { value: f1, better: 'higher' }],
      ['steps', { value: steps }],
      ['seconds', { value: seconds }],
    ]);
  const metrics: FinalMetrics = new Map([
    ['train[a=1]', values(0.5, 0.5, 10, 3.25)],
    ['train[a=2]', values(0.25, 0.75, 20, 2)],
    ['alone', new Map([['rows', { value: 5021 }]])],
  ]);
  expect(metricTables(metrics, 80, colors).join('\n')).toBe(`train
a  loss      f1    steps  seconds
1  0.50    0.50       10     3.25
2  0.25 *  0.75 *     20     2.00

alone   rows
       5,021`);
});

test('the best twenty rows of a large sweep are shown', () => {
  const metrics: FinalMetrics = new Map(
    Array.from({ length: 50 }, (_, i) => [`train[i=${i}]`, new Map([['loss', { value: 1 + ((i * 7) % 50), better: 'lower' }]])]),
  );
  const lines = metricTables(metrics, 80, colors);
  expect(lines).toHaveLength(23);
  expect(lines[2]).toMatch(/^ 0 +1 \*$/);
  expect(lines.at(-1)).toBe('+ 30 more cells');
});

test('a plan of a thousand fresh cells is short', () => {
  const cells = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`a[i=${i}]`, { state: 'fresh' as const, why: '' }]));
  expect(planLines('big', cells, 80, colors)).toEqual(['fresh    1,000 cells', '', 'big: all 1,000 cells are fresh']);
});

test('durations and numbers are readable', () => {
  expect([0.01, 0.31, 9.96, 59.4, 59.6, 61, 3599.7, 7384].map(duration)).toEqual([
    '<0.1 s',
    '0.3 s',
    '10 s',
    '59 s',
    '1m 00s',
    '1m 01s',
    '1h 00m',
    '2h 03m',
  ]);
  expect([0.123456, 5210.33, 1e-7, 12, 1234567, Number.NaN].map(figure)).toEqual(['0.1235', '5,210', '1.00e-7', '12', '1,234,567', 'NaN']);
});

test('text is cut to a width, also with wide characters', () => {
  for (const text of [...NAMES, '👩‍👩‍👧 family', '日'.repeat(30)]) {
    for (let columns = 1; columns < 50; columns++) {
      expect(stringWidth(clip(text, columns))).toBeLessThanOrEqual(columns);
      expect(stringWidth(clipMiddle(text, columns))).toBeLessThanOrEqual(columns);
      if (stringWidth(text) <= columns) expect(clip(text, columns)).toBe(text);
    }
  }
});

test('sentences are wrapped between words; a path is not split', () => {
  expect(wrap('note: the file out/a.txt was kept as .tunesmith/kept/2026/out/a.txt', 20, '  ')).toEqual([
    'note: the file',
    '  out/a.txt was kept',
    '  as',
    '  .tunesmith/kept/2026/out/a.txt',
  ]);
});

test('a long reason is wrapped and never cut; next to long names it has its own lines', () => {
  const why = 'option learning_rate: 0.0001 → 0.0003; input data changed: 1 of 30 files; code of ./step.ts changed';
  expect(planLines('p', { train: { state: 'run', why }, all: { state: 'fresh', why: '' } }, 60, colors)).toEqual([
    'run      train  option learning_rate: 0.0001 → 0.0003; input',
    '                data changed: 1 of 30 files; code of',
    '                ./step.ts changed',
    'fresh    all',
    '',
    'p: 1 to run, 1 fresh',
  ]);
  const name = 'train[learning_rate=0.001,batch_size=32]';
  const [first, ...lines] = planLines('p', { [name]: { state: 'run', why } }, 60, colors);
  expect(first).toMatch(/^run {6}train\S+$/);
  expect(
    lines
      .slice(0, -2)
      .map((line) => line.trim())
      .join(' '),
  ).toBe(why);
  expect(planLines('p', { train: { state: 'run', why } }, Number.POSITIVE_INFINITY, colors)[0]).toBe(`run      train  ${why}`);
});
