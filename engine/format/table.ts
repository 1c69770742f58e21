/** Prints a table with columns as wide as their content. Columns that do not fit follow below, with the first ones repeated. */

import { printableName } from './terminal-text.ts';
import { clipMiddle, pad, padStart, width } from './text.ts';

interface TableOptions {
  columns: number;
  /** Number of columns at the left that identify a row (default 1). They are never cut so far that two rows look the same. */
  keys?: number;
  /** Whether columns of text are cut before columns follow below (default true). */
  cuts?: boolean;
  /** Columns that are aligned to the right. */
  right?: (column: number) => boolean;
  heading?: (text: string) => string;
  /** Colours a table cell after it was cut and padded. */
  paint?: (text: string, row: number, column: number) => string;
}

export function tableLines(heads: string[], contents: string[][], options: TableOptions): string[] {
  const [header, ...rows] = [heads, ...contents].map((row) => row.map(printableName)) as [string[], ...string[][]];
  const { columns, keys = 1, cuts = true, right = () => false, heading = (text) => text, paint = (text) => text } = options;
  const texts = header.map((_, c) => [header, ...rows].map((row) => row[c] ?? ''));
  const natural = texts.map((column) => column.reduce((widest, text) => Math.max(widest, width(text)), 0));
  const widths = cuts ? fitted(natural, columns, right) : natural.map((n) => Math.min(n, columns));
  for (let c = 0; c < keys; c++) widths[c] = Math.max(widths[c]!, distinctWidth(texts[c]!, natural[c]!, widths[c]!));

  const lines: string[] = [];
  for (let from = keys; from < header.length || from === keys; ) {
    let used = range(0, keys).reduce((sum, c) => sum + widths[c]! + GAP, -GAP);
    let to = from;
    while (to < header.length && (to === from || used + GAP + widths[to]! <= columns)) used += GAP + widths[to++]!;
    const shown = [...range(0, keys), ...range(from, to)];
    const line = (row: string[], finish: (text: string, column: number) => string) =>
      shown
        .map((c) => {
          const text = clipMiddle(row[c] ?? '', widths[c]!);
          return finish((right(c) ? padStart : pad)(text, widths[c]!), c);
        })
        .join(' '.repeat(GAP))
        .trimEnd();
    if (from > keys) lines.push('');
    lines.push(line(header, heading), ...rows.map((row, r) => line(row, (text, c) => paint(text, r, c))));
    from = Math.max(to, from + 1);
  }
  return lines;
}

const GAP = 2;
/** Minimum width of a column of text. */
const LEAST = 12;

/** Shrinks the widest columns of text until all columns fit or none can shrink. Numbers are never cut. */
function fitted(natural: number[], columns: number, right: (column: number) => boolean): number[] {
  const widths = natural.map((n) => Math.min(n, columns));
  const gives = (c: number) => !right(c) && widths[c]! > LEAST;
  for (let over = widths.reduce((sum, n) => sum + n + GAP, -GAP) - columns; over > 0; over--) {
    const widest = widths.reduce((best, n, c) => (gives(c) && (best < 0 || n > widths[best]!) ? c : best), -1);
    if (widest < 0) break;
    widths[widest]!--;
  }
  return widths;
}

/** The smallest width, at least `least`, at which different texts still differ. */
export function distinctWidth(texts: string[], natural: number, least: number): number {
  const distinct = [...new Set(texts)];
  const differ = (columns: number) => new Set(distinct.map((text) => clipMiddle(text, columns))).size === distinct.length;
  if (least >= natural || differ(least)) return Math.min(least, natural);
  let [low, high] = [least, natural];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (differ(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
