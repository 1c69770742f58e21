/**
 * THE cleaning function: `clean`, `predict` and `serve` all do this and nothing else to a text.
 * It is pure, and its time grows with the text's length alone. Cleaning what is clean changes nothing, except by the removal of
 * HTML: what an entity spells is text, and a second cleaning would take `<b>`, once `&lt;b&gt;`, for a tag. So each text is cleaned once.
 *
 * In this order, and the order matters:
 *   1. HTML: comments, scripts, styles and tags go, then entities become their characters
 *   2. invisible characters go (with special_characters), Unicode is normalised, letters become lower case
 *   3. URLs, addresses, special characters, numbers: each becomes a space, so that nothing new can form across the gap
 *   4. white space collapses
 */
import { withoutLoose } from '../models/beginnings.ts';
import { removeHtml } from './html.ts';
import { normalized } from './normalization.ts';
import { replaceEmails, replaceNumbers, replaceUrls, withoutOpenEmail, withoutOpenNumber, withoutOpenUrl } from './patterns.ts';

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
export const cleanText = (text: string, options: CleaningOptions, removed?: Removed): string => cleaned(text, options, false, removed);

/** Of the beginning of a text: what the whole text, cleaned, begins with. What depends on the rest of the text is left out. */
export const cleanBeginning = (text: string, options: CleaningOptions): string => cleaned(text, options, true);

/** @param more the text goes on */
function cleaned(text: string, options: CleaningOptions, more: boolean, removed?: Removed): string {
  const remove = new Set(options.remove);
  const gone = (what: Removable) => {
    if (removed) removed[what]++;
    return ' ';
  };
  const sure = (part: (text: string) => string) => {
    if (more) clean = part(clean);
  };
  let clean = text;
  sure(withoutLoose);
  clean = clean.replace(loneSurrogate, '\ufffd');
  if (remove.has('html')) {
    clean = removeHtml(clean, () => gone('html'), more);
    sure(withoutLoose);
  }
  if (remove.has('special_characters')) clean = clean.replace(invisible, () => gone('special_characters').trim());
  if (options.normalize !== 'none') clean = normalized(clean, options.normalize);
  if (options.lowercase) {
    clean = clean.toLowerCase();
    // Lower-case letters may compose with the mark that follows where their capitals do not.
    if (options.normalize !== 'none') clean = normalized(clean, options.normalize);
  }
  if (remove.has('urls')) {
    sure(withoutOpenUrl);
    clean = replaceUrls(clean, () => gone('urls'));
  }
  if (remove.has('emails')) {
    sure(withoutOpenEmail);
    clean = replaceEmails(clean, () => gone('emails'));
  }
  if (remove.has('special_characters')) {
    const kept = new Set(options.keep_characters);
    clean = clean.replace(special, (character) => (kept.has(character) ? character : gone('special_characters')));
  }
  if (remove.has('numbers')) {
    sure(withoutOpenNumber);
    clean = replaceNumbers(clean, () => gone('numbers'));
  }
  return options.whitespace === 'collapse' ? clean.replace(/\s+/g, ' ').trim() : clean;
}

const loneSurrogate = /\p{Surrogate}/gu;

/** Soft hyphens, zero-width spaces, directions, control characters: spam hides words with them. */
const invisible = /(?![\t\n\v\f\r\ufeff])[\p{Cc}\p{Cf}]/gu;

const special = /[^\p{L}\p{M}\p{N}\s]/gu;
