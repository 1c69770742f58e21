/**
 * ROUGE (Lin 2004) as the package rouge_score computes it with its stemmer: F1 of common words (rouge1), of common
 * bigrams (rouge2), or of the longest common subsequence, over the whole text (rougeL) or line by line (rougeLsum).
 * The best of several references counts. The value is the unweighted mean over the examples, with a confidence
 * interval from a seeded bootstrap.
 */
import { random } from '../models/random.ts';
import type { Counter } from './generated.ts';
import { common, nGrams } from './n-grams.ts';
import { stem } from './stem.ts';

export type RougeType = 'rouge1' | 'rouge2' | 'rougeL' | 'rougeLsum';

/** From 0 to 1. */
export function rouge(type: RougeType): Counter {
  const scores: number[] = [];
  return {
    add({ references, predicted }) {
      scores.push(Math.max(...references.map((reference) => SCORES[type](reference, predicted))));
    },
    value: () => mean(scores),
    details() {
      const [low, high] = interval(scores);
      return { stemmer: 'porter', confidence: 0.95, low, high };
    },
  };
}

/** F1 of one output. */
const SCORES: Record<RougeType, (reference: string, predicted: string) => number> = {
  rouge1: (reference, predicted) => ofRuns(wordsOf(reference), wordsOf(predicted), 1),
  rouge2: (reference, predicted) => ofRuns(wordsOf(reference), wordsOf(predicted), 2),
  rougeL(reference, predicted) {
    const [real, said] = [wordsOf(reference), wordsOf(predicted)];
    return f1(subsequence(real, said).length, real.length, said.length);
  },
  rougeLsum: (reference, predicted) => ofLines(linesOf(reference), linesOf(predicted)),
};

function ofRuns(real: string[], said: string[], order: number): number {
  const hits = common(nGrams(real, order), nGrams(said, order));
  return f1(hits, Math.max(real.length - order + 1, 0), Math.max(said.length - order + 1, 0));
}

/**
 * A word of a reference's line matches if it is in the longest common subsequence with any line of the output; each
 * word counts at most as often as both texts have it.
 */
function ofLines(real: string[][], said: string[][]): number {
  const left = [nGrams(real.flat(), 1), nGrams(said.flat(), 1)];
  let hits = 0;
  for (const line of real) {
    const places = new Set(said.flatMap((other) => subsequence(line, other)));
    for (const place of [...places].sort((a, b) => a - b)) {
      const word = line[place]!;
      if (left.some((counts) => (counts.get(word) ?? 0) === 0)) continue;
      for (const counts of left) counts.set(word, counts.get(word)! - 1);
      hits++;
    }
  }
  return f1(hits, real.flat().length, said.flat().length);
}

/**
 * Indices in `real` of a longest common subsequence. If there are several, it is the one that rouge_score finds,
 * because their unions differ.
 */
function subsequence(real: string[], said: string[]): number[] {
  const width = said.length + 1;
  const longest = new Int32Array((real.length + 1) * width);
  for (let i = 1; i <= real.length; i++)
    for (let j = 1; j <= said.length; j++)
      longest[i * width + j] =
        real[i - 1] === said[j - 1]
          ? longest[(i - 1) * width + j - 1]! + 1
          : Math.max(longest[(i - 1) * width + j]!, longest[i * width + j - 1]!);
  const places: number[] = [];
  for (let i = real.length, j = said.length; i > 0 && j > 0; ) {
    if (real[i - 1] === said[j - 1]) {
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
  const found = stem(word);
  if (stems.size < 100_000) stems.set(word, found);
  return found;
}

const linesOf = (text: string): string[][] => text.split('\n').map(wordsOf);

function f1(hits: number, real: number, said: number): number {
  return hits === 0 ? 0 : (2 * hits) / (real + said);
}

const RESAMPLES = 1000;

/** The middle 95% of the means of bootstrap samples. */
function interval(scores: number[]): [low: number, high: number] {
  const uniform = random('bootstrap', scores.length);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (let i = 0; i < scores.length; i++) sum += scores[Math.floor(uniform() * scores.length)]!;
    return sum / scores.length;
  }).sort();
  const at = (share: number) => {
    const place = share * (RESAMPLES - 1);
    const [below, above] = [means[Math.floor(place)]!, means[Math.ceil(place)]!];
    return below + (above - below) * (place - Math.floor(place));
  };
  return [at(0.025), at(0.975)];
}

const mean = (numbers: number[]): number => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
