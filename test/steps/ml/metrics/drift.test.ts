/** Figures of drift, compared with NumPy and SciPy (test/golden/drift.py). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chiSquaredTail, fairCoinCdf, kolmogorovTail } from '../../../../steps/ml/metrics/distributions.ts';
import { binned, binsOf, chiSquared, kolmogorovSmirnov, stabilityIndex } from '../../../../steps/ml/metrics/drift.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/drift.json'), 'utf8'));

/** Relative, so that small p-values count. */
function expectClose(actual: number, expected: number, tolerance = 1e-9) {
  expect(Math.abs(actual - expected), `${actual} instead of ${expected}`).toBeLessThanOrEqual(tolerance * Math.abs(expected) + 1e-300);
}

describe.each<any>(golden.numeric)('numbers: $name', ({ reference, current, bounds, counts, psi, ks, p, limit }) => {
  const [was, is] = [Float64Array.from(reference), Float64Array.from(current)];

  test('bins and population stability index', () => {
    const own = binsOf(was);
    expect(own).toHaveLength(bounds.length);
    for (const [i, bound] of own.entries()) expectClose(bound, bounds[i], 1e-12);
    const found = [binned(was, own), binned(is, own)] as const;
    expect(found).toEqual(counts);
    expectClose(stabilityIndex(...found), psi);
  });

  test('Kolmogorov–Smirnov test', () => {
    const test = kolmogorovSmirnov(was, is);
    expectClose(test.statistic, ks);
    expectClose(test.p, p);
    const [n, m] = [was.length, is.length];
    expectClose(kolmogorovTail(test.statistic * Math.sqrt((n * m) / (n + m))), limit);
  });
});

test.each<any>(golden.categories)('categories: $name', ({ reference, current, psi, chi_squared, degrees, p, expected }) => {
  expectClose(stabilityIndex(reference, current), psi);
  const test = chiSquared(reference, current)!;
  expect(test.degrees).toBe(degrees);
  expectClose(test.statistic, chi_squared);
  expectClose(test.p, p);
  expectClose(test.expected, expected);
});

test('a single category cannot be tested', () => {
  expect(chiSquared([5, 0], [7, 0])).toBeUndefined();
});

test('tails of the chi-squared and the Kolmogorov distribution, and of tosses of a coin', () => {
  for (const [x, degrees, p] of golden.chi_squared) expectClose(chiSquaredTail(x, degrees), p, 1e-8);
  for (const [k, n, p] of golden.coin) expectClose(fairCoinCdf(n - k, n), p, 1e-8);
  for (const [x, p] of golden.kolmogorov) expectClose(kolmogorovTail(x), p, 1e-8);
});
