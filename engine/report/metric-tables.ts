/** The final metrics of a run, one table for each step: cells as rows, metrics as columns, the best value marked. */

import { cellNameParts } from '../contract/cell.ts';
import type { MetricDirection } from '../contract/step.ts';
import { coreScalar } from '../format/scalars.ts';
import { tableLines } from '../format/table.ts';
import type { Colors } from '../format/terminal-text.ts';
import { figureWithin, intervalDecimals, metricFigure, oneLine, width, withDecimals, wrap } from '../format/text.ts';

/** Final metrics by cell, then by name. */
export type FinalMetrics = Map<string, Map<string, FinalMetric>>;

export interface FinalMetric {
  value: number;
  /** Undefined if the step does not say which values are better. The table then marks none. */
  better?: MetricDirection;
  /** The ends of its interval. */
  low?: number;
  high?: number;
}

/**
 * `rest`: a command that prints all metrics. With it, metrics with a dot in their names, such as `gap.source`, are left out if they do
 * not fit beside the last of the others.
 */
export function metricTables(metrics: FinalMetrics, columns: number, colors: Colors, rest?: string): string[] {
  const lines: string[] = [];
  for (const [step, cells] of Map.groupBy(metrics, ([cell]): string => cell.split('[', 1)[0]!)) {
    if (lines.length > 0) lines.push('');
    lines.push(...stepTable(step, cells, { columns, colors, rest }));
  }
  return lines;
}

type Row = [cell: string, values: Map<string, FinalMetric>];

interface Printing {
  columns: number;
  colors: Colors;
  rest: string | undefined;
}

function stepTable(step: string, cells: Row[], { columns, colors, rest }: Printing): string[] {
  const names = [...new Set(cells.flatMap(([, values]) => [...values.keys()]))];
  const best = new Map(names.map((name) => [name, bestOf(name, cells)]));
  const shown = cells.length > ROWS ? topRows(cells, best) : cells;
  const more = shown.length < cells.length ? [colors.dim(`+ ${cells.length - shown.length} more cells`)] : [];
  const metricColumns = names.map((name) => metricColumn(name, shown, best.get(name)));
  const { keys, legend } = keyColumns(shown, columns);
  // If a step has one cell, the heading already names it.
  const titled = keys.length > 0;
  const left = titled ? keys : [{ header: step, cells: shown.map(() => ''), right: false }];
  const all = [...left, ...(rest === undefined ? metricColumns : fitting(metricColumns, left, columns))];
  const omitted = left.length + metricColumns.length - all.length;
  if (omitted > 0) more.push(colors.dim(`+ ${omitted} more metrics: ${rest}`));
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

/**
 * First the metrics without a dot in their names, then as many others as fit below the last of them. A step may have only metrics
 * with a dot; then all stay.
 */
function fitting(metrics: Column[], left: Column[], columns: number): Column[] {
  const [plain, others] = [false, true].map((dot) => metrics.filter(({ header }) => header.includes('.') === dot)) as [Column[], Column[]];
  if (plain.length === 0) return metrics;
  const widthOf = ({ header, cells }: Column) => GAP + Math.max(...[header, ...cells].map(width));
  const start = left.reduce((sum, column) => sum + widthOf(column), -GAP);
  let used = start;
  // Columns that do not fit follow below.
  for (const column of plain) used = used + widthOf(column) > columns && used > start ? start + widthOf(column) : used + widthOf(column);
  const fits = others.filter((column) => {
    used += widthOf(column);
    return used <= columns;
  });
  return [...plain, ...fits];
}

/** The space between two columns. */
const GAP = 2;

const ROWS = 20;

/** The best value, if there are several different ones and the cells agree on which values are better. */
function bestOf(name: string, cells: Row[]): number | undefined {
  const values = cells.map(([, metrics]) => metrics.get(name)?.value).filter((value) => value !== undefined && Number.isFinite(value));
  if (values.length < 2 || values.every((value) => value === values[0])) return undefined;
  const direction = directionOf(name, cells);
  return direction && (direction === 'higher' ? Math.max(...(values as number[])) : Math.min(...(values as number[])));
}

/** Cells of older runs have no direction. */
function directionOf(name: string, cells: Row[]): MetricDirection | undefined {
  const directions = new Set(cells.flatMap(([, metrics]) => metrics.get(name)?.better ?? []));
  return directions.size === 1 ? [...directions][0] : undefined;
}

/** Shows the best rows of a large sweep, by the first metric with a best value, and counts the others. */
function topRows(cells: Row[], best: Map<string, number | undefined>): Row[] {
  const name = [...best].find(([, value]) => value !== undefined)?.[0];
  if (name === undefined) return cells.slice(0, ROWS);
  const sign = directionOf(name, cells) === 'higher' ? -1 : 1;
  const valueIn = ([, metrics]: Row) => metrics.get(name)?.value ?? Number.NaN;
  return [...cells].sort((a, b) => sign * (valueIn(a) - valueIn(b)) || 0).slice(0, ROWS);
}

interface Column {
  header: string;
  cells: string[];
  right: boolean;
}

function metricColumn(name: string, shown: Row[], best: number | undefined): Column {
  const metrics = shown.map(([, values]) => values.get(name));
  const texts = metrics.some((metric) => metric?.low !== undefined)
    ? alikeIntervals(metrics)
    : alikeFigures(metrics.map((metric) => metric?.value));
  const mark = (value: number | undefined) => (best === undefined || value === undefined ? '' : value === best ? ' *' : '  ');
  return {
    header: best === undefined ? name : `${name}  `,
    cells: texts.map((text, row) => text + mark(metrics[row]?.value)),
    right: true,
  };
}

/** All numbers of a column get the decimals that the longest one needs, and all get exponents if one needs an exponent. */
function alikeFigures(values: (number | undefined)[]): string[] {
  const texts = values.map((value) => (value === undefined ? '' : metricFigure(value)));
  if (texts.some((text) => /e[-+]\d+$/.test(text)))
    return values.map((value, i) =>
      value === undefined || !Number.isFinite(value) ? texts[i]! : value === 0 ? '0' : value.toExponential(2),
    );
  const decimals = Math.max(0, ...texts.map((text) => /\.(\d+)$/.exec(text)?.[1]?.length ?? 0));
  return values.map((value) => (value === undefined ? '' : withDecimals(value, decimals)));
}

/** Values with the same decimals, above each other, with their intervals. */
function alikeIntervals(metrics: (FinalMetric | undefined)[]): string[] {
  const all = metrics.map((metric) => (hasInterval(metric) ? intervalDecimals(metric) : 0));
  const decimals = all.includes(undefined) ? undefined : Math.max(...(all as number[]));
  const texts = metrics.map((metric) => {
    if (metric === undefined) return ['', ''];
    if (!hasInterval(metric)) return [decimals === undefined ? metricFigure(metric.value) : withDecimals(metric.value, decimals), ''];
    const text = figureWithin(metric, decimals);
    return [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' '))];
  });
  const longest = Math.max(...texts.map(([, interval]) => interval!.length));
  return texts.map(([value, interval]) => value! + interval!.padStart(longest));
}

const hasInterval = (metric: FinalMetric | undefined): metric is FinalMetric & { low: number; high: number } =>
  metric?.low !== undefined && metric.high !== undefined;

/** One column for each dimension in which the cells differ; if they are too wide, row numbers and a legend. */
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
  const dimensions = shown.map((_, row) =>
    keys.filter(({ cells }) => cells[row] !== '').map(({ header, cells }) => `${header}=${cells[row]!.trim()}`),
  );
  const legend = dimensions.flatMap((values, row) => wrap(`${numbers[row]!.padStart(2)}  ${values.join(', ')}`, columns, '    '));
  return { keys: [{ header: '#', cells: numbers, right: true }], legend: [...legend, ''] };
}

/** All numbers of a column have as many digits as the longest one, so that different numbers look different. */
function keyColumn(name: string, texts: (string | undefined)[]): Column {
  const present = texts.filter((text) => text !== undefined);
  const values = present.map(coreScalar);
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
