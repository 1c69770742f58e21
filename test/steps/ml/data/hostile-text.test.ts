/**
 * Texts that are made to exhaust a cleaner: the results are those of regular expressions and of Unicode, in linear
 * time and constant stack.
 */
import { expect, test } from 'vitest';
import { normalized } from '../../../../steps/ml/data/cleaning.ts';
import { isEnvelope, isMail } from '../../../../steps/ml/data/mail.ts';
import { random } from '../../../../steps/ml/models/random.ts';

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
