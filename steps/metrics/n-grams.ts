/** Runs of n tokens, counted; and texts cut at what Python takes for white space, as the programs do that define these metrics. */

/** What joins the tokens of a run: no token has it, since it is white space. */
const BETWEEN = '\u001f';

/** How often each run of `order` tokens occurs. */
export function nGrams(tokens: readonly string[], order: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + order <= tokens.length; i++) {
    const run = order === 1 ? tokens[i]! : tokens.slice(i, i + order).join(BETWEEN);
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  return counts;
}

/** How many runs two texts have in common, each as often as both have it. */
export function common(a: Map<string, number>, b: Map<string, number>): number {
  let sum = 0;
  for (const [run, count] of a) sum += Math.min(count, b.get(run) ?? 0);
  return sum;
}

export function total(counts: Map<string, number>): number {
  let sum = 0;
  for (const count of counts.values()) sum += count;
  return sum;
}

/** Python's str.split. */
export function splitAtSpace(text: string): string[] {
  const words: string[] = [];
  let begin = 0;
  for (let i = 0; i <= text.length; i++) {
    if (i < text.length && !isSpace(text[i]!)) continue;
    if (i > begin) words.push(text.slice(begin, i));
    begin = i + 1;
  }
  return words;
}

/** Python's str.rstrip. */
export function withoutSpaceAtEnd(text: string): string {
  let end = text.length;
  while (end > 0 && isSpace(text[end - 1]!)) end--;
  return text.slice(0, end);
}

/** Python's str.isspace: JavaScript's \s has the byte order mark too, and lacks four separators (28 to 31) and the next line (133). */
function isSpace(character: string): boolean {
  const code = character.charCodeAt(0);
  return (code >= 28 && code <= 31) || code === 133 || (code !== 0xfeff && /\s/.test(character));
}
