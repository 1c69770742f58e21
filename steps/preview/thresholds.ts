/** The metrics file of calibrate as a table: what each threshold achieves on the rows that it was chosen on. */

import { number, type Preview } from './part.ts';

export interface ThresholdsReport {
  thresholds?: ThresholdRow[];
  /** The column whose values have thresholds of their own. */
  group?: string;
}

interface ThresholdRow {
  label: string;
  group?: string;
  threshold: number;
  /** Null if the label is never predicted. */
  precision: number | null;
  recall: number;
  f1: number;
  rows: number;
  positives: number;
}

/** Empty for a metrics file of another step. */
export function thresholdsTable({ thresholds, group }: ThresholdsReport, limit: number): Preview[] {
  if (!Array.isArray(thresholds)) return [];
  const shown = thresholds.slice(0, Math.max(limit, 20));
  const columns = group === undefined ? [] : [group];
  return [
    {
      title: 'thresholds',
      table: {
        header: [...columns, 'label', 'threshold', 'precision', 'recall', 'f1', 'rows', 'with the label'],
        rows: shown.map((row) => [
          ...columns.map(() => row.group ?? 'all rows'),
          row.label,
          ...[row.threshold, row.precision, row.recall, row.f1].map((value) => (value === null ? 'n/a' : value.toFixed(4))),
          number(row.rows),
          number(row.positives),
        ]),
        numeric: [...columns.map(() => false), false, true, true, true, true, true, true],
      },
      ...(thresholds.length > shown.length && { rest: `+ ${number(thresholds.length - shown.length)} more` }),
    },
  ];
}
