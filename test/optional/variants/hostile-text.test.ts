/** Very long texts. */
import { expect, test } from 'vitest';
import {
  type CleaningOptions,
  cleanText,
  removables,
  replaceEmails,
  replaceNumbers,
  replaceUrls,
} from '../../../steps/ml/data/cleaning.ts';
import { random } from '../../../steps/ml/models/random.ts';

const all: CleaningOptions = { remove: [...removables], keep_characters: '', lowercase: true, whitespace: 'collapse', normalize: 'NFC' };

/** The patterns as regular expressions; these overflow on long texts. */
const url = /(?:(?:https?|ftp):\/\/|(?<![\p{L}\p{M}\p{N}])www\.)[^\s<>"]*[^\s<>".,;:!?'()[\]{}]/giu;

const email = /(?<![\p{L}\p{M}\p{N}._%+-])[\p{L}\p{M}\p{N}._%+-]+@[\p{L}\p{M}\p{N}-]+(?:\.[\p{L}\p{M}\p{N}-]+)+/gu;

const number = (text: string) =>
  text.replace(/\p{N}[\p{N}.,:/-]*/gu, (run, start: number) => {
    const digits = run.replace(/[.,:/-]+$/, '');
    const end = start + digits.length;
    const within = /[\p{L}\p{M}]$/u.test(text.slice(Math.max(0, start - 2), start)) || /^[\p{L}\p{M}]/u.test(text.slice(end, end + 2));
    return within ? run : `#${run.slice(digits.length)}`;
  });

test('URLs, addresses and numbers are those that the expressions find, in 20,000 random texts', () => {
  const pieces = [
    'a',
    'B',
    'é',
    '\u0301',
    '1',
    '٣',
    '½',
    '.',
    '..',
    ',',
    ':',
    '/',
    '-',
    '@',
    '@',
    '_',
    '%',
    '+',
    ' ',
    '\n',
    '<',
    '>',
    '"',
    "'",
  ];
  pieces.push(
    '(',
    ')',
    ']',
    '!',
    'http://',
    'HTTPS://',
    'httpſ://',
    'ftp://',
    'www.',
    'wWw.',
    'a@b.c',
    '@b.c',
    '.com',
    '😀',
    '𝒳',
    '𝟙',
    '\u200b',
  );
  const uniform = random('patterns', 1);
  for (let i = 0; i < 20_000; i++) {
    const text = Array.from({ length: 1 + Math.floor(uniform() * 12) }, () => pieces[Math.floor(uniform() * pieces.length)]).join('');
    const found = [replaceUrls(text, () => '#'), replaceEmails(text, () => '#'), replaceNumbers(text, () => '#')];
    expect([text, ...found]).toEqual([text, text.replace(url, '#'), text.replace(email, '#'), number(text)]);
  }
});

test.each([
  ['marks', () => `a${'\u0301'.repeat(4_900_000)}`],
  ['marks of two classes', () => `a${'\u0301\u0316'.repeat(300_000)}`],
  ['marks behind a sign of an address', () => `x@${'\u0301'.repeat(300_000)}`],
  ['marks before it', () => `${'\u0301'.repeat(300_000)}@x.y`],
  ['a URL', () => `http://${'𝒳'.repeat(300_000)}`],
  ['digits', () => '𝟙'.repeat(300_000)],
  ['punctuation of a number', () => `1${','.repeat(300_000)}1`],
  ['white space', () => `a${' \u3000'.repeat(300_000)}b`],
  ['tags that never end', () => '<a '.repeat(300_000)],
  ['tags within tags', () => `${'<'.repeat(300_000)}a${'>'.repeat(300_000)}`],
  ['addresses within tags', () => `${'<a@b'.repeat(100_000)}${'>'.repeat(100_000)}`],
  ['entities of entities', () => `${'&amp;'.repeat(300_000)}lt;`],
  ['comments that never end', () => '<!--'.repeat(100_000)],
  ['quotes that never end', () => `${'<a b=c '.repeat(300_000)}d="`],
  ['quotes within quotes', () => `<a b='${'<a b="x" c='.repeat(300_000)}`],
  ['addresses that never end', () => `<${'a@'.repeat(300_000)}`],
  ['scripts', () => '<script>a'.repeat(300_000)],
  ['dots', () => 'www.'.repeat(300_000)],
])('hundreds of thousands of characters: %s', (_, text) => {
  const start = process.cpuUsage().user;
  const clean = cleanText(text(), all);
  // Quadratic time would be minutes.
  expect(process.cpuUsage().user - start).toBeLessThan(30e6);
  expect(clean.length).toBeLessThanOrEqual(5_000_000);
});
