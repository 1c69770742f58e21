/**
 * The changes of texts, with the definitions of CheckList's `Perturb` where it has them (docs/behavior.md lists the differences).
 * Each returns the changed versions of a text; those that are equal to the text do not count.
 */

import { replacerOf } from '../ml/data/terms.ts';
import { shuffle } from '../ml/models/random.ts';
import { contract, expand } from './contractions.ts';
import type { Lexicons } from './lexicons.ts';

/** `random` belongs to one text, so that its versions do not depend on the other texts. */
export type TextChange = (text: string, random: () => number) => string[];

/** The changes with a name, and their forms: `change: case` means all forms of `case`, and `change: { case: lower }` only one. */
export const FORMS = {
  contractions: ['expand', 'contract'],
  case: ['lower', 'upper', 'title'],
  punctuation: ['strip', 'add'],
  names: ['first', 'last'],
  locations: ['city', 'country'],
  numbers: [],
  urls: ['append', 'replace'],
  handles: ['append', 'replace'],
} as const;

export type NamedChange = keyof typeof FORMS;

/** Without `form`: all forms. */
export function namedChange(name: NamedChange, form: string | undefined, lexicons: Lexicons): TextChange {
  const one = (forms: Record<string, TextChange>): TextChange =>
    form === undefined ? (text, random) => Object.values(forms).flatMap((change) => change(text, random)) : forms[form]!;
  switch (name) {
    case 'contractions':
      return one({ expand: (text) => [expand(text)], contract: (text) => [contract(text)] });
    case 'case': {
      const lower: TextChange = (text) => [text.toLowerCase()];
      const upper: TextChange = (text) => [text.toUpperCase()];
      return form === undefined ? one({ lower, upper }) : one({ lower, upper, title: (text) => [inTitleCase(text)] });
    }
    case 'punctuation':
      return form === undefined ? punctuation : one({ strip: (text) => [stripPunctuation(text)], add: (text) => [addFullStop(text)] });
    case 'names':
    case 'locations':
      return changeListed(...listsOf(name, form).map((list) => lexicons[list]!));
    case 'numbers':
      return (text, random) => [changeNumbers(text, random)];
    case 'urls':
      return one({ append: (text, random) => [append(text, randomUrl(random))], replace: (text, random) => [replaceUrls(text, random)] });
    case 'handles':
      return one({
        append: (text, random) => [append(text, randomHandle(random))],
        replace: (text, random) => [replaceHandles(text, random)],
      });
  }
}

/** The lexicons that each form of a change replaces words of. */
const LISTS: Partial<Record<NamedChange, Record<string, readonly string[]>>> = {
  names: { first: ['female_name', 'male_name'], last: ['last_name'] },
  locations: { city: ['city'], country: ['country'] },
};

export function listsOf(name: NamedChange, form: string | undefined): readonly string[] {
  const forms = LISTS[name] ?? {};
  return form === undefined ? Object.values(forms).flat() : (forms[form] ?? []);
}

/** The versions of a text that differ from it, each once; no empty ones. */
export const versions = (text: string, change: TextChange, random: () => number): string[] =>
  [...new Set(change(text, random))].filter((version) => version !== text && version.trim() !== '');

/** Swaps `count` pairs of adjacent characters that differ. A text with fewer such pairs gets fewer swaps. */
export function typos(count: number): TextChange {
  return (text, random) => {
    const characters = [...text];
    const places = shuffle([...characters.keys()].slice(0, -1), random).filter((place) => characters[place] !== characters[place + 1]);
    return [swapped(text, places.slice(0, count))];
  };
}

/** The text with the characters at each place and after it swapped, one place after the other. */
export function swapped(text: string, places: readonly number[]): string {
  const characters = [...text];
  for (const place of places) [characters[place], characters[place + 1]] = [characters[place + 1]!, characters[place]!];
  return characters.join('');
}

const inTitleCase = (text: string): string => text.replace(/(?<![\p{L}\p{N}_'’])\p{Ll}/gu, (letter) => letter.toUpperCase());

/** Removes the punctuation marks at the end, but not the full stop of an abbreviation such as U.S. */
export function stripPunctuation(text: string): string {
  if (/(?<![\p{L}\p{N}])(?:\p{L}\.){2,}\s*$/u.test(text)) return text;
  return text.replace(/(?:\s*\p{P})+\s*$/u, '');
}

const addFullStop = (text: string): string => (stripPunctuation(text) === text ? `${text}.` : text);

function punctuation(text: string): string[] {
  const bare = stripPunctuation(text);
  return bare.trim() === '' ? [] : [bare, `${bare}.`];
}

/** Replaces each word of the lists by another one of its list, in the same case, and the same word always by the same one. */
function changeListed(...lists: (readonly string[])[]): TextChange {
  const listOf = new Map(lists.flatMap((list) => list.map((name) => [name, list])));
  return replaceTerms([...listOf.keys()], (name, random) => another(listOf.get(name)!, name, random), { exact: true });
}

/** Replaces each word of the lexicon by another one of it. */
export const changeLexicon = (values: readonly string[]): TextChange =>
  replaceTerms(values, (value, random) => another(values, value, random));

/** Another value of the list; the same one if there is no other. */
function another(list: readonly string[], value: string, random: () => number): string {
  const others = list.filter((other) => other !== value);
  return others[Math.floor(random() * others.length)] ?? value;
}

/** Replaces whole words or phrases, all at once. The case of the text is kept. */
export function replacements(pairs: readonly (readonly [from: string, to: string])[]): TextChange {
  const to = new Map(pairs);
  return replaceTerms([...to.keys()], (term) => to.get(term)!);
}

/** `by` is asked once for each term of a text. */
function replaceTerms(
  terms: readonly string[],
  by: (term: string, random: () => number) => string,
  options: { exact?: boolean } = {},
): TextChange {
  const replace = replacerOf(terms, options);
  return (text, random) => {
    const chosen = new Map<string, string>();
    return [
      replace(text, (term) => {
        if (!chosen.has(term)) chosen.set(term, by(term, random));
        return chosen.get(term)!;
      }),
    ];
  };
}

/** Other whole numbers within 20%. As in CheckList, 2 and 4 stay, because they may stand for "to" and "for". */
function changeNumbers(text: string, random: () => number): string {
  const chosen = new Map<string, string>();
  return text.replace(/(?<![\p{L}\p{N}_]|[\p{L}\p{N}][.,:/-])\d{1,15}(?![\p{L}\p{N}_]|[.,:/-]\p{N})/gu, (found) => {
    if (found === '2' || found === '4') return found;
    if (!chosen.has(found)) chosen.set(found, String(otherNumber(Number(found), random)));
    return chosen.get(found)!;
  });
}

export function otherNumber(number: number, random: () => number): number {
  const change = Math.trunc(number * 0.2) + 1;
  const least = -Math.min(change, number - 1);
  const offsets = change - least + 1;
  for (;;) {
    const offset = least + Math.floor(random() * offsets);
    if (offset !== 0) return number + offset;
  }
}

const URLS = /\b(?:https?:\/\/|www\.)[^\s<>"]*[^\s<>".,;:!?)\]}']/giu;
const HANDLES = /(?<![\p{L}\p{N}_.@])@[\p{L}\p{N}_]+/gu;
const SIGNS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

const signs = (count: number, random: () => number): string =>
  Array.from({ length: count }, () => SIGNS[Math.floor(random() * SIGNS.length)]).join('');

const randomUrl = (random: () => number): string => `https://t.co/${signs(6, random)}`;
const randomHandle = (random: () => number): string => `@${signs(6, random)}`;
const replaceUrls = (text: string, random: () => number): string => text.replace(URLS, () => randomUrl(random));
const replaceHandles = (text: string, random: () => number): string => text.replace(HANDLES, () => randomHandle(random));

/** Adds a phrase at the end or the start, with a space between. */
export const added = (text: string, phrase: string, at: 'end' | 'start'): string => {
  if (text === '') return phrase;
  return at === 'end' ? append(text, phrase) : `${phrase} ${text}`;
};

const append = (text: string, phrase: string): string => (/\s$/.test(text) || text === '' ? text + phrase : `${text} ${phrase}`);
