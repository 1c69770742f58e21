/** Learning rates as in transformers' schedulers; test/golden/schedule.py wrote the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Schedule, schedule, warmupOf } from '../../../steps/train/schedule.ts';

interface Case {
  kind: Schedule;
  warmup: number;
  total: number;
  options: { num_cycles?: number; power?: number; lr_end?: number };
  rates: number[];
}

const cases: Case[] = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/schedule.json'), 'utf8'));

test.each<Case>(cases)('$kind, $warmup of $total steps warmup', ({ kind, warmup, total, options, rates }) => {
  const { num_cycles: cycles, power, lr_end: end } = options;
  const factor = schedule(kind, warmup, total, { cycles, power, end: end ?? 0 });
  for (const [step, rate] of rates.entries()) expect(factor(step)).toBeCloseTo(rate, 12);
});

test('a warmup below 1 is a share of all steps, rounded up', () => {
  expect(warmupOf(0.1, 101)).toBe(11);
  expect(warmupOf(0, 101)).toBe(0);
  expect(warmupOf(7, 101)).toBe(7);
});
