/** A table on the screen: columns as wide as their content; those that do not fit follow below, with the first one repeated. */
import { clipMiddle, pad, padStart, width } from './text.ts';

export interface TableOptions {
  columns: number;
  /** Columns whose content stands at the right. */
  right?: (column: number) => boolean;
  heading?: (text: string) => string;
  /** Colours a cell after it was cut and padded. */
  paint?: (text: string, row: number, column: number) => string;
}

export function tableLines(header: string[], rows: string[][], options: TableOptions): string[] {
  const { columns, right = () => false, heading = (text) => text, paint = (text) => text } = options;
  const all = [header, ...rows];
  const widths = fitted(
    header.map((_, c) => Math.max(...all.map((row) => width(row[c] ?? '')))),
    columns,
    right,
  );

  const lines: string[] = [];
  for (let from = 1; from < header.length || from === 1; ) {
    let used = widths[0]!;
    let to = from;
    while (to < header.length && (to === from || used + GAP + widths[to]! <= columns)) used += GAP + widths[to++]!;
    const shown = [0, ...range(from, to)];
    const line = (row: string[], finish: (text: string, column: number) => string) =>
      shown
        .map((c) => {
          const text = clipMiddle(row[c] ?? '', widths[c]!);
          return finish((right(c) ? padStart : pad)(text, widths[c]!), c);
        })
        .join(' '.repeat(GAP))
        .trimEnd();
    if (from > 1) lines.push('');
    lines.push(line(header, heading), ...rows.map((row, r) => line(row, (text, c) => paint(text, r, c))));
    from = Math.max(to, from + 1);
  }
  return lines;
}

const GAP = 2;
/** What a column of text keeps: less tells nothing. */
const LEAST = 12;

/** The widest columns of text give way, until all fit or nothing is left to give; numbers stay whole. */
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

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
