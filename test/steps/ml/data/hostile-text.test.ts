/**
 * Texts that are made to exhaust a cleaner: the results are those of regular expressions and of Unicode, in linear
 * time and constant stack.
 */
import { expect, test } from 'vitest';
import {
  type CleaningOptions,
  cleanText,
  normalized,
  removables,
  replaceEmails,
  replaceNumbers,
  replaceUrls,
} from '../../../../steps/ml/data/cleaning.ts';
import { isEnvelope, isMail } from '../../../../steps/ml/data/mail.ts';
import { random } from '../../../../steps/ml/models/random.ts';

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

test('long runs of marks are normalized as Unicode defines it', () => {
  const marks = [];
  for (let code = 0; code < 0x20000; code++) if (/\p{M}/u.test(String.fromCodePoint(code))) marks.push(String.fromCodePoint(code));
  expect(marks.length).toBeGreaterThan(2000);
  const uniform = random('marks', 1);
  const some = (count: number, from: string[]) => Array.from({ length: count }, () => from[Math.floor(uniform() * from.length)]).join('');
  const usual = ['\u0301', '\u0316', '\u0323', '\u0345', '\u0334', '\u0344', '\u0360', '\u05b0', '\u3099', '\u034f', '\u20dd', '\u0f73'];
  for (let i = 0; i < 400; i++) {
    const from = i % 2 ? marks : usual;
    const text = `e${some(100, from)}é${some(40, from)} か${some(33, from)}x${some(31, from)}ﬁ${some(70, from)}`;
    for (const form of ['NFC', 'NFKC'] as const) expect(normalized(text, form)).toBe(text.normalize(form));
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

test('the line before a mail in a folder, and lines that only look like it, however long', () => {
  for (const [line, is] of [
    ['From joe@example.org Mon Jan  5 10:20:30 2009', true],
    ['From joe Mon Jan  5 10:20 2009 \r', true],
    ['From - 10:20 CET 2009', true],
    ['From joe Mon Jan  5 2009', false],
    ['From joe 10:20 Mon Jan 5', false],
    ['From  joe 10:20:30 2009', false],
    ['From x10:20 2009', false],
    ['From joe 2009 10:20', false],
    ['From: joe 10:20:30 2009', false],
  ] as const)
    expect([line, isEnvelope(line)]).toEqual([line, is]);
  expect(isMail(`From ${'10:20 '.repeat(200_000)}`)).toBe(false);
  expect(isMail(`From ${'x'.repeat(1_000_000)}\n${'a: '.repeat(300_000)}`)).toBe(false);
});
