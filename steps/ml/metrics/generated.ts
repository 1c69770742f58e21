/**
 * Metrics of generated texts, computed example by example. Each is defined by its reference implementation, in its
 * units: bleu, chrf and chrf++ by sacrebleu (Post 2018, arXiv:1804.08771), from 0 to 100; rouge1, rouge2, rougeL and
 * rougeLsum by rouge_score, from 0 to 1; exact_match is the share of outputs that equal one of their references exactly.
 */

import type { Json } from '../../../engine/contract/step.ts';
import { type Counter, common, type GeneratedExample, mean, nGrams, splitAtSpace, totalOf, withoutSpaceAtEnd } from './counts.ts';
import { PerExample } from './per-example.ts';
import { rouge } from './rouge.ts';

/** All metrics by name. */
export const GENERATED: Record<string, () => Counter> = {
  rouge1: () => rouge('rouge1'),
  rouge2: () => rouge('rouge2'),
  rougeL: () => rouge('rougeL'),
  rougeLsum: () => rouge('rougeLsum'),
  bleu,
  chrf: () => chrf(0),
  'chrf++': () => chrf(2),
  exact_match: exactMatch,
};

/** `names` are keys of GENERATED. Texts are not kept, only what each metric counts. */
export function generatedMetrics(names: readonly string[]) {
  const counters = names.map((name) => [name, GENERATED[name]!()] as const);
  return {
    add(one: GeneratedExample): void {
      for (const [, counter] of counters) counter.add(one);
    },
    /** Of these examples, in the order of `add`; default: of all. */
    metrics: (rows?: Int32Array): Record<string, number> =>
      Object.fromEntries(counters.map(([name, counter]) => [name, counter.value(rows)])),
    /** The metrics that are also defined for a single text. */
    ofTexts: counters.flatMap(([name, { ofText }]) => (ofText ? [name] : [])),
    /** By metric, if it has any. */
    details: (): Record<string, Json> =>
      Object.fromEntries(counters.flatMap(([name, { details }]) => (details ? [[name, details()]] : []))),
  };
}

function exactMatch(): Counter {
  const same = new PerExample(1, Uint8Array);
  return {
    add: ({ references, predicted }) => same.add([references.includes(predicted) ? 1 : 0]),
    value: (rows) => same.sums(rows)[0]! / (rows?.length ?? same.count),
  };
}

const ORDERS = [1, 2, 3, 4];

/**
 * BLEU (Papineni et al. 2002): case-sensitive n-grams of up to four tokens of the 13a tokenizer, with exponential smoothing of orders without
 * a match. From 0 to 100; 0 if no output has a match, or none is as long as the longest n-gram.
 */
export function bleu(): Counter {
  /** Of each output: its length, the closest length of a reference, and for each order the n-grams that match, and all. */
  const counts = new PerExample(2 + 2 * ORDERS.length, Int32Array);
  const numbersOfReferences = new Set<number>();
  const penalty = (length: number, closest: number) => (length >= closest ? 1 : length > 0 ? Math.exp(1 - closest / length) : 0);
  return {
    add({ references, predicted }) {
      const tokens = tokenize13a(predicted);
      const wanted = references.map(tokenize13a);
      const lengths = wanted.map((reference) => reference.length);
      const ofOrders = ORDERS.map((order) => {
        const own = nGrams(tokens, order);
        const theirs = wanted.map((reference) => nGrams(reference, order));
        let hits = 0;
        // The count of an n-gram is clipped to the reference that has it most often.
        for (const [run, count] of own) hits += Math.min(count, Math.max(...theirs.map((runs) => runs.get(run) ?? 0)));
        return [hits, totalOf(own)];
      });
      counts.add([tokens.length, closestLength(tokens.length, lengths), ...ofOrders.flat()]);
      numbersOfReferences.add(references.length);
    },
    value(rows) {
      const [length, closest, ...ofOrders] = counts.sums(rows) as unknown as [number, number, ...number[]];
      const hits = ORDERS.map((_, k) => ofOrders[2 * k]!);
      const claimed = ORDERS.map((_, k) => ofOrders[2 * k + 1]!);
      if (hits.every((n) => n === 0)) return 0;
      const precisions = smoothed(hits, claimed);
      // If no output is long enough for an order, the geometric mean is 0.
      if (precisions.includes(0)) return 0;
      return penalty(length, closest) * Math.exp(precisions.reduce((sum, p) => sum + Math.log(p), 0) / ORDERS.length);
    },
    details() {
      const [length = 0, closest = 0] = counts.sums();
      const signature = `${referencesOf(numbersOfReferences)}|case:mixed|eff:no|tok:13a|smooth:exp`;
      return { signature, brevity_penalty: penalty(length, closest), length, reference_length: closest };
    },
  };
}

/** In percent. Each order without a match counts half of the previous such order, as if a fraction of one n-gram had matched. */
function smoothed(hits: number[], claimed: number[]): number[] {
  let share = 1;
  return hits.map((hit, k) => {
    if (claimed[k] === 0) return 0;
    if (hit === 0) share /= 2;
    return (100 * (hit || share)) / claimed[k]!;
  });
}

/** The shorter of equally close ones. */
function closestLength(length: number, references: number[]): number {
  return references.reduce((best, one) => {
    const [far, further] = [Math.abs(one - length), Math.abs(best - length)];
    return far < further || (far === further && one < best) ? one : best;
  });
}

/** The tokenizer of NIST's mteval-v13a: Western punctuation is a token of its own, except `.` and `,` within numbers. */
export function tokenize13a(text: string): string[] {
  const joined = withoutSpaceAtEnd(text)
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>');
  const parted = ` ${joined} `
    // All of ASCII that is no letter, digit, apostrophe, comma, dash or stop.
    .replace(/[{-~[-` -&(-+:-@/]/g, ' $& ')
    .replace(/([^0-9])([.,])/gu, '$1 $2 ')
    .replace(/([.,])([^0-9])/gu, ' $1 $2')
    .replace(/([0-9])-/g, '$1 - ');
  return splitAtSpace(parted);
}

const CHARACTER_ORDER = 6;
const BETA = 2;

/** For one order. */
interface Runs {
  own: number;
  theirs: number;
  hits: number;
}

/**
 * chrF2 (Popović 2015): character n-grams of orders one to six without white space, with recall weighted twice as much as precision.
 * `wordOrder`: 0, or 2 for chrF2++ (Popović 2017), which also counts word n-grams of orders one and two. From 0 to 100.
 */
export function chrf(wordOrder: 0 | 2): Counter {
  const orders = CHARACTER_ORDER + wordOrder;
  const counts = new PerExample(3 * orders, Int32Array);
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
      counts.add(nearest!.flatMap(({ own, theirs, hits }) => [own, theirs, hits]));
      numbersOfReferences.add(references.length);
    },
    value(rows) {
      const sums = counts.sums(rows);
      const runs = Array.from({ length: orders }, (_, k) => ({ own: sums[3 * k]!, theirs: sums[3 * k + 1]!, hits: sums[3 * k + 2]! }));
      return fScore(runs);
    },
    ofText: true,
    details: () => ({
      signature: `${referencesOf(numbersOfReferences)}|case:mixed|eff:yes|nc:${CHARACTER_ORDER}|nw:${wordOrder}|space:no`,
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
    own: theirs[k]!.size > 0 ? totalOf(runs) : 0,
    theirs: totalOf(theirs[k]!),
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

/** How many references the outputs have, as sacrebleu writes it. */
const referencesOf = (numbers: Set<number>): string => `nrefs:${numbers.size === 1 ? [...numbers][0] : 'var'}`;
