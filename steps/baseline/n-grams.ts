/** Language models by counting: how often a token occurs, and how often it follows another. */

/** The probability of a token after another. */
export type NextToken = (before: number, token: number) => number;

/** A token and the one before it. */
export type Pair = readonly [before: number, token: number];

/** Unigram frequencies with Laplace smoothing: each token counts once more than it occurs. */
export function unigram(pairs: Iterable<Pair>, vocabulary: number): NextToken {
  const counts = new Float64Array(vocabulary).fill(1);
  let all = vocabulary;
  for (const [, token] of pairs) {
    counts[token]!++;
    all++;
  }
  return (_, token) => counts[token]! / all;
}

/**
 * Interpolated Kneser-Ney smoothing of bigrams (Kneser & Ney 1995; Chen & Goodman 1999, section 4.1). The probability
 * mass that is discounted from the bigrams goes to each token by the number of different tokens that it follows, plus
 * one.
 */
export function bigram(pairs: Iterable<Pair>, vocabulary: number): NextToken {
  const counts = new Map<number, number>();
  for (const [before, token] of pairs) {
    const pair = before * vocabulary + token;
    counts.set(pair, (counts.get(pair) ?? 0) + 1);
  }
  const followed = new Float64Array(vocabulary).fill(1);
  const times = new Float64Array(vocabulary);
  const different = new Float64Array(vocabulary);
  let [once, twice] = [0, 0];
  for (const [pair, count] of counts) {
    const [before, token] = [Math.floor(pair / vocabulary), pair % vocabulary];
    followed[token]!++;
    times[before]! += count;
    different[before]!++;
    if (count === 1) once++;
    if (count === 2) twice++;
  }
  const discount = once === 0 ? 0 : once / (once + 2 * twice);
  const kinds = counts.size + vocabulary;
  return (before, token) => {
    const alone = followed[token]! / kinds;
    const seen = times[before]!;
    if (seen === 0) return alone;
    const count = counts.get(before * vocabulary + token) ?? 0;
    return (Math.max(count - discount, 0) + discount * different[before]! * alone) / seen;
  };
}
