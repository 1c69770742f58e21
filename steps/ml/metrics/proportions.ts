/** Confidence intervals of shares and of differences. The tests compare them with statsmodels. */

import { normalQuantile } from './distributions.ts';

/** What was counted in a sample. */
export interface Share {
  hits: number;
  rows: number;
}

/** Wilson's score interval of a share (Wilson 1927). */
export function wilsonInterval({ hits, rows }: Share, level: number): { low: number; high: number } {
  const z = normalQuantile((1 + level) / 2);
  const share = hits / rows;
  const centre = (share + z ** 2 / (2 * rows)) / (1 + z ** 2 / rows);
  const margin = (z * Math.sqrt((share * (1 - share)) / rows + z ** 2 / (4 * rows ** 2))) / (1 + z ** 2 / rows);
  return { low: Math.max(0, centre - margin), high: Math.min(1, centre + margin) };
}

/** The interval of the difference between two independent shares (Newcombe 1998, method 10). */
export function newcombeInterval(one: Share, other: Share, level: number): { low: number; high: number } {
  const [a, b] = [one.hits / one.rows, other.hits / other.rows];
  const [ofOne, ofOther] = [wilsonInterval(one, level), wilsonInterval(other, level)];
  return {
    low: a - b - Math.hypot(a - ofOne.low, ofOther.high - b),
    high: a - b + Math.hypot(ofOne.high - a, b - ofOther.low),
  };
}

/** What is needed of a sample of numbers. */
export interface SampleSums {
  rows: number;
  sum: number;
  squares: number;
}

/** The interval of the difference between two independent means, with normal quantiles and unequal variances. */
export function meansInterval(one: SampleSums, other: SampleSums, level: number): { low: number; high: number } {
  const z = normalQuantile((1 + level) / 2);
  const difference = one.sum / one.rows - other.sum / other.rows;
  const margin = z * Math.sqrt(varianceOfMean(one) + varianceOfMean(other));
  return { low: difference - margin, high: difference + margin };
}

function varianceOfMean({ rows, sum, squares }: SampleSums): number {
  return Math.max(0, (squares - sum ** 2 / rows) / (rows - 1)) / rows;
}
