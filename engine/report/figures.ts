/** The final metrics of a run, one table for each step: cells as rows, metrics as columns, the best value marked. */

import { cellNameParts } from '../cell.ts';
import { coreScalar } from '../format/scalars.ts';
import { tableLines } from '../format/table.ts';
import type { Colors } from '../format/terminal-text.ts';
import { figure, oneLine, width, wrap } from '../format/text.ts';

/** Final metrics by cell, then by name. */
export type Figures = Map<string, Map<string, number>>;

export function figureLines(figures: Figures, columns: number, colors: Colors): string[] {
  const lines: string[] = [];
  for (const [step, cells] of byStep(figures)) {
    if (lines.length > 0) lines.push('');
    lines.push(...stepLines(step, cells, columns, colors));
  }
  return lines;
}

function stepLines(step: string, cells: Row[], columns: number, colors: Colors): string[] {
  const metrics = [...new Set(cells.flatMap(([, values]) => [...values.keys()]))];
  const best = new Map(metrics.map((metric) => [metric, bestOf(metric, cells)]));
  const shown = cells.length > ROWS ? topRows(cells, best) : cells;
  const more = shown.length < cells.length ? [colors.dim(`+ ${cells.length - shown.length} more cells`)] : [];
  const metricColumns = metrics.map((metric) => metricColumn(metric, shown, best.get(metric)));
  const { keys, legend } = keyColumns(shown, columns);
  // If a step has one cell, the heading already names it.
  const titled = keys.length > 0;
  const left = titled ? keys : [{ header: step, cells: shown.map(() => ''), right: false }];
  const all = [...left, ...metricColumns];
  const table = tableLines(
    all.map(({ header }) => header),
    shown.map((_, row) => all.map(({ cells }) => cells[row]!)),
    {
      columns,
      keys: left.length,
      right: (c) => all[c]!.right,
      heading: colors.bold,
      paint: (text, _, c) => (c >= left.length && text.trimEnd().endsWith('*') ? colors.green(text) : text),
    },
  );
  return [...(titled ? [colors.bold(oneLine(step))] : []), ...legend, ...table, ...more];
}

interface Column {
  header: string;
  cells: string[];
  right: boolean;
}

function metricColumn(metric: string, shown: Row[], best: number | undefined): Column {
  const values = shown.map(([, figures]) => figures.get(metric));
  const texts = figuresAlike(values);
  const mark = (value: number | undefined) => (best === undefined || value === undefined ? '' : value === best ? ' *' : '  ');
  return { header: best === undefined ? metric : `${metric}  `, cells: texts.map((text, row) => text + mark(values[row])), right: true };
}

/**
 * One column for each dimension in which the cells differ. If these would fill most of the screen, the rows have numbers
 * instead, and a legend explains them.
 */
function keyColumns(shown: Row[], columns: number): { keys: Column[]; legend: string[] } {
  const parts = shown.map(([cell]) => cellNameParts(cell)?.values ?? new Map([['cell', cell]]));
  const names = [...new Set(parts.flatMap((values) => [...values.keys()]))];
  const differing = names.filter((name) => new Set(parts.map((values) => values.get(name))).size > 1);
  const keys = (differing.length > 0 ? differing : names).map((name) =>
    keyColumn(
      name,
      parts.map((values) => values.get(name)),
    ),
  );
  const widest = keys.reduce((sum, { header, cells }) => sum + 2 + Math.max(...[header, ...cells].map(width)), 0);
  if (widest <= (columns * 2) / 3) return { keys, legend: [] };
  const numbers = shown.map((_, i) => String(i + 1));
  const told = shown.map((_, row) =>
    keys.filter(({ cells }) => cells[row] !== '').map(({ header, cells }) => `${header}=${cells[row]!.trim()}`),
  );
  const legend = told.flatMap((values, row) => wrap(`${numbers[row]!.padStart(2)}  ${values.join(', ')}`, columns, '    '));
  return { keys: [{ header: '#', cells: numbers, right: true }], legend: [...legend, ''] };
}

/** All numbers of a column have as many digits as the longest one, so that different numbers look different. */
function keyColumn(name: string, texts: (string | undefined)[]): Column {
  const there = texts.filter((text) => text !== undefined);
  const values = there.map(coreScalar);
  const right = values.every((value) => typeof value === 'number');
  const header = oneLine(name);
  if (!right) return { header, cells: texts.map((text) => oneLine(text ?? '')), right };
  const format = exactly(values as number[]);
  return { header, cells: texts.map((text) => (text === undefined ? '' : format(coreScalar(text) as number))), right };
}

/** Formats each number exactly, all with the same number of decimals. */
function exactly(values: number[]): (value: number) => string {
  const [decimals, digits] = [
    values.map(decimalsOf),
    values.map((value) => /^-?(\d)(?:\.(\d+))?e/.exec(value.toExponential())![2]?.length ?? 0),
  ];
  const most = Math.max(...decimals);
  const large = values.some((value) => Math.abs(value) >= 1e15);
  return most > 7 || large ? (value) => value.toExponential(Math.max(...digits)) : (value) => value.toFixed(most);
}

function decimalsOf(value: number): number {
  const [, mantissa, exponent] = /^-?\d(?:\.(\d+))?e([-+]\d+)$/.exec(value.toExponential())!;
  return Math.max(0, (mantissa?.length ?? 0) - Number(exponent));
}

const ROWS = 20;

type Row = [cell: string, values: Map<string, number>];

function byStep(figures: Figures): Map<string, Row[]> {
  const steps = new Map<string, Row[]>();
  for (const row of figures) {
    const step = row[0].split('[', 1)[0]!;
    const rows = steps.get(step);
    if (rows) rows.push(row);
    else steps.set(step, [row]);
  }
  return steps;
}

/** All numbers of a column get the decimals that the longest one needs, and all get exponents if one needs an exponent. */
function figuresAlike(values: (number | undefined)[]): string[] {
  const alone = values.map((value) => (value === undefined ? '' : figure(value)));
  if (alone.some((text) => /e[-+]\d+$/.test(text)))
    return values.map((value, i) =>
      value === undefined || !Number.isFinite(value) ? alone[i]! : value === 0 ? '0' : value.toExponential(2),
    );
  const decimals = Math.max(0, ...alone.map((text) => /\.(\d+)$/.exec(text)?.[1]?.length ?? 0));
  return values.map((value, i) => {
    if (value === undefined || !Number.isFinite(value)) return alone[i]!;
    const [whole, rest] = value.toFixed(decimals).split('.');
    return rest === undefined ? alone[i]! : `${whole!.replace(/\B(?=(\d{3})+$)/g, ',')}.${rest}`;
  });
}

/** Marks the best value if there are several cells and the metric's direction is known. */
function bestOf(metric: string, cells: Row[]): number | undefined {
  const values = cells.map(([, v]) => v.get(metric)).filter((v) => v !== undefined && Number.isFinite(v)) as number[];
  if (values.length < 2 || values.every((v) => v === values[0])) return undefined;
  const way = direction(metric);
  return way === 'up' ? Math.max(...values) : way === 'down' ? Math.min(...values) : undefined;
}

/** The direction of a metric; undefined if it is unknown. */
export function direction(metric: string): 'up' | 'down' | undefined {
  // The best value on the training data may only show overfitting.
  if (/^train_/i.test(metric)) return undefined;
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

/** Shows the best rows of a large sweep, by the first metric with a known direction, and counts the others. */
function topRows(cells: Row[], best: Map<string, number | undefined>): Row[] {
  const metric = [...best].find(([, value]) => value !== undefined)?.[0];
  if (metric === undefined) return cells.slice(0, ROWS);
  const sign = direction(metric) === 'up' ? -1 : 1;
  return [...cells].sort(([, a], [, b]) => sign * ((a.get(metric) ?? Number.NaN) - (b.get(metric) ?? Number.NaN)) || 0).slice(0, ROWS);
}
