/** Discovered slices: real differences come first, and differences by chance do not come at all. */
import { expect, test } from 'vitest';
import { discoverSlices } from '../../../steps/evaluate/discover.ts';
import { random } from '../../../steps/ml/models/random.ts';

const OPTIONS = { min_rows: 20, max: 10, level: 0.95 };

/** Columns with random values. */
function columns(rows: number, seed: number, names = ['a', 'b', 'c', 'd', 'e', 'f']) {
  const uniform = random('discover', seed);
  return names.map((name) => ({
    name,
    values: ['0', '1', '2', '3', '4'],
    codes: Int32Array.from({ length: rows }, () => Math.floor(5 * uniform())),
  }));
}

test('the rows with a higher error are found, and small slices of chance do not come before them', () => {
  const rows = 3000;
  const given = columns(rows, 1);
  const uniform = random('errors', 1);
  const errors = Float64Array.from({ length: rows }, (_, i) =>
    uniform() < (given[0]!.codes[i] === 2 && given[3]!.codes[i] === 4 ? 0.6 : 0.1) ? 1 : 0,
  );
  const { tested, found } = discoverSlices(given, errors, OPTIONS);
  expect(tested).toBe(6 * 5 + 15 * 25);
  expect(found[0]!.where).toEqual({ a: '2', d: '4' });
  expect(found[0]!.rest).toBeCloseTo(0.1, 1);
  expect(found[0]!.low).toBeGreaterThan(0.2);
});

test('a slice that two columns say is listed once, by one column', () => {
  const rows = 1000;
  const [one, other] = columns(rows, 3, ['a', 'b']);
  other!.codes = one!.codes;
  const errors = Float64Array.from(one!.codes, (code, i) => (code === 1 && i % 2 === 0 ? 1 : 0));
  expect(discoverSlices([one!, other!], errors, OPTIONS).found.map(({ where }) => where)).toEqual([{ a: '1' }, { b: '1' }]);
});

test('noise gives no slice: at most one of twenty seeds', () => {
  const rows = 1000;
  const withSlices = Array.from({ length: 20 }, (_, seed) => {
    const uniform = random('errors', seed);
    const errors = Float64Array.from({ length: rows }, () => (uniform() < 0.2 ? 1 : 0));
    return discoverSlices(columns(rows, seed), errors, OPTIONS).found.length > 0;
  });
  expect(withSlices.filter(Boolean).length).toBeLessThanOrEqual(1);
});

test('losses are compared by their means', () => {
  const rows = 1000;
  const [one] = columns(rows, 5, ['a']);
  const uniform = random('losses', 5);
  const losses = Float64Array.from(one!.codes, (code) => uniform() * (code === 3 ? 4 : 1));
  const { found } = discoverSlices([one!], losses, OPTIONS);
  expect(found.map(({ where }) => where)).toEqual([{ a: '3' }]);
  expect(found[0]!.error).toBeGreaterThan(1.7);
});
