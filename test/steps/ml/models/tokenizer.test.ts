/** The bundled tokenizer; the ids are those of transformers' BertTokenizer for the same texts. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { copyTokenizer, openTokenizer, type Truncation } from '../../../../steps/ml/models/tokenizer.ts';
import { temporary } from '../../rig.ts';

const models = join(import.meta.dirname, '../../../../pipelines/models');

test.each([
  ['hello world', [7592, 2088]],
  ['', []],
  ['Unaffable naïve CAFÉ!? #$1,000.50', [14477, 20961, 3468, 15743, 7668, 999, 1029, 1001, 1002, 1015, 1010, 2199, 1012, 2753]],
  ['Free 朝鮮 e-mail\t\u0000\u200bwin\ufffd', [2489, 1874, 100, 1041, 1011, 5653, 2663]],
  ['[MASK] is [SEP] special', [103, 2003, 102, 2569]],
  [`${'x'.repeat(101)} ok`, [100, 7929]],
  ['😀 emoji', [100, 7861, 29147, 2072]],
])('%j', async (text, ids) => {
  const tokenizer = await openTokenizer(join(models, 'bert-tiny'), { maxLength: 64 });
  expect(tokenizer.size).toBe(30522);
  expect(await tokenizer.encode([text])).toMatchObject([{ ids: [101, ...ids, 102], truncated: false }]);
});

test('a text counts as truncated if it has more tokens than fit, not if it just fits', async () => {
  const tokenizer = await openTokenizer(join(models, 'bert-tiny'), { maxLength: 5 });
  const [fits, cut] = await tokenizer.encode(['one two three', 'one two three four']);
  expect(fits).toMatchObject({ ids: [101, 2028, 2048, 2093, 102], truncated: false });
  expect(cut).toMatchObject({ ids: [101, 2028, 2048, 2093, 102], truncated: true });
});

test('truncation_side of tokenizer_config.json: tokens at the end are kept', async () => {
  const folder = temporary();
  await copyTokenizer(join(models, 'bert-tiny'), folder);
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"truncation_side": "left"}');
  const open = (maxLength: number, truncation: Truncation = 'longest_first') => openTokenizer(folder, { maxLength, truncation });
  const text = 'one two three four five';
  expect(await (await open(5)).encode([text])).toMatchObject([{ ids: [101, 2093, 2176, 2274, 102], truncated: true }]);
  expect(await (await open(8)).encodePairs([[text, 'six seven']])).toMatchObject([
    { ids: [101, 2093, 2176, 2274, 102, 2416, 2698, 102], typeIds: [0, 0, 0, 0, 0, 1, 1, 1] },
  ]);
  expect(await (await open(9, 'only_second')).encodePairs([[text, 'six seven eight nine']])).toMatchObject([
    { ids: [101, 2028, 2048, 2093, 2176, 2274, 102, 3157, 102] },
  ]);
});

/** Ids and texts are those of transformers' AutoTokenizer from the same folders. */
test.each([
  ['gpt2-tiny', 'lighthouse keeper:', [76, 395, 298, 371, 69, 221, 500, 69, 425, 26], 'lighthouse keeper:'],
  [
    'gpt2-tiny',
    ' a small boat (for one); naïve 😀 2½',
    [257, 460, 282, 79, 265, 312, 70, 274, 495, 9, 27, 317, 65, 128, 108, 86, 69, 221, 173, 254, 247, 223, 221, 18, 127, 122],
    ' a small boat (for one); naïve 😀 2½',
  ],
  ['t5-tiny', 'lighthouse keeper:', [179, 3194, 1354, 34, 150, 1], 'lighthouse keeper:'],
  [
    't5-tiny',
    ' a small boat (for one); naïve 😀 2½',
    [3, 44, 1132, 23, 56, 57, 54, 17, 13, 10, 36, 21, 2, 194, 10, 2, 1018, 2, 1],
    'a small boat (for one); nave  2',
  ],
  ['t5-tiny', '  inner   spaces\tand\nlines ', [1837, 593, 6, 8, 1258, 1], 'inner spaces and lines'],
  ['t5-tiny', '', [1], ''],
])('%s: %j', async (name, text, ids, decoded) => {
  const tokenizer = await openTokenizer(join(models, name), {});
  expect((await tokenizer.encode([text]))[0]!.ids).toEqual(ids);
  expect(await tokenizer.decode(ids)).toBe(decoded);
});

test('the script makes exactly the bytes of the folder', () => {
  const folder = temporary();
  execFileSync(process.execPath, ['--import', 'tsx', join(models, 'bert-tiny.ts'), folder]);
  const files = readdirSync(join(models, 'bert-tiny'));
  expect(readdirSync(folder).sort()).toEqual(files.sort());
  for (const file of files) expect(readFileSync(join(folder, file)).equals(readFileSync(join(models, 'bert-tiny', file))), file).toBe(true);
});
