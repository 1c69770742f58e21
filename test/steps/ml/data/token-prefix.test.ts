/** Only the beginning of a long text is tokenized if it will be truncated: the result is the same. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { beginning, PLAIN, unsureWords, withoutLoose } from '../../../../steps/ml/data/token-prefix.ts';
import { openTokenizer, type Sequence } from '../../../../steps/ml/models/tokenizer.ts';
import { tokenizerJson } from '../../../../steps/ml/models/tokenizer-json.ts';

const golden = join(import.meta.dirname, '../../../golden');
const lines = readFileSync(join(golden, 'nasty.txt'), 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as string);
const plain = 'the cat sat on the mat and the rat sat on the hat\n'.repeat(40);
/** Many times as long as the tokens that are kept; the last has no place where it could be cut. */
const LONG = [...lines.map((line) => `${line} ${plain}`), lines.join(' a b ').repeat(3), plain, 'x'.repeat(3000), '日本'.repeat(900)];

const TOKENIZERS = ['bert-uncased', 'bert-cased', 'bert-accents', 'roberta', 'roberta-prefix', 'gpt2', 'unigram', 'sentencepiece'];

test.each(TOKENIZERS)('%s', async (name) => {
  const folder = join(golden, 'tokenizer', name);
  expect(unsureWords(JSON.parse(await tokenizerJson(folder)))).toBeDefined();
  const [whole, ...cut] = await Promise.all([undefined, 12, 13].map((maxLength) => openTokenizer(folder, { maxLength })));
  const texts = await whole!.encode(LONG);
  for (const [k, tokenizer] of cut.entries()) {
    const kept = await tokenizer.encode(LONG);
    for (const [i, { ids, truncated }] of kept.entries()) {
      expect(truncated).toBe(texts[i]!.ids.length > 12 + k);
      const own = texts[i]!.ids.filter((_, at) => texts[i]!.sequenceIds[at] === 0);
      const content = ids.filter((_, at) => kept[i]!.sequenceIds[at] === 0);
      expect(content).toEqual(own.slice(0, content.length));
      expect(ids.length).toBe(Math.min(texts[i]!.ids.length, 12 + k));
    }
    // Pairs of a short and a long text, of two long ones, and of equal ones: the same as from a tokenizer that always
    // reads whole texts.
    const pairs = LONG.flatMap((text, i) => [
      [text, 'short'] as const,
      ['short', text] as const,
      [text, LONG[(i + 1) % LONG.length]!] as const,
    ]);
    const asked = await tokenizer.encodePairs(pairs);
    const long = await whole!.encodePairs(pairs);
    for (const [i, sequence] of asked.entries()) {
      expect(sequence.ids.length).toBe(Math.min(long[i]!.ids.length, 12 + k));
      const lengths = ({ sequenceIds }: Sequence) =>
        [0, 1].map((text) => sequenceIds.filter((id) => id === text).length) as [number, number];
      const [a, b] = lengths(long[i]!);
      const tokens = ({ ids, sequenceIds }: Sequence) => [0, 1].map((text) => ids.filter((_, at) => sequenceIds[at] === text));
      for (const [text, kept] of tokens(sequence).entries()) expect(kept).toEqual(tokens(long[i]!)[text]!.slice(0, kept.length));
      const room = 12 + k - (long[i]!.ids.length - a - b);
      if (a + b <= room) continue;
      const less = Math.min(a, b, Math.floor(room / 2));
      expect(lengths(sequence)).toEqual(a > b ? [room - less, less] : [less, room - less]);
    }
  }
});

test('a text is cut only between plain letters, and not at all if words may depend on each other', () => {
  expect(beginning('one two three', 4)).toEqual({ text: 'one t', more: true });
  expect(beginning('one two', 40)).toEqual({ text: 'one two', more: false });
  expect(beginning('日本語', 1)).toEqual({ text: '日本', more: true });
  expect(beginning('a, e\u0301. o\u0301', 0)).toEqual({ text: 'a, e\u0301. o\u0301', more: false });
  expect(withoutLoose('one, two\u0301')).toBe('one, tw');
  const local = { normalizer: null, pre_tokenizer: { type: 'Metaspace' } };
  expect(unsureWords(local)).toBe(4);
  expect(unsureWords({ ...local, added_tokens: [{ content: '<mask>' }, { content: 'ﬁ', normalized: true }] })).toBe(10);
  for (const change of [
    { pre_tokenizer: null },
    { pre_tokenizer: { type: 'Metaspace', split: false } },
    { pre_tokenizer: { type: 'ByteLevel', use_regex: false } },
    { normalizer: { type: 'Replace', pattern: { String: 'ab' } } },
    { added_tokens: [{ content: 'New York' }] },
  ])
    expect(unsureWords({ ...local, ...change }), JSON.stringify(change)).toBeUndefined();
});

test('Unicode has a boundary before and after every letter at which a text is cut, and the case of its neighbours does not depend on it', () => {
  const plain = Array.from({ length: 0x10000 }, (_, code) => String.fromCharCode(code)).filter((character) => PLAIN.test(character));
  expect(plain.length).toBeGreaterThan(38_000);
  const odd = plain.filter(
    (letter) =>
      !/^[\p{L}\p{Nd}]$/u.test(letter) ||
      /\p{Case_Ignorable}/u.test(letter) ||
      !PLAIN.test(letter.toLowerCase()) ||
      !/^[\p{L}\p{Nd}]/u.test(letter.normalize('NFD')),
  );
  expect(odd).toEqual([]);
  // With one of each kind as a neighbour, on both sides.
  for (const other of ['a', '9', 'ö', 'й', 'ש', 'ي', 'क', 'ก', 'が', 'ヴ', '漢', '하', '한'])
    for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD'] as const) {
      const apart = plain.map((letter) => letter.normalize(form)).join(other.normalize(form));
      expect(plain.join(other).normalize(form) === apart, `${form} beside ${other}`).toBe(true);
    }
  const characters = new Intl.Segmenter('en', { granularity: 'grapheme' });
  expect([...characters.segment(plain.join(''))].length).toBe(plain.length);
});
