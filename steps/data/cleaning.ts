/**
 * The one cleaning function: `clean`, `predict` and `serve` all use it. It is pure, and its time is linear in the
 * length of the text. It is idempotent, except for the removal of HTML: a decoded entity is text, and a second
 * cleaning would take `<b>`, once `&lt;b&gt;`, for a tag. So each text is cleaned once.
 *
 * The order of operations matters:
 *  1. HTML: remove comments, scripts, styles and tags, then decode entities
 *  2. remove invisible characters (with special_characters), normalize Unicode, convert to lower case
 *  3. replace URLs, addresses, special characters and numbers with a space each, so that nothing new forms across the gap
 *  4. collapse white space
 */
import { withoutLoose } from '../models/beginnings.ts';
import { removeHtml } from './html.ts';
import { normalized } from './normalization.ts';
import { replaceEmails, replaceNumbers, replaceUrls, withoutOpenEmail, withoutOpenNumber, withoutOpenUrl } from './patterns.ts';

export const removables = ['html', 'urls', 'emails', 'special_characters', 'numbers'] as const;

export type Removable = (typeof removables)[number];

export interface CleaningOptions {
  remove: Removable[];
  /** What `special_characters` keeps besides letters, marks, digits and white space. */
  keep_characters: string;
  lowercase: boolean;
  /** `collapse`: runs of white space become one space, and both ends are trimmed. */
  whitespace: 'collapse' | 'keep';
  normalize: 'NFC' | 'NFKC' | 'none';
}

/** The number of removals of each kind. */
export type Removed = Record<Removable, number>;

/** A pure function of text and options, which is the same in clean, predict and serve. Increments `removed`. */
export const cleanText = (text: string, options: CleaningOptions, removed?: Removed): string => cleaned(text, options, false, removed);

/**
 * Cleans the beginning of a text: the result is a prefix of the whole text, cleaned. What depends on the rest of the
 * text is left out.
 */
export const cleanBeginning = (text: string, options: CleaningOptions): string => cleaned(text, options, true);

/** @param more whether the text continues */
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
    // A lower-case letter may compose with the following mark even if its capital does not.
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

/** Soft hyphens, zero-width spaces, directional marks, control characters: spam hides words with them. */
const invisible = /(?![\t\n\v\f\r\ufeff])[\p{Cc}\p{Cf}]/gu;

const special = /[^\p{L}\p{M}\p{N}\s]/gu;
