/** Predicted numbers by true ones, of a regression. */

import { count, note, type Section, shown } from './document.ts';
import { scatterChart } from './plots.ts';
import type { PredictionTable } from './predictions.ts';

export async function numbersSection(rows: PredictionTable): Promise<Section | undefined> {
  if (rows.kind !== 'number') return undefined;
  const { points, ranges } = await rows.numbers();
  if (points.length === 0) return { id: 'numbers', title: 'Predicted numbers', blocks: [note('n/a: no prediction is a number.')] };
  const means = ranges.map(({ low, high, mean }) => `true ${shown(low)} to ${shown(high)}: ${shown(mean)}`);
  return {
    id: 'numbers',
    title: 'Predicted numbers',
    blocks: [
      {
        kind: 'picture',
        name: 'predicted-numbers',
        title: 'Predicted numbers by true numbers',
        description: `Each point is a row; on the dashed line, the prediction is right. Mean predictions: ${means.join('; ')}.`,
        svg: scatterChart(points, { x: 'true number', y: 'predicted number' }),
        table: {
          kind: 'table',
          caption: 'Ranges of the true number with about the same number of rows',
          header: ['from', 'to', 'rows', 'mean prediction', 'mean squared error'],
          rows: ranges.map(({ low, high, rows, mean, error }) => [shown(low), shown(high), count(rows), shown(mean), shown(error)]),
          numeric: [0, 1, 2, 3, 4],
        },
      },
      ...(rows.rows > points.length ? [note(`The picture shows ${count(points.length)} of ${count(rows.rows)} rows.`)] : []),
    ],
  };
}
