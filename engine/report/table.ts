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
  const natural = header.map((_, c) => Math.max(...all.map((row) => width(row[c] ?? ''))));
  // The first column names the row: it gives way first, down to what still tells rows apart.
  const others = natural.slice(1);
  const first = Math.min(natural[0]!, Math.max(12, columns - GAP - Math.max(0, ...others)));
  const widths = [Math.min(first, columns), ...others.map((n) => Math.min(n, Math.max(8, columns - first - GAP)))];

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

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);
}
