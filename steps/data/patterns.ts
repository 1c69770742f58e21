/**
 * Finds URLs, mail addresses and numbers in a text, and puts something else in their place. A regular expression keeps a place to go
 * back to for each character that a repeated class takes, and overflows on a text of millions; here a text is walked through once.
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

/** Whole numbers, also 1,000.50 and 2002-08-22; not the digits of `mp3` or `h2o`. */
export function replaceNumbers(text: string, replacement: () => string): string {
  return replaceEach(text, /\p{N}/gu, replacement, (start, from) => {
    const next = firstOf(/[^\p{N}.,:/-]/gu, text, from);
    const end = endBefore(text, from, new Set('.,:/-'), next);
    const within = endsInLetter.test(text.slice(Math.max(0, start - 2), start)) || startsWithLetter.test(text.slice(end, end + 2));
    return { start, end: within ? start : end, next };
  });
}

/**
 * Of the beginning of a text: so much of it that what is replaced in it is what is replaced there in the whole text. Nothing that is
 * replaced can reach across its end.
 */
export function withoutOpenUrl(text: string): string {
  const word = upToLast(text, /\s/);
  return /(?:https?|ftp):\/\/|www\./iu.test(text.slice(word.length)) ? word : upToLast(text, /[^htpsfw:/]/iu);
}

export const withoutOpenEmail = (text: string): string => upToLast(text, /[^\p{L}\p{M}\p{N}.@_%+-]/u);

export const withoutOpenNumber = (text: string): string => upToLast(text, /[^\p{N}.,:/-]/u);

/** Up to the last character that matches, and with it. */
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

/** From `start` to `end` it is replaced, unless that is nothing; the search goes on at `next`, by default at the end. */
interface Found {
  start: number;
  end: number;
  next?: number;
}

/** @param find is given where `sign` begins and ends, and the end of what was replaced before */
function replaceEach(
  text: string,
  sign: RegExp,
  replacement: () => string,
  find: (begin: number, end: number, before: number) => Found | undefined,
): string {
  const parts: string[] = [];
  let before = 0;
  for (let match = sign.exec(text); match; match = sign.exec(text)) {
    const found = find(match.index, sign.lastIndex, before);
    if (!found) continue;
    const { start, end, next = end } = found;
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

/** `to`, less the characters of `left` before it. */
function endBefore(text: string, from: number, left: Set<string>, to: number): number {
  while (to > from && left.has(text[to - 1]!)) to--;
  return to;
}

/** Where the name before an `@` begins; undefined where there is none, or `before` lies within it. */
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

/** A part of it, so that there is little to go back to. */
const label = /[\p{L}\p{M}\p{N}-]{1,256}/uy;
