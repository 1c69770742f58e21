/**
 * Finds terms in texts and replaces them. A term is a whole word or several words; case does not matter. The slices and
 * counterfactual tests of evaluate, the augmentation of clean and the changes of behavior use the same terms.
 */

/** The schema of an option with pairs of terms. */
export const swapSchema = {
  type: 'object',
  properties: {
    terms: {
      type: 'array',
      items: { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 2, maxItems: 2 },
      minItems: 1,
      description: 'Pairs of terms, such as `[[he, she], [his, her]]`. If several pairs contain a term, the first pair decides.',
    },
  },
  required: ['terms'],
  additionalProperties: false,
  description: 'What to swap: whole words in any case, all at the same time and in both directions. The case is kept: He becomes She.',
} as const;

/** Whether a text contains one of the terms. */
export function containsAny(terms: readonly string[]): (text: string) => boolean {
  const pattern = new RegExp(sourceOf(terms), 'iu');
  return (text) => pattern.test(text);
}

export interface Swapped {
  text: string;
  /** The swaps that were made, as indices of `directions`; each only once. */
  made: number[];
}

export interface Swap {
  /** What each swap replaces with what: two for each pair. */
  directions: readonly (readonly [from: string, to: string])[];
  /** Replaces all terms at the same time, and keeps their case. Undefined if the text contains none. */
  apply(text: string): Swapped | undefined;
}

/** Each pair is swapped in both directions. If several pairs contain a term, the first pair decides. */
export function swapOf(pairs: readonly (readonly string[])[]): Swap {
  const directions = pairs.flatMap(([one, other]) => [[one!, other!] as const, [other!, one!] as const]);
  const places = new Map<string, number>();
  for (const [i, [from]] of directions.entries()) if (!places.has(folded(from))) places.set(folded(from), i);
  const replace = replacerOf(directions.map(([from]) => from));
  return {
    directions,
    apply(text) {
      const made = new Set<number>();
      const swapped = replace(text, (from) => {
        const place = places.get(folded(from))!;
        made.add(place);
        return directions[place]![1];
      });
      return made.size > 0 ? { text: swapped, made: [...made] } : undefined;
    },
  };
}

/**
 * Replaces all of the terms at the same time by what `by` returns for them, in the case of the text. `exact`: only terms in the
 * case in which they are given.
 */
export function replacerOf(terms: readonly string[], { exact = false } = {}): (text: string, by: (term: string) => string) => string {
  const known = new Map<string, string>();
  for (const term of terms) if (!known.has(folded(term))) known.set(folded(term), term);
  const pattern = new RegExp(sourceOf(terms), exact ? 'gu' : 'giu');
  return (text, by) =>
    text.replace(pattern, (found) => {
      const term = known.get(folded(found));
      return term === undefined ? found : inCaseOf(found, term, by(term));
    });
}

/** The problem with pairs of terms. */
export function pairsProblem(pairs: readonly (readonly string[])[]): string | undefined {
  for (const [one, other] of pairs) {
    if (one!.trim() === '' || other!.trim() === '') return 'a term is empty';
    if (folded(one!) === folded(other!)) return `\`${one}\` and \`${other}\` are the same term: case does not matter`;
  }
  return undefined;
}

/** A pattern for any of the terms. Of two terms that begin at the same place, the longer one matches. */
function sourceOf(terms: readonly string[]): string {
  const longestFirst = [...new Set(terms)].sort((a, b) => b.length - a.length || (a < b ? -1 : 1));
  const sources = longestFirst.map((term) => ({ ...bounds(term), spelling: spellingsOf(term) }));
  // Most lists have only whole words. One check of their bounds is ten times as fast as one for each of a hundred names.
  if (sources.every(({ before, after }) => before !== '' && after !== ''))
    return `${NOT_BEFORE}(?:${sources.map(({ spelling }) => spelling).join('|')})${NOT_AFTER}`;
  return sources.map(({ before, spelling, after }) => before + spelling + after).join('|');
}

function spellingsOf(term: string): string {
  const words = term.trim().split(/\s+/);
  const spellings = new Set((['NFC', 'NFD'] as const).map((form) => words.map((word) => escaped(word.normalize(form))).join('\\s+')));
  return `(?:${[...spellings].join('|')})`;
}

function bounds(term: string): { before: string; after: string } {
  const characters = [...term.trim()];
  return { before: bounded(characters[0]!) ? NOT_BEFORE : '', after: bounded(characters.at(-1)!) ? NOT_AFTER : '' };
}

/** What belongs to a word. */
const WORD = '[\\p{L}\\p{M}\\p{N}_]';
const NOT_BEFORE = `(?<!${WORD})`;
const NOT_AFTER = `(?!${WORD})`;

/** Scripts that write words without spaces: a term of such a script may occur anywhere. */
const bounded = (character: string): boolean =>
  !/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u.test(character);

const escaped = (word: string): string => word.replace(/[\\^$.*+?()[\]{}|/]/g, (character) => `\\${character}`);

/** As a pattern that ignores case compares: without case, white space and normal form. ſ is s, the Kelvin sign is k, and ẞ is ß. */
export const folded = (term: string): string =>
  term.trim().split(/\s+/).join(' ').normalize('NFC').toLowerCase().toUpperCase().toLowerCase();

/** He → She, HE → SHE, he → she. A term as it was declared is replaced with its counterpart as it was declared. */
function inCaseOf(found: string, from: string, to: string): string {
  if (found === from) return to;
  const letters = [...found].filter((character) => character.toLowerCase() !== character.toUpperCase());
  if (letters.length === 0) return to;
  const upper = letters.filter((letter) => letter !== letter.toLowerCase()).length;
  if (upper === 0) return to.toLowerCase();
  if (upper === letters.length && upper > 1) return to.toUpperCase();
  return capitalizedLike(found, to);
}

/** A capital at the beginning of each word of which the counterpart has one. */
function capitalizedLike(found: string, to: string): string {
  const like = found.split(/\s+/);
  return to
    .split(' ')
    .map((word, i) => {
      const [first = '', ...rest] = word;
      const [initial = ''] = like[Math.min(i, like.length - 1)]!;
      return initial === initial.toLowerCase() ? word : first.toUpperCase() + rest.join('');
    })
    .join(' ');
}
