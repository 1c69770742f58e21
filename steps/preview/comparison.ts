/** The comparison with another model in evaluate's metrics file, as a table. */

import { type ComparisonReport, testInWords } from '../ml/metrics/paired-tests.ts';
import { figure, number, type Preview, withBounds } from './part.ts';

/** The part that the file has. */
export interface ComparisonPart {
  comparison?: ComparisonReport;
}

export function comparisonTable({ comparison }: ComparisonPart): Preview[] {
  if (!comparison) return [];
  const { rows, level, metrics } = comparison;
  const header = ['metric', 'value', 'other', `difference (${Math.round(100 * level)}% interval)`, 'p', 'test'];
  return [
    {
      title: `comparison with the other predictions, ${number(rows)} rows`,
      table: {
        header,
        rows: Object.entries(metrics).map(([name, { value, other, difference, interval, p, undefined: why, ...test }]) => [
          name,
          figure(value),
          figure(other),
          withBounds(difference, interval),
          p === null ? 'n/a' : String(Number(p.toPrecision(2))),
          why === undefined ? testInWords(test) : `n/a: ${why}`,
        ]),
        numeric: [false, true, true, true, true, false],
      },
    },
  ];
}
