/** One part of what `tunesmith show` prints about a path. */

export interface Preview {
  /** What it is: "table, 5,021 rows". */
  title: string;
  table?: { header: string[]; rows: string[][]; numeric: boolean[] };
  lines?: string[];
  /** What was omitted: "+ 5,011 more rows". */
  rest?: string;
}

/** `rest`, if anything was omitted. */
export function more(count: number, things: string): { rest?: string } {
  return count > 0 ? { rest: `+ ${number(count)} more ${things}` } : {};
}

export function number(n: number): string {
  return n.toLocaleString('en-US');
}
