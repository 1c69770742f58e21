/**
 * What the metrics count: sums, means and scores with scikit-learn's definitions (zero_division = 0), n-grams, and words
 * as Python splits them.
 */

import type { Json } from '../../../engine/contract/step.ts';

export interface Counts {
  /** True positives, predicted ones, and true ones. */
  hits: number;
  claimed: number;
  support: number;
}

export type Scores = { precision: number; recall: number; f1: number; support: number };

export const scoresOf = ({ hits, claimed, support }: Counts): Scores => ({
  precision: ratio(hits, claimed),
  recall: ratio(hits, support),
  f1: ratio(2 * hits, claimed + support),
  support,
});

/** The scores of one class alone: null where no row tells them. Averages count these as 0, as in scikit-learn. */
export function scoresAlone(counts: Counts): { [K in keyof Scores]: number | null } {
  const { precision, recall, f1, support } = scoresOf(counts);
  return {
    precision: support === 0 || counts.claimed === 0 ? null : precision,
    recall: support === 0 ? null : recall,
    f1: support === 0 ? null : f1,
    support,
  };
}

export const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);

export const total = (numbers: readonly number[]): number => numbers.reduce((sum, number) => sum + number, 0);

/** NaN for an empty list. */
export const mean = (numbers: readonly number[]): number => total(numbers) / numbers.length;

/** The smallest and the largest; NaN if one is NaN. A loop, because the arguments of a call are limited in number. */
export function extremes(numbers: readonly number[]): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const number of numbers) [low, high] = [Math.min(low, number), Math.max(high, number)];
  return [low, high];
}

/** The mean of `value` over the whole numbers below `count`; NaN for none. */
export function meanOver(count: number, value: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += value(i);
  return sum / count;
}

/** The values at these places. A loop, because `Float64Array.from` with a function is many times slower. */
export function picked(values: ArrayLike<number>, rows: Int32Array): Float64Array {
  const own = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) own[i] = values[rows[i]!]!;
  return own;
}

/** Of numbers in ascending order, with linear interpolation, as in NumPy. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = share * (sorted.length - 1);
  const [below, above] = [sorted[Math.floor(place)]!, sorted[Math.ceil(place)]!];
  return below + (above - below) * (place - Math.floor(place));
}

/** The metrics with these names, which are keys of the table. */
export const computed = <A extends unknown[]>(
  metrics: Record<string, (...of: A) => number>,
  names: readonly string[],
  ...of: A
): Record<string, number> => Object.fromEntries(names.map((name) => [name, metrics[name]!(...of)]));

/** Joins the tokens of an n-gram. No token contains it, because it is white space. */
const BETWEEN = '\u001f';

/** How often each n-gram of this order occurs. */
export function nGrams(tokens: readonly string[], order: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + order <= tokens.length; i++) {
    const run = order === 1 ? tokens[i]! : tokens.slice(i, i + order).join(BETWEEN);
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  return counts;
}

/** The number of n-grams that two texts have in common, each counted as often as both have it. */
export function common(a: Map<string, number>, b: Map<string, number>): number {
  let sum = 0;
  for (const [run, count] of a) sum += Math.min(count, b.get(run) ?? 0);
  return sum;
}

export const totalOf = (counts: Map<string, number>): number => total([...counts.values()]);

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

/** Python's str.isspace. JavaScript's \s also matches the byte order mark, but not four separators (28 to 31) and the next line (133). */
function isSpace(character: string): boolean {
  const code = character.charCodeAt(0);
  return (code >= 28 && code <= 31) || code === 133 || (code !== 0xfeff && /\s/.test(character));
}

export interface GeneratedExample {
  /** The references, one or several. */
  references: string[];
  predicted: string;
}

/** One metric of one evaluation. */
export interface Counter {
  add(one: GeneratedExample): void;
  /** Of these examples, in the order of `add`; default: of all. */
  value(rows?: Int32Array): number;
  /** It is defined for a single text, too. */
  ofText?: true;
  /** Details that belong to the number, such as how it was computed. */
  details?(): Record<string, Json>;
}
