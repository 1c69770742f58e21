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

import { removeHtml } from './html.ts';
import { withoutLoose } from './token-prefix.ts';

export const removables = ['html', 'urls', 'emails', 'special_characters', 'numbers'] as const;

type Removable = (typeof removables)[number];

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

/** Cleans the beginning of a text: the result is a prefix of the whole text, cleaned. What depends on the rest of the text is left out. */
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

/*
 * Replacements. A regular expression would store a backtracking position for each character of a repeated class, and
 * overflow on a text of millions; this code scans the text once.
 */

/** Stops before punctuation that belongs to the sentence. */
export function replaceUrls(text: string, replacement: () => string): string {
  return replaceEach(text, /(?:(?:https?|ftp):\/\/|(?<![\p{L}\p{M}\p{N}])www\.)/giu, replacement, (start, from) => {
    const end = endBefore(text, from, new Set(".,;:!?'()[]{}"), firstOf(/[\s<>"]/g, text, from));
    return end > from ? { start, end } : undefined;
  });
}

export function replaceEmails(text: string, replacement: () => string): string {
  return replaceEach(text, /@/g, replacement, (at, from, before) => {
    const start = startOfName(text, at, before);
    let end = endOfLabel(text, from);
    if (start === undefined || end === from) return undefined;
    const oneLabel = end;
    while (text[end] === '.' && endOfLabel(text, end + 1) > end + 1) end = endOfLabel(text, end + 1);
    return end > oneLabel ? { start, end } : undefined;
  });
}

/** Numbers, including 1,000.50 and 2002-08-22, but not digits within words such as `mp3` or `h2o`. */
export function replaceNumbers(text: string, replacement: () => string): string {
  return replaceEach(text, /\p{N}/gu, replacement, (start, from) => {
    const next = firstOf(/[^\p{N}.,:/-]/gu, text, from);
    const end = endBefore(text, from, new Set('.,:/-'), next);
    const within = endsInLetter.test(text.slice(Math.max(0, start - 2), start)) || startsWithLetter.test(text.slice(end, end + 2));
    return { start, end: within ? start : end, next };
  });
}

/** As much of the beginning of a text as has the same replacements as in the whole text. No replacement reaches across its end. */
function withoutOpenUrl(text: string): string {
  const word = upToLast(text, /\s/);
  return /(?:https?|ftp):\/\/|www\./iu.test(text.slice(word.length)) ? word : upToLast(text, /[^htpsfw:/]/iu);
}

const withoutOpenEmail = (text: string): string => upToLast(text, /[^\p{L}\p{M}\p{N}.@_%+-]/u);

const withoutOpenNumber = (text: string): string => upToLast(text, /[^\p{N}.,:/-]/u);

/** Up to and including the last character that matches. */
function upToLast(text: string, character: RegExp): string {
  for (let end = text.length; end > 0; ) {
    const last = text.codePointAt(end - 2)! > 0xffff ? text.slice(end - 2, end) : text[end - 1]!;
    if (character.test(last)) return text.slice(0, end);
    end -= last.length;
  }
  return '';
}

const endsInLetter = /[\p{L}\p{M}]$/u;

const startsWithLetter = /^[\p{L}\p{M}]/u;

/** The range from `start` to `end` is replaced, unless it is empty; the search continues at `next`, by default at the end. */
interface Found {
  start: number;
  end: number;
  next?: number;
}

/** @param find is given the range of `sign`, and the end of the previous replacement */
function replaceEach(
  text: string,
  sign: RegExp,
  replacement: () => string,
  find: (begin: number, end: number, before: number) => Found | undefined,
): string {
  const parts: string[] = [];
  let before = 0;
  for (let match = sign.exec(text); match; match = sign.exec(text)) {
    const range = find(match.index, sign.lastIndex, before);
    if (!range) continue;
    const { start, end, next = end } = range;
    sign.lastIndex = next;
    if (end === start) continue;
    parts.push(text.slice(before, start), replacement());
    before = end;
  }
  return before === 0 ? text : parts.join('') + text.slice(before);
}

function firstOf(characters: RegExp, text: string, from: number): number {
  characters.lastIndex = from;
  return characters.exec(text)?.index ?? text.length;
}

/** `to`, without the characters of `left` before it. */
function endBefore(text: string, from: number, left: Set<string>, to: number): number {
  while (to > from && left.has(text[to - 1]!)) to--;
  return to;
}

/** Where the name before an `@` begins; undefined if there is none, or if `before` lies within it. */
function startOfName(text: string, at: number, before: number): number | undefined {
  let start = at;
  while (start > 0) {
    const pair = start > 1 && /[\udc00-\udfff]/.test(text[start - 1]!);
    const character = text.slice(start - (pair ? 2 : 1), start);
    if (!/^[\p{L}\p{M}\p{N}._%+-]$/u.test(character)) break;
    start -= character.length;
    if (start < before) return undefined;
  }
  return start < at ? start : undefined;
}

function endOfLabel(text: string, from: number): number {
  label.lastIndex = from;
  let end = from;
  while (label.test(text)) end = label.lastIndex;
  return end;
}

/** Matches a part at a time, so that there is little to backtrack. */
const label = /[\p{L}\p{M}\p{N}-]{1,256}/uy;

/*
 * Unicode normalization in linear time. The library sorts the marks of a letter by insertion, in quadratic time:
 * 100,000 of them take seconds. Here long runs of marks are sorted first, by the library's own combining classes;
 * Unicode defines texts that differ only in the order of such marks as equivalent, so the result is the same.
 */

export function normalized(text: string, form: 'NFC' | 'NFKC'): string {
  if (!manyMarks.test(text)) return text.normalize(form);
  const parts: string[] = [];
  let done = 0;
  for (let start = text.search(manyMarks); start >= 0; ) {
    noMark.lastIndex = start;
    const end = noMark.exec(text)?.index ?? text.length;
    parts.push(text.slice(done, start), sorted(text.slice(start, end)));
    done = end;
    nextMany.lastIndex = end;
    start = nextMany.exec(text)?.index ?? -1;
  }
  return (parts.join('') + text.slice(done)).normalize(form);
}

/** No language has so many marks on a letter. */
const manyMarks = /\p{M}{32}/u;
const nextMany = /\p{M}{32}/gu;
const noMark = /\P{M}/gu;

/** The marks in canonical order. */
function sorted(marks: string): string {
  if (new Set(marks).size === 1) return marks;
  const parts: string[] = [];
  /** The marks since the last one that does not move, by class. */
  let movable = new Map<Class, string[]>();
  const flush = () => {
    for (const one of classes) {
      const own = movable.get(one);
      if (own) parts.push(own.join(''));
    }
    movable = new Map();
  };
  for (const mark of marks) {
    for (const piece of decomposition(mark)) {
      const own = classOf(piece);
      if (own === undefined) {
        flush();
        parts.push(piece);
        continue;
      }
      const list = movable.get(own);
      if (list) list.push(piece);
      else movable.set(own, [piece]);
    }
  }
  flush();
  return parts.join('');
}

const decompositions = new Map<string, string[]>();

function decomposition(mark: string): string[] {
  let pieces = decompositions.get(mark);
  if (!pieces) {
    pieces = [...mark.normalize('NFD')];
    decompositions.set(mark, pieces);
  }
  return pieces;
}

/** Marks that keep their order among each other. */
interface Class {
  example: string;
}

/** The classes of the marks so far, the lowest first. */
const classes: Class[] = [];

const classOfMark = new Map<string, Class | undefined>();

/** Undefined for a mark that no other mark crosses. */
function classOf(mark: string): Class | undefined {
  if (classOfMark.has(mark)) return classOfMark.get(mark);
  let own: Class | undefined;
  if (isBelow(mark, HIGHEST) || isBelow(LOWEST, mark)) {
    let place = classes.findIndex(({ example }) => !isBelow(example, mark));
    if (place < 0) place = classes.length;
    const same = classes[place];
    if (same && !isBelow(mark, same.example)) own = same;
    else {
      own = { example: mark };
      classes.splice(place, 0, own);
    }
  }
  classOfMark.set(mark, own);
  return own;
}

/** Classes 240, the highest, and 1. */
const [HIGHEST, LOWEST] = ['\u0345', '\u0334'];

/** Whether one mark precedes another in canonical order. */
const isBelow = (one: string, other: string): boolean => (other + one).normalize('NFD') === one + other && one !== other;
