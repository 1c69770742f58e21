/** Decoding: encoding and decoding loses nothing, and a stream never contains half a character. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { textStream } from '../../../../steps/ml/generation/generator.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import { openTokenizer, type Tokenizer } from '../../../../steps/ml/models/tokenizer.ts';

const golden = join(import.meta.dirname, '../../../golden/tokenizer');
const open = (name: string) => openTokenizer(join(golden, name), {});

interface Expected {
  text: string;
  ids: number[];
  decoded: string;
}

const expected: Expected[] = JSON.parse(readFileSync(join(golden, 'sentencepiece', 'expected.json'), 'utf8'));
const TEXTS = expected.map(({ text }) => text);

test('a unigram model with normalizer and byte fallback: the ids and texts of sentencepiece (test/golden/unigram.py)', async () => {
  const tokenizer = await open('sentencepiece');
  for (const { text, ids, decoded } of expected) {
    const [sequence] = await tokenizer.encode([text]);
    expect(sequence!.ids, text).toEqual([...ids, 1]);
    expect(await tokenizer.decode(ids), text).toBe(decoded);
  }
});

test('byte-level BPE: every text is decoded exactly, and every byte is a token', async () => {
  const tokenizer = await open('gpt2');
  const uniform = random('texts', 1);
  const texts = [...TEXTS, ...Array.from({ length: 300 }, () => randomText(uniform))];
  for (const [i, { ids }] of (await tokenizer.encode(texts)).entries()) expect(await tokenizer.decode(ids)).toBe(texts[i]);

  // Invalid bytes are decoded as the platform's own decoder does.
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for (let i = 0; i < 300; i++) {
    const bytes = Uint8Array.from({ length: 1 + Math.floor(uniform() * 12) }, () => randomByte(uniform));
    const ids = Array.from(bytes, (byte) => tokenizer.idOf(letterOf(byte))!);
    expect(await tokenizer.decode(ids), Buffer.from(bytes).toString('hex')).toBe(decoder.decode(bytes));
  }
});

test.each(['gpt2', 'roberta', 'sentencepiece', 'unigram', 'bert-uncased'])(
  '%s, token by token: the emitted text is always a prefix of the whole text',
  async (name) => {
    const tokenizer = await open(name);
    const uniform = random('ids', name);
    const sequences = (await tokenizer.encode(TEXTS)).map(({ ids }) => ids);
    const long = (await tokenizer.encode([`${TEXTS.join(' ')} `.repeat(3)]))[0]!.ids;
    // A model may output anything, also bytes of no character.
    const chaos = Array.from({ length: 60 }, () => randomIds(tokenizer, uniform));
    for (const ids of [...sequences, long, ...chaos]) {
      const whole = await tokenizer.decode(ids);
      const stream = textStream(tokenizer);
      let shown = '';
      for (let i = 0; i < ids.length; ) {
        const count = 1 + Math.floor(uniform() * 2);
        shown += await stream.push(ids.slice(i, i + count));
        expect(whole.startsWith(shown), `${JSON.stringify(shown)} of ${JSON.stringify(whole)}`).toBe(true);
        i += count;
      }
      expect(shown + (await stream.end())).toBe(whole);
    }
  },
);

test('a character is emitted with its last token, and final text does not wait', async () => {
  const bytes = await pieces(await open('gpt2'), 'a 👍 b');
  expect(bytes.filter((piece) => piece !== '')).toEqual(['a', ' ', '👍', ' ', 'b']);
  const fallback = await pieces(await open('sentencepiece'), 'the 👍 cat');
  expect(fallback.join('')).toBe('the 👍 cat');
  const thumb = fallback.findIndex((piece) => piece.includes('👍'));
  expect(fallback.slice(0, thumb).join('')).toBe('the ');
  expect(fallback[thumb]!.startsWith('👍 ')).toBe(true);
});

/** The text that each token adds. */
async function pieces(tokenizer: Tokenizer, text: string): Promise<string[]> {
  const stream = textStream(tokenizer);
  const shown: string[] = [];
  for (const id of (await tokenizer.encode([text]))[0]!.ids) shown.push(await stream.push([id]));
  return [...shown, await stream.end()];
}

/** Code points of all sizes, but no unpaired surrogates: a JavaScript string with one is not valid Unicode. */
function randomText(uniform: () => number): string {
  const points = Array.from({ length: Math.floor(uniform() * 20) }, () => {
    const highest = [0x7f, 0x7ff, 0xd7ff, 0x10ffff][Math.floor(uniform() * 4)]!;
    const point = Math.floor(uniform() * (highest + 1));
    return point >= 0xd800 && point <= 0xdfff ? 0xfffd : point;
  });
  return String.fromCodePoint(...points);
}

/** Half of them begin or continue a character of several bytes. */
const randomByte = (uniform: () => number): number =>
  uniform() < 0.5 ? Math.floor(uniform() * 256) : [0xf0, 0x9f, 0xe2, 0x82, 0x80, 0xc3, 0xbf, 0xef, 0xbd][Math.floor(uniform() * 9)]!;

const randomIds = (tokenizer: Tokenizer, uniform: () => number): number[] =>
  Array.from({ length: 5 + Math.floor(uniform() * 120) }, () => Math.floor(uniform() ** 2 * tokenizer.size));

/**
 * GPT-2's letter for a byte: printable Latin-1 stands for itself, the others, in order, for the code points from 256
 * on.
 */
function letterOf(byte: number): string {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  if (printable(byte)) return String.fromCodePoint(byte);
  return String.fromCodePoint(256 + Array.from({ length: byte }, (_, b) => b).filter((b) => !printable(b)).length);
}
