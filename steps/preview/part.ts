/** One part of what `tunesmith show` prints about a path. */

import type { IntervalEnds } from '../ml/metrics/intervals.ts';

export interface Preview {
  /** What it is: "table, 5,021 rows". */
  title: string;
  table?: { header: string[]; rows: string[][]; numeric: boolean[] };
  lines?: string[];
  /** What was omitted: "+ 5,011 more rows". */
  rest?: string;
}

/** `rest`, if anything was omitted. */
export function more(count: number, things: string): { rest?: string } {
  return count > 0 ? { rest: `+ ${number(count)} more ${things}` } : {};
}

export function number(n: number): string {
  return n.toLocaleString('en-US');
}

/** A small number, such as a p-value, is not 0. */
export function figure(value: number | null | undefined): string {
  if (typeof value !== 'number') return 'n/a';
  return value !== 0 && Math.abs(value) < 0.00005 ? value.toExponential(1) : value.toFixed(4);
}

/** A figure and the ends of its interval, if it has one. */
export const withBounds = (value: number | null | undefined, bounds: IntervalEnds | undefined): string =>
  typeof value === 'number' && bounds && bounds.low !== null
    ? `${figure(value)} [${figure(bounds.low)}, ${figure(bounds.high)}]`
    : figure(value);
