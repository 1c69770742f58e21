/**
 * ROUGE (Lin 2004) as the package rouge_score computes it with its stemmer: F1 of common words (rouge1), of common
 * bigrams (rouge2), or of the longest common subsequence, over the whole text (rougeL) or line by line (rougeLsum).
 * The best of several references counts. The value is the unweighted mean over the examples.
 */

import { type Counter, common, nGrams } from './counts.ts';
import { PerExample } from './per-example.ts';

type RougeType = 'rouge1' | 'rouge2' | 'rougeL' | 'rougeLsum';

/** From 0 to 1. */
export function rouge(type: RougeType): Counter {
  const scores = new PerExample(1);
  return {
    add({ references, predicted }) {
      scores.add([Math.max(...references.map((reference) => SCORES[type](reference, predicted)))]);
    },
    value: (rows) => scores.sums(rows)[0]! / (rows?.length ?? scores.count),
    ofText: true,
    details: () => ({ stemmer: 'porter' }),
  };
}

/** F1 of one output. */
const SCORES: Record<RougeType, (reference: string, predicted: string) => number> = {
  rouge1: (reference, predicted) => ofRuns(wordsOf(reference), wordsOf(predicted), 1),
  rouge2: (reference, predicted) => ofRuns(wordsOf(reference), wordsOf(predicted), 2),
  rougeL(reference, predicted) {
    const [real, candidate] = [wordsOf(reference), wordsOf(predicted)];
    return f1(subsequence(real, candidate).length, real.length, candidate.length);
  },
  rougeLsum: (reference, predicted) => ofLines(linesOf(reference), linesOf(predicted)),
};

function ofRuns(real: string[], candidate: string[], order: number): number {
  const hits = common(nGrams(real, order), nGrams(candidate, order));
  return f1(hits, Math.max(real.length - order + 1, 0), Math.max(candidate.length - order + 1, 0));
}

/** A word matches if it is in the longest common subsequence with any line of the output, at most as often as both texts have it. */
function ofLines(real: string[][], candidate: string[][]): number {
  const left = [nGrams(real.flat(), 1), nGrams(candidate.flat(), 1)];
  let hits = 0;
  for (const line of real) {
    const places = new Set(candidate.flatMap((other) => subsequence(line, other)));
    for (const place of [...places].sort((a, b) => a - b)) {
      const word = line[place]!;
      if (left.some((counts) => (counts.get(word) ?? 0) === 0)) continue;
      for (const counts of left) counts.set(word, counts.get(word)! - 1);
      hits++;
    }
  }
  return f1(hits, real.flat().length, candidate.flat().length);
}

/** Indices in `real` of the longest common subsequence that rouge_score finds: the unions of several would differ. */
function subsequence(real: string[], candidate: string[]): number[] {
  const width = candidate.length + 1;
  const longest = new Int32Array((real.length + 1) * width);
  for (let i = 1; i <= real.length; i++)
    for (let j = 1; j <= candidate.length; j++)
      longest[i * width + j] =
        real[i - 1] === candidate[j - 1]
          ? longest[(i - 1) * width + j - 1]! + 1
          : Math.max(longest[(i - 1) * width + j]!, longest[i * width + j - 1]!);
  const places: number[] = [];
  for (let i = real.length, j = candidate.length; i > 0 && j > 0; ) {
    if (real[i - 1] === candidate[j - 1]) {
      places.push(--i);
      j--;
    } else if (longest[i * width + j - 1]! > longest[(i - 1) * width + j]!) j--;
    else i--;
  }
  return places.reverse();
}

/** Sequences of ASCII letters and digits in lower case; those of more than three characters are stemmed. */
function wordsOf(text: string): string[] {
  const words = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return words.map((word) => (word.length > 3 ? stemOf(word) : word));
}

/** Stems are cached: each of the four scores needs them, and words recur in other texts. */
const stems = new Map<string, string>();

function stemOf(word: string): string {
  const known = stems.get(word);
  if (known !== undefined) return known;
  const stemmed = stem(word);
  if (stems.size < 100_000) stems.set(word, stemmed);
  return stemmed;
}

const linesOf = (text: string): string[][] => text.split('\n').map(wordsOf);

function f1(hits: number, real: number, candidate: number): number {
  return hits === 0 ? 0 : (2 * hits) / (real + candidate);
}

/**
 * The Porter stemmer (Porter 1980, "An algorithm for suffix stripping", Program 14.3) with NLTK's default extensions,
 * as rouge_score uses it. For words of ASCII letters and digits in lower case.
 */
export function stem(word: string): string {
  const known = IRREGULAR.get(word);
  if (known !== undefined) return known;
  if (word.length <= 2) return word;
  return [plural, participle, finalY, doubleSuffix, third, fourth, finalE, finalL].reduce((stemmed, step) => step(stemmed), word);
}

const IRREGULAR = new Map([
  ...['sky', 'skies'].map((word) => [word, 'sky'] as const),
  ...['dying', 'lying', 'tying'].map((word) => [word, `${word[0]}ie`] as const),
  ...['inning', 'outing', 'canning'].flatMap((word) => [[word, word] as const, [`${word}s`, word] as const]),
  ...['news', 'howe', 'proceed', 'exceed', 'succeed'].map((word) => [word, word] as const),
]);

/** The replacement of a suffix, if the stem before it allows. */
type Rule = readonly [suffix: string, replacement: string, allowed: (before: string) => boolean];

/** The first rule whose suffix matches decides, even if its condition fails. */
function apply(word: string, rules: readonly Rule[]): string {
  const rule = rules.find(([suffix]) => word.endsWith(suffix));
  if (!rule) return word;
  const [suffix, replacement, allowed] = rule;
  const before = cut(word, suffix);
  return allowed(before) ? before + replacement : word;
}

const always = () => true;
const measured = (before: string) => measure(before) > 0;
const measuredTwice = (before: string) => measure(before) > 1;

/** The paper numbers the steps 1a, 1b, 1c, 2, 3, 4, 5a, 5b. */
function plural(word: string): string {
  if (word.length === 4 && word.endsWith('ies')) return cut(word, 's');
  return apply(word, [
    ['sses', 'ss', always],
    ['ies', 'i', always],
    ['ss', 'ss', always],
    ['s', '', always],
  ]);
}

function participle(word: string): string {
  if (word.endsWith('ied')) return cut(word, word.length === 4 ? 'd' : 'ed');
  if (word.endsWith('eed')) return measured(cut(word, 'eed')) ? cut(word, 'd') : word;
  const suffix = ['ed', 'ing'].find((ending) => word.endsWith(ending) && hasVowel(cut(word, ending)));
  if (suffix === undefined) return word;
  const before = cut(word, suffix);
  if (/(at|bl|iz)$/.test(before)) return `${before}e`;
  const last = before.length - 1;
  if (before.length >= 2 && before[last] === before[last - 1] && isConsonant(before, last))
    return /[lsz]$/.test(before) ? before : before.slice(0, -1);
  return measure(before) === 1 && endsShort(before) ? `${before}e` : before;
}

/** NLTK: after a consonant, but not if that is the whole word. */
function finalY(word: string): string {
  return apply(word, [['y', 'i', (before) => before.length > 1 && isConsonant(before, before.length - 1)]]);
}

function doubleSuffix(word: string): string {
  // NLTK: -alli first, and then again.
  if (word.endsWith('alli') && measured(cut(word, 'alli'))) return doubleSuffix(cut(word, 'li'));
  return apply(word, SECOND);
}

const SECOND: readonly Rule[] = [
  ...(
    [
      ['ational', 'ate'],
      ['tional', 'tion'],
      ['enci', 'ence'],
      ['anci', 'ance'],
      ['izer', 'ize'],
      ['bli', 'ble'],
      ['alli', 'al'],
      ['entli', 'ent'],
      ['eli', 'e'],
      ['ousli', 'ous'],
      ['ization', 'ize'],
      ['ation', 'ate'],
      ['ator', 'ate'],
      ['alism', 'al'],
      ['iveness', 'ive'],
      ['fulness', 'ful'],
      ['ousness', 'ous'],
      ['aliti', 'al'],
      ['iviti', 'ive'],
      ['biliti', 'ble'],
      ['fulli', 'ful'],
    ] as const
  ).map(([suffix, replacement]) => [suffix, replacement, measured] as const),
  // NLTK: the l belongs to the stem.
  ['logi', 'log', (before) => measured(`${before}l`)],
];

function third(word: string): string {
  return apply(word, [
    ['icate', 'ic', measured],
    ['ative', '', measured],
    ['alize', 'al', measured],
    ['iciti', 'ic', measured],
    ['ical', 'ic', measured],
    ['ful', '', measured],
    ['ness', '', measured],
  ]);
}

function fourth(word: string): string {
  return apply(word, FOURTH);
}

const FOURTH: readonly Rule[] = [
  ...['al', 'ance', 'ence', 'er', 'ic', 'able', 'ible', 'ant', 'ement', 'ment', 'ent'].map(
    (suffix) => [suffix, '', measuredTwice] as const,
  ),
  ['ion', '', (before) => measuredTwice(before) && /[st]$/.test(before)],
  ...['ou', 'ism', 'ate', 'iti', 'ous', 'ive', 'ize'].map((suffix) => [suffix, '', measuredTwice] as const),
];

function finalE(word: string): string {
  return apply(word, [['e', '', (before) => measure(before) > 1 || (measure(before) === 1 && !endsShort(before))]]);
}

function finalL(word: string): string {
  return apply(word, [['ll', 'l', (before) => measuredTwice(`${before}l`)]]);
}

const cut = (word: string, suffix: string): string => word.slice(0, word.length - suffix.length);

/** The number of vowel-consonant sequences: the m of [C](VC)^m[V]. */
function measure(text: string): number {
  const kinds = kindsOf(text);
  let count = 0;
  for (let i = 1; i < kinds.length; i++) if (kinds[i] && !kinds[i - 1]) count++;
  return count;
}

const hasVowel = (text: string): boolean => kindsOf(text).includes(false);
const isConsonant = (text: string, place: number): boolean => kindsOf(text)[place]!;

/** Consonant, vowel, and a consonant other than w, x and y at the end; NLTK: or a word of vowel and consonant alone. */
function endsShort(text: string): boolean {
  const kinds = kindsOf(text);
  const [before, middle, last] = kinds.slice(-3);
  if (kinds.length === 2) return !before && middle === true;
  return kinds.length > 2 && before === true && middle === false && last === true && !/[wxy]$/.test(text);
}

/** For each letter whether it is a consonant; y is one at the start and after a vowel. */
function kindsOf(text: string): boolean[] {
  const kinds: boolean[] = [];
  for (const letter of text) kinds.push(letter === 'y' ? kinds.at(-1) !== true : !'aeiou'.includes(letter));
  return kinds;
}
