/** The metrics file of a baseline step, as a table: a row for each method. */

import { type IntervalEnds, notesOnIntervals } from '../ml/metrics/intervals.ts';
import { number, type Preview, withBounds } from './part.ts';

export interface BaselineReport {
  split: string;
  rows: number;
  /** Why a metric, or an end of its interval, is undefined: `METHOD.METRIC`, `METHOD.METRIC.lower`. */
  undefined?: Record<string, string>;
  methods: Record<string, { metrics: Record<string, number | null>; intervals?: Record<string, IntervalEnds> }>;
}

export function baselineTable({ split, rows, undefined: reasons = {}, methods }: BaselineReport): Preview {
  const names = [...new Set(Object.values(methods).flatMap(({ metrics }) => Object.keys(metrics)))];
  return {
    title: `baselines on the split ${split}, ${number(rows)} rows`,
    table: {
      header: ['method', ...names],
      rows: Object.entries(methods).map(([method, { metrics, intervals }]) => [
        method,
        ...names.map((name) => withBounds(metrics[name], intervals?.[name])),
      ]),
      numeric: [false, ...names.map(() => true)],
    },
    lines: [
      ...Object.entries(reasons).flatMap(([name, why]) => (/\.(lower|upper)$/.test(name) ? [] : [`${name} is undefined: ${why}`])),
      ...notesOnIntervals({}, reasons),
    ],
  };
}
