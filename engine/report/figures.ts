/** The final figures of a run, a table for each step: its cells as rows, its metrics as columns, the best value marked. */
import type { Colors } from './colors.ts';
import { tableLines } from './table.ts';
import { figure } from './text.ts';

/** Final figures by cell, then by metric. */
export type Figures = Map<string, Map<string, number>>;

export function figureLines(figures: Figures, columns: number, colors: Colors): string[] {
  const lines: string[] = [];
  for (const [step, cells] of byStep(figures)) {
    const metrics = [...new Set(cells.flatMap(([, values]) => [...values.keys()]))];
    const best = new Map(metrics.map((metric) => [metric, bestOf(metric, cells)]));
    const shown = cells.length > ROWS ? topRows(cells, best) : cells;
    const alike = new Map(metrics.map((metric) => [metric, figuresAlike(shown.map(([, values]) => values.get(metric)))]));
    const rows = shown.map(([cell, values], row) => [
      cell.slice(step.length).replace(/^\[(.*)\]$/s, '$1'),
      ...metrics.map((metric) => {
        const value = values.get(metric);
        return value === undefined
          ? ''
          : `${alike.get(metric)![row]}${value === best.get(metric) ? ' *' : best.get(metric) === undefined ? '' : '  '}`;
      }),
    ]);
    if (lines.length > 0) lines.push('');
    lines.push(
      ...tableLines([step, ...metrics.map((metric) => (best.get(metric) === undefined ? metric : `${metric}  `))], rows, {
        columns,
        right: (c) => c > 0,
        heading: colors.bold,
        paint: (text, _, c) => (c > 0 && text.trimEnd().endsWith('*') ? colors.green(text) : text),
      }),
    );
    if (shown.length < cells.length) lines.push(colors.dim(`+ ${cells.length - shown.length} more cells`));
  }
  return lines;
}

const ROWS = 20;

type Row = [cell: string, values: Map<string, number>];

function byStep(figures: Figures): Map<string, Row[]> {
  const steps = new Map<string, Row[]>();
  for (const row of figures) {
    const step = row[0].split('[', 1)[0]!;
    steps.set(step, [...(steps.get(step) ?? []), row]);
  }
  return steps;
}

/** As many decimals for all of a column as the one that needs most. */
function figuresAlike(values: (number | undefined)[]): string[] {
  const alone = values.map((value) => (value === undefined ? '' : figure(value)));
  const decimals = Math.max(...alone.map((text) => /^-?\d+\.(\d+)$/.exec(text)?.[1]?.length ?? 0));
  return alone.map((text, i) => (/^-?\d+(\.\d+)?$/.test(text) ? values[i]!.toFixed(decimals) : text));
}

/** Only where cells compete, and where the name of the metric says which way is better. */
function bestOf(metric: string, cells: Row[]): number | undefined {
  const values = cells.map(([, v]) => v.get(metric)).filter((v) => v !== undefined && Number.isFinite(v)) as number[];
  if (values.length < 2 || values.every((v) => v === values[0])) return undefined;
  const way = direction(metric);
  return way === 'up' ? Math.max(...values) : way === 'down' ? Math.min(...values) : undefined;
}

function direction(metric: string): 'up' | 'down' | undefined {
  if (/loss|perplexity|error|(^|_)(rmse|mse|mae|brier|ece)($|_)/i.test(metric)) return 'down';
  if (
    /accuracy|precision|recall|(^|_)f\d?($|[._])|f1|auc|map|bleu|rouge|score|matthews|mcc|kappa|pearson|spearman|r2|exact_match/i.test(
      metric,
    )
  ) {
    return 'up';
  }
  return undefined;
}

/** Of a large sweep the best rows by the first metric that has a best, the others counted. */
function topRows(cells: Row[], best: Map<string, number | undefined>): Row[] {
  const metric = [...best].find(([, value]) => value !== undefined)?.[0];
  if (metric === undefined) return cells.slice(0, ROWS);
  const sign = direction(metric) === 'up' ? -1 : 1;
  return [...cells].sort(([, a], [, b]) => sign * ((a.get(metric) ?? Number.NaN) - (b.get(metric) ?? Number.NaN)) || 0).slice(0, ROWS);
}
