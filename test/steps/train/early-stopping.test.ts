import { expect, test } from 'vitest';
import { earlyStopping } from '../../../steps/train/early-stopping.ts';

/** Adds values until it stops: returns their number, and which was the best. */
function run(metric: string, patience: number, min_delta: number, values: number[]) {
  const stopping = earlyStopping({ metric, patience, min_delta });
  let best = -1;
  let count = 0;
  while (count < values.length && !stopping.stop) if (stopping.add(values[count++]!)) best = count - 1;
  return { count, best };
}

test('stops after this many values without improvement', () => {
  expect(run('loss', 2, 0, [1, 0.8, 0.9, 0.85, 0.1])).toEqual({ count: 4, best: 1 });
  expect(run('f1', 2, 0, [0.5, 0.7, 0.7, 0.6, 0.9])).toEqual({ count: 4, best: 1 });
  expect(run('loss', 1, 0, [1, 2])).toEqual({ count: 2, best: 0 });
});

test('small steady improvements add up to a significant one', () => {
  // Each is 0.06 better than the one before: less than 0.1, but two of them are more.
  expect(run('loss', 2, 0.1, [1, 0.94, 0.88, 0.82, 0.76, 0.7])).toEqual({ count: 6, best: 5 });
  // These never improve on the first by 0.1; the best is kept all the same.
  expect(run('loss', 2, 0.1, [1, 0.96, 0.95, 0.94])).toEqual({ count: 3, best: 2 });
});

test('without a patience it never stops, and reports the best', () => {
  const stopping = earlyStopping({ metric: 'f1' });
  expect([0.5, 0.4, 0.6, 0.6, 0.1, 0.1, 0.1].map((value) => stopping.add(value))).toEqual([true, false, true, false, false, false, false]);
  expect(stopping.stop).toBe(false);
});

test('an undefined value is no improvement, whether it comes first or later', () => {
  const watched = earlyStopping({ metric: 'precision', patience: 2 });
  expect([Number.NaN, 0.2, Number.NaN, Number.NaN].map((value) => watched.add(value))).toEqual([false, true, false, false]);
  expect(watched.stop).toBe(true);
});
