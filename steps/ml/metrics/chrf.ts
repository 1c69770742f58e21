/**
 * chrF2 (Popović 2015) as sacrebleu computes it: over the whole corpus, character n-grams of orders one to six
 * without white space, with recall weighted twice as much as precision. chrF2++ (Popović 2017) also counts word
 * n-grams of orders one and two.
 */

import { mean } from './counts.ts';
import { type Counter, common, nGrams, splitAtSpace, total } from './n-grams.ts';

const CHARACTER_ORDER = 6;
const BETA = 2;

/** For one order. */
interface Runs {
  own: number;
  theirs: number;
  hits: number;
}

/** From 0 to 100. `wordOrder`: 0 for chrF, 2 for chrF++. */
export function chrf(wordOrder: 0 | 2): Counter {
  const sums: Runs[] = Array.from({ length: CHARACTER_ORDER + wordOrder }, () => ({ own: 0, theirs: 0, hits: 0 }));
  const numbersOfReferences = new Set<number>();
  return {
    add({ references, predicted }) {
      const own = runsOf(predicted, wordOrder);
      // The reference with the highest score counts; the first of equals.
      let nearest: Runs[] | undefined;
      for (const reference of references) {
        const runs = compared(own, runsOf(reference, wordOrder));
        if (!nearest || fScore(runs) > fScore(nearest)) nearest = runs;
      }
      for (const [k, runs] of nearest!.entries()) {
        sums[k]!.own += runs.own;
        sums[k]!.theirs += runs.theirs;
        sums[k]!.hits += runs.hits;
      }
      numbersOfReferences.add(references.length);
    },
    value: () => fScore(sums),
    details: () => ({
      signature: `nrefs:${numbersOfReferences.size === 1 ? [...numbersOfReferences][0] : 'var'}|case:mixed|eff:yes|nc:${CHARACTER_ORDER}|nw:${wordOrder}|space:no`,
    }),
  };
}

/** The n-grams of each order: of characters, then of words. */
function runsOf(text: string, wordOrder: number): Map<string, number>[] {
  const words = splitAtSpace(text);
  const characters = Array.from(words.join(''));
  return [
    ...Array.from({ length: CHARACTER_ORDER }, (_, k) => nGrams(characters, k + 1)),
    ...Array.from({ length: wordOrder }, (_, k) => nGrams(words.flatMap(partedWord), k + 1)),
  ];
}

/** Splits a punctuation mark off the end of a word or, if there is none, off its start. */
function partedWord(word: string): string[] {
  const characters = Array.from(word);
  if (characters.length === 1) return [word];
  if (PUNCTUATION.test(characters.at(-1)!)) return [characters.slice(0, -1).join(''), characters.at(-1)!];
  if (PUNCTUATION.test(characters[0]!)) return [characters[0]!, characters.slice(1).join('')];
  return [word];
}

const PUNCTUATION = /^[!-/:-@[-`{-~]$/;

function compared(own: Map<string, number>[], theirs: Map<string, number>[]): Runs[] {
  return own.map((runs, k) => ({
    // A reference that is too short for this order does not count.
    own: theirs[k]!.size > 0 ? total(runs) : 0,
    theirs: total(theirs[k]!),
    hits: common(runs, theirs[k]!),
  }));
}

/** In percent, from the mean precision and recall over the orders that both sides have. */
function fScore(orders: Runs[]): number {
  const both = orders.filter(({ own, theirs }) => own > 0 && theirs > 0);
  const precision = mean(both.map(({ hits, own }) => hits / own));
  const recall = mean(both.map(({ hits, theirs }) => hits / theirs));
  return precision + recall > 0 ? (100 * (1 + BETA ** 2) * precision * recall) / (BETA ** 2 * precision + recall) : 0;
}
