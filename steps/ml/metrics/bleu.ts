/**
 * BLEU (Papineni et al. 2002) as sacrebleu computes it by default (Post 2018, arXiv:1804.08771): over the whole
 * corpus, case-sensitive, n-grams of up to four tokens of the 13a tokenizer, exponential smoothing of orders without
 * a match.
 */

import { type Counter, nGrams, splitAtSpace, total, withoutSpaceAtEnd } from './n-grams.ts';

const ORDERS = [1, 2, 3, 4];

/** From 0 to 100; 0 if no output has a match, or none is as long as the longest n-gram. */
export function bleu(): Counter {
  const hits = ORDERS.map(() => 0);
  const claimed = ORDERS.map(() => 0);
  let [length, closest] = [0, 0];
  const numbersOfReferences = new Set<number>();
  const penalty = () => (length >= closest ? 1 : length > 0 ? Math.exp(1 - closest / length) : 0);
  return {
    add({ references, predicted }) {
      const tokens = tokenize13a(predicted);
      const wanted = references.map(tokenize13a);
      for (const [k, order] of ORDERS.entries()) {
        const own = nGrams(tokens, order);
        const theirs = wanted.map((reference) => nGrams(reference, order));
        claimed[k]! += total(own);
        // The count of an n-gram is clipped to the reference that has it most often.
        for (const [run, count] of own) hits[k]! += Math.min(count, Math.max(...theirs.map((runs) => runs.get(run) ?? 0)));
      }
      length += tokens.length;
      closest += closestLength(
        tokens.length,
        wanted.map((reference) => reference.length),
      );
      numbersOfReferences.add(references.length);
    },
    value() {
      if (hits.every((n) => n === 0)) return 0;
      const precisions = smoothed(hits, claimed);
      // If no output is long enough for an order, the geometric mean is 0.
      if (precisions.includes(0)) return 0;
      return penalty() * Math.exp(precisions.reduce((sum, p) => sum + Math.log(p), 0) / ORDERS.length);
    },
    details: () => ({
      signature: `nrefs:${numbersOfReferences.size === 1 ? [...numbersOfReferences][0] : 'var'}|case:mixed|eff:no|tok:13a|smooth:exp`,
      brevity_penalty: penalty(),
      length,
      reference_length: closest,
    }),
  };
}

/**
 * In percent. Each order without a match counts half of the previous such order, as if a fraction of one n-gram had
 * matched.
 */
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

/**
 * The tokenizer of NIST's mteval-v13a: Western punctuation is a token of its own, except `.` and `,` within numbers.
 */
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
