/** What is different between two texts, line by line, in the form of `diff -u`. */

/** Without a heading; nothing where they are the same. `context`: how many lines around a change are shown. */
export function unifiedLines(before: string, after: string, context = 3): string[] {
  const [a, b] = [linesOf(before), linesOf(after)];
  const edits = editsBetween(a, b);
  const lines: string[] = [];
  for (const hunk of hunksOf(edits, context)) {
    const olds = hunk.filter(({ kind }) => kind !== '+');
    const news = hunk.filter(({ kind }) => kind !== '-');
    const [{ a: from, b: to }] = hunk as [Edit];
    lines.push(`@@ -${range(from, olds.length)} +${range(to, news.length)} @@`);
    for (const { kind, a: i, b: j } of hunk) {
      const text = kind === '+' ? b[j]! : a[i]!;
      lines.push(`${kind}${text.replace(/\n$/, '')}`);
      if (!text.endsWith('\n')) lines.push('\\ No newline at end of file');
    }
  }
  return lines;
}

/** A line of the result: from `a`, from `b`, or from both (' '); where it stands in each. */
interface Edit {
  kind: ' ' | '-' | '+';
  a: number;
  b: number;
}

/** With their ends, so that a last line without one differs from one with it. */
function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/** What both begin and end with is the same; between, the fewest edits. */
function editsBetween(a: string[], b: string[]): Edit[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const inner = fewestEdits(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [
    ...Array.from({ length: head }, (_, i): Edit => ({ kind: ' ', a: i, b: i })),
    ...inner.map(({ kind, a, b }): Edit => ({ kind, a: a + head, b: b + head })),
    ...Array.from({ length: tail }, (_, i): Edit => ({ kind: ' ', a: a.length - tail + i, b: b.length - tail + i })),
  ];
}

/**
 * Myers' greedy algorithm ("An O(ND) difference algorithm and its variations", 1986): for d = 0, 1, … edits, how far one
 * comes on each diagonal; then the way back. Where texts have too little in common, all is replaced.
 */
function fewestEdits(a: string[], b: string[]): Edit[] {
  const furthest = new Map([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let d = 0; d <= a.length + b.length; d++) {
    if (d > MOST) return replaced(a, b);
    trace.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      let x = fromAbove(furthest, k, d) ? furthest.get(k + 1)! : furthest.get(k - 1)! + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return wayBack(trace, a.length, b.length);
    }
  }
  return [];
}

/** So many edits are no longer read; finding them would take long. */
const MOST = 500;

/** Whether diagonal `k` is reached by taking a line of `b`. */
function fromAbove(furthest: Map<number, number>, k: number, d: number): boolean {
  return k === -d || (k !== d && furthest.get(k - 1)! < furthest.get(k + 1)!);
}

function wayBack(trace: Map<number, number>[], x: number, y: number): Edit[] {
  const edits: Edit[] = [];
  for (let d = trace.length - 1; d >= 0; d--) {
    const furthest = trace[d]!;
    const k = x - y;
    const before = fromAbove(furthest, k, d) ? k + 1 : k - 1;
    const [fromX, fromY] = d === 0 ? [0, 0] : [furthest.get(before)!, furthest.get(before)! - before];
    while (x > fromX && y > fromY) edits.push({ kind: ' ', a: --x, b: --y });
    if (d === 0) break;
    if (x === fromX) edits.push({ kind: '+', a: x, b: --y });
    else edits.push({ kind: '-', a: --x, b: y });
  }
  return edits.reverse();
}

function replaced(a: string[], b: string[]): Edit[] {
  return [...a.map((_, i): Edit => ({ kind: '-', a: i, b: 0 })), ...b.map((_, i): Edit => ({ kind: '+', a: a.length, b: i }))];
}

/** Changes with the lines around them; those that would touch are one. */
function hunksOf(edits: Edit[], context: number): Edit[][] {
  const hunks: Edit[][] = [];
  let end = -1;
  for (const [i, { kind }] of edits.entries()) {
    if (kind === ' ') continue;
    const from = Math.max(0, i - context);
    if (from > end) hunks.push([]);
    const to = Math.min(edits.length, i + context + 1);
    hunks.at(-1)!.push(...edits.slice(Math.max(from, end), to));
    end = to;
  }
  return hunks;
}

/** `diff` counts from 1, and names the line before where there is none. */
function range(start: number, length: number): string {
  return length === 1 ? String(start + 1) : `${length === 0 ? start : start + 1},${length}`;
}
