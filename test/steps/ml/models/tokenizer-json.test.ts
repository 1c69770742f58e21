/**
 * Tokenizers of older folders, and of families that have a tokenizer.json: ids, types and offsets as from
 * transformers' classes with the same files (test/golden/tokenizer.py and tokenizer-json.py).
 */
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer } from 'tokenizers';
import { expect, test } from 'vitest';
import { maskToken, openTokenizer } from '../../../../steps/ml/models/tokenizer.ts';
import { tokenizerJson } from '../../../../steps/ml/models/tokenizer-json.ts';
import { temporary } from '../../rig.ts';

const golden = join(import.meta.dirname, '../../../golden/tokenizer');

interface Expected {
  text: string | [string, string];
  ids: number[];
  types: number[];
  offsets: [number, number][];
}

const older = readdirSync(golden).filter((name) => !existsSync(join(golden, name, 'tokenizer.json')));

test.each([...older, 'xlm-roberta', 'camembert', 'modernbert'])('%s', async (name) => {
  const tokenizer = Tokenizer.fromString(await tokenizerJson(join(golden, name)));
  const expected: Expected[] = JSON.parse(readFileSync(join(golden, name, 'expected.json'), 'utf8'));
  expect(expected.length).toBeGreaterThan(15);
  for (const { text, ids, types, offsets } of expected) {
    const [first, second] = [text].flat() as [string, string | undefined];
    const encoding = await tokenizer.encode(first, second);
    expect(encoding.getIds(), first).toEqual(ids);
    expect(encoding.getTypeIds(), first).toEqual(types);
    expect(encoding.getOffsets(), first).toEqual(offsets);
  }
});

test.each(['xlm-roberta', 'camembert', 'electra', 'modernbert'])('the steps open the tokenizer of %s', async (name) => {
  const tokenizer = await openTokenizer(join(golden, name), { maxLength: 500 });
  const expected: Expected[] = JSON.parse(readFileSync(join(golden, name, 'expected.json'), 'utf8'));
  for (const { text, ids, types } of expected) {
    const [sequence] = await (typeof text === 'string' ? tokenizer.encode([text]) : tokenizer.encodePairs([text]));
    expect(sequence, String(text)).toMatchObject({ ids, typeIds: types, truncated: false });
  }
  const mask = name.startsWith('xlm') || name === 'camembert' ? '<mask>' : '[MASK]';
  expect(await maskToken(join(golden, name), tokenizer)).toEqual({ token: mask, id: tokenizer.idOf(mask) });
});

/**
 * A tokenizer.json of one folder with the tokenizer_config.json of another, with the same vocabulary: the latter
 * decides.
 */
test.each([
  ['bert-uncased', 'bert-cased', undefined],
  ['bert-cased', 'bert-uncased', { do_lower_case: true }],
  ['bert-uncased', 'bert-accents', undefined],
  ['bert-uncased', 'electra', undefined],
  ['roberta', 'roberta-prefix', undefined],
  ['xlm-roberta', 'xlm-roberta-prefix', undefined],
  ['camembert', 'camembert-prefix', undefined],
])('tokenizer.json of %s, tokenizer_config.json of %s', async (saved, configured, options) => {
  const folder = temporary();
  writeFileSync(join(folder, 'tokenizer.json'), await tokenizerJson(join(golden, saved)));
  const config = join(golden, configured, 'tokenizer_config.json');
  writeFileSync(join(folder, 'tokenizer_config.json'), options ? JSON.stringify(options) : readFileSync(config));
  const tokenizer = Tokenizer.fromString(await tokenizerJson(folder));
  const expected: Expected[] = JSON.parse(readFileSync(join(golden, configured, 'expected.json'), 'utf8'));
  for (const { text, ids } of expected) {
    const [first, second] = [text].flat() as [string, string | undefined];
    expect((await tokenizer.encode(first, second)).getIds(), first).toEqual(ids);
  }
  // A class that only reads tokenizer.json has no such options.
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ do_lower_case: saved !== 'bert-uncased', add_prefix_space: true, tokenizer_class: 'PreTrainedTokenizerFast' }),
  );
  expect(await tokenizerJson(folder)).toBe(readFileSync(join(folder, 'tokenizer.json'), 'utf8'));
});

test("special tokens with the folder's names, and those added after the vocabulary", async () => {
  const folder = temporary();
  cpSync(join(golden, 'bert-uncased'), folder, { recursive: true });
  writeFileSync(join(folder, 'added_tokens.json'), '{"<URL>": 251}');
  writeFileSync(join(folder, 'special_tokens_map.json'), '{"mask_token": {"content": "[MASK]", "lstrip": true}, "cls_token": "[SEP]"}');
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"cls_token": "[CLS]"}');
  const tokenizer = Tokenizer.fromString(await tokenizerJson(folder));
  const encoding = await tokenizer.encode('see <URL> or  [MASK]');
  expect(encoding.getIds()).toContain(251);
  expect(encoding.getIds()[0]).toBe(2);
  expect(encoding.getOffsets().at(-2)).toEqual([12, 20]);
});

test('special tokens without a role: never split, nor found in lower case; none without an id', async () => {
  const folder = temporary();
  cpSync(join(golden, 'bert-uncased'), folder, { recursive: true });
  writeFileSync(join(folder, 'added_tokens.json'), '{"<URL>": 251}');
  writeFileSync(join(folder, 'special_tokens_map.json'), '{"additional_special_tokens": ["<URL>", "the", "<NEW>"]}');
  const ids = new Map(
    readFileSync(join(folder, 'vocab.txt'), 'utf8')
      .split('\n')
      .map((word, id) => [word, id]),
  );
  const json = await tokenizerJson(folder);
  const encoding = await Tokenizer.fromString(json).encode('Meeting<URL>the <url>');
  expect(encoding.getIds().slice(1, 4)).toEqual([ids.get('meeting'), 251, ids.get('the')]);
  expect(encoding.getIds().slice(4)).not.toContain(251);
  const special = JSON.parse(json).added_tokens.filter((token: { special: boolean }) => token.special);
  expect(special.map(({ content }: { content: string }) => content).slice(-2)).toEqual(['the', '<URL>']);
});

test('an unsupported tokenizer is rejected with advice', async () => {
  const folder = temporary();
  await expect(tokenizerJson(folder)).rejects.toThrow('has no tokenizer.json');
  writeFileSync(join(folder, 'spiece.model'), '');
  await expect(tokenizerJson(folder)).rejects.toThrow('has spiece.model but no tokenizer.json');
  rmSync(join(folder, 'spiece.model'));
  writeFileSync(join(folder, 'vocab.txt'), 'a\nb\n');
  await expect(tokenizerJson(folder)).rejects.toThrow('vocab.txt has no [CLS]');
});
