/**
 * THE cleaning function: `clean`, `predict` and `serve` all do this and nothing else to a text.
 * It is pure, cleaning what is clean changes nothing, and its time grows with the text's length alone.
 *
 * In this order, and the order matters:
 *   1. invisible characters go (with special_characters), Unicode is normalised, letters become lower case
 *   2. HTML: comments, scripts, styles and tags go, entities become their characters
 *   3. URLs, addresses, special characters, numbers: each becomes a space, so that nothing new can form across the gap
 *   4. white space collapses
 */
import { removeHtml } from './html.ts';

export const removables = ['html', 'urls', 'emails', 'special_characters', 'numbers'] as const;

export type Removable = (typeof removables)[number];

export interface CleaningOptions {
  remove: Removable[];
  /** What `special_characters` leaves besides letters, marks, digits and white space. */
  keep_characters: string;
  lowercase: boolean;
  /** `collapse`: runs of white space become one space, none at the ends. */
  whitespace: 'collapse' | 'keep';
  normalize: 'NFC' | 'NFKC' | 'none';
}

/** How many of each were removed. */
export type Removed = Record<Removable, number>;

/** A pure function of text and options, the same in clean, predict and serve. `removed` is counted up. */
export function cleanText(text: string, options: CleaningOptions, removed?: Removed): string {
  const remove = new Set(options.remove);
  const gone = (what: Removable) => {
    if (removed) removed[what]++;
    return ' ';
  };
  const unify = (part: string): string => {
    if (remove.has('special_characters')) part = part.replace(invisible, () => gone('special_characters').trim());
    if (options.normalize !== 'none') part = part.normalize(options.normalize);
    if (!options.lowercase) return part;
    // Lower-case letters may compose with the mark that follows where their capitals do not.
    return options.normalize === 'none' ? part.toLowerCase() : part.toLowerCase().normalize(options.normalize);
  };

  let clean = unify(text.replace(loneSurrogate, '\ufffd'));
  if (remove.has('html')) clean = unify(removeHtml(clean, unify, () => gone('html')));
  if (remove.has('urls')) clean = clean.replace(url, () => gone('urls'));
  if (remove.has('emails')) clean = clean.replace(email, () => gone('emails'));
  if (remove.has('special_characters')) {
    const kept = new Set(options.keep_characters);
    clean = clean.replace(special, (character) => (kept.has(character) ? character : gone('special_characters')));
  }
  if (remove.has('numbers')) clean = removeNumbers(clean, () => gone('numbers'));
  return options.whitespace === 'collapse' ? clean.replace(/\s+/g, ' ').trim() : clean;
}

const loneSurrogate = /\p{Surrogate}/gu;

/** Soft hyphens, zero-width spaces, directions, control characters: spam hides words with them. */
const invisible = /(?![\t\n\v\f\r\ufeff])[\p{Cc}\p{Cf}]/gu;

/** Stops before punctuation that belongs to the sentence. */
const url = /(?:(?:https?|ftp):\/\/|(?<![\p{L}\p{M}\p{N}])www\.)[^\s<>"]*[^\s<>".,;:!?'()[\]{}]/giu;

/** Looks behind so that a search starts only where a name starts: else a long word would be searched from each of its letters. */
const email = /(?<![\p{L}\p{M}\p{N}._%+-])[\p{L}\p{M}\p{N}._%+-]+@[\p{L}\p{M}\p{N}-]+(?:\.[\p{L}\p{M}\p{N}-]+)+/gu;

const special = /[^\p{L}\p{M}\p{N}\s]/gu;

/** Whole numbers, also 1,000.50 and 2002-08-22; not the digits of `mp3` or `h2o`. */
function removeNumbers(text: string, gone: () => string): string {
  return text.replace(/\p{N}[\p{N}.,:/-]*/gu, (run, start: number) => {
    const number = run.replace(/[.,:/-]+$/, '');
    const end = start + number.length;
    const within = endsInLetter.test(text.slice(Math.max(0, start - 2), start)) || startsWithLetter.test(text.slice(end, end + 2));
    return within ? run : gone() + run.slice(number.length);
  });
}

const endsInLetter = /[\p{L}\p{M}]$/u;

const startsWithLetter = /^[\p{L}\p{M}]/u;
