/** Contractions of English, with the pairs and the rules of CheckList's `Perturb.contract` and `Perturb.expand_contractions`. */

import { folded } from '../ml/data/terms.ts';

const VERBS = 'are could did does do had has have is might must need ought should was were would'.split(' ');

/** Full and short forms, in both directions. */
const PAIRS: [full: string, short: string][] = [
  ...VERBS.map((verb): [string, string] => [`${verb} not`, `${verb}n't`]),
  ['cannot', "can't"],
  ['will not', "won't"],
  ['shall not', "shan't"],
  ['I am', "I'm"],
  ...['they', 'we', 'what', 'you'].map((word): [string, string] => [`${word} are`, `${word}'re`]),
  ...['he', 'she', 'it', 'that', 'there', 'how', 'what', 'when', 'where', 'who', 'why'].map((word): [string, string] => [
    `${word} is`,
    `${word}'s`,
  ]),
  ...['I', 'it', 'she', 'that', 'there', 'they', 'we', 'you'].map((word): [string, string] => [`${word} would`, `${word}'d`]),
  ...['I', 'it', 'she', 'they', 'we', 'who', 'you'].map((word): [string, string] => [`${word} will`, `${word}'ll`]),
  ...['how', 'where'].map((word): [string, string] => [`${word} did`, `${word}'d`]),
  ['who have', "who've"],
];

/** Short forms that are only expanded. */
const ONLY_SHORT: [full: string, short: string][] = [
  ['is not', "ain't"],
  ['cannot have', "can't've"],
  ['he would', "he'd"],
  ['he would have', "he'd've"],
  ['he will', "he'll"],
  ['how do you', "how'd'y"],
  ['how will', "how'll"],
  ['madam', "ma'am"],
  ['you would have', "you'd've"],
  ...['could', 'might', 'must', 'should', 'would', 'I', 'they', 'we', 'where', 'you'].map((word): [string, string] => [
    `${word} have`,
    `${word}'ve`,
  ]),
];

/** By the other form without case. */
const SHORT = new Map(PAIRS.map(([full, short]) => [full.toLowerCase(), short]));
const FULL = new Map([...ONLY_SHORT, ...PAIRS].map(([full, short]) => [short.toLowerCase(), full]));

/** The longest first, so that "can't've" is not read as "can't". A typographic apostrophe counts as a plain one. */
const alternatives = (forms: Iterable<string>): string =>
  [...forms]
    .sort((a, b) => b.length - a.length)
    .join('|')
    .replaceAll("'", "['’]");

const FULL_FORMS = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${alternatives(SHORT.keys())})(?= )`, 'giu');
const SHORT_FORMS = new RegExp(`(?<![\\p{L}\\p{N}_])(?:${alternatives(FULL.keys())})(?![\\p{L}\\p{N}_])`, 'giu');

/** Contracts each full form that a space follows: "it is good" → "it's good". */
export const contract = (text: string): string => text.replace(FULL_FORMS, (found) => likeFirst(found, SHORT.get(folded(found))!));

/** Expands each short form: "don't" → "do not". */
export const expand = (text: string): string =>
  text.replace(SHORT_FORMS, (found) => likeFirst(found, FULL.get(folded(found).replaceAll('’', "'"))!));

/** With a first letter in the case of the found text. */
function likeFirst(found: string, form: string): string {
  const first = found[0]!;
  return (first === first.toLowerCase() ? form[0]!.toLowerCase() : form[0]!.toUpperCase()) + form.slice(1);
}
