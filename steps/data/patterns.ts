/**
 * Finds URLs, mail addresses and numbers in a text and replaces them. A regular expression would store a backtracking
 * position for each character of a repeated class, and overflow on a text of millions; this code scans the text once.
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

/**
 * As much of the beginning of a text as has the same replacements as in the whole text. No replacement reaches across
 * its end.
 */
export function withoutOpenUrl(text: string): string {
  const word = upToLast(text, /\s/);
  return /(?:https?|ftp):\/\/|www\./iu.test(text.slice(word.length)) ? word : upToLast(text, /[^htpsfw:/]/iu);
}

export const withoutOpenEmail = (text: string): string => upToLast(text, /[^\p{L}\p{M}\p{N}.@_%+-]/u);

export const withoutOpenNumber = (text: string): string => upToLast(text, /[^\p{N}.,:/-]/u);

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

/**
 * The range from `start` to `end` is replaced, unless it is empty; the search continues at `next`, by default at the
 * end.
 */
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
