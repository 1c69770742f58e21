import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { addPreprocessing } from '../../../steps/ml/data/preprocessing.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { openSplit, readTokensInfo, type Split, SplitWriter, type TokensInfo } from '../../../steps/ml/models/token-dataset.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel } from '../small.ts';

const made = rows({ train: 12, validation: 4, test: 5 });

async function tokenized(given: object[], options = {}, model = smallModel()) {
  return ranStep(tokenize, { max_length: 16, ...options }, { data: await table(given), model });
}

test('ids, labels and row ids of each split, with the tokenizer and the record of preprocessing', async () => {
  const data = await table(made);
  await addPreprocessing(undefined, data, { decode: 'mail', columns: ['text'] });
  const { outputs, log } = await ranStep(tokenize, { max_length: 16 }, { data, model: smallModel() });
  const info = await readTokensInfo(outputs.tokens!);
  expect(info).toMatchObject({
    max_length: 16,
    labels: ['bad', 'good'],
    problem_type: 'single_label_classification',
    model_type: 'bert',
    pad_token_id: 0,
    splits: { train: { rows: 12, truncated: 0, shards: ['train-00000.safetensors'] }, validation: { rows: 4 }, test: { rows: 5 } },
  });
  const split = await openSplit(outputs.tokens!, info, 'test');
  expect(await exampleIds(split)).toEqual(['test-0000', 'test-0001', 'test-0002', 'test-0003', 'test-0004']);
  expect(labelsOf(split)).toEqual([0, 1, 0, 1, 0]);
  // [CLS] the day …  [SEP]
  const second = idsOf(split, 1);
  expect(second.slice(0, 3)).toEqual([2, 5, 6]);
  expect(second.at(-1)).toBe(3);
  expect(split.tokens).toBe(info.splits.test!.tokens);
  expect(readFileSync(join(outputs.tokens!, 'preprocessing.json'))).toEqual(readFileSync(join(data, 'preprocessing.json')));
  expect(existsSync(join(outputs.tokens!, 'tokenizer.json'))).toBe(true);
  expect(log).toContainEqual(
    expect.stringMatching(/^train: 12 texts, \d+ tokens; length median \d+, 95% \d+, longest \d+; 0.0% truncated$/),
  );
});

test('long texts are truncated and keep their last special token; a text without words is valid too', async () => {
  const long = { ...made[0]!, text: 'happy '.repeat(500) };
  const empty = { ...made[1]!, text: '' };
  const { outputs } = await tokenized([long, empty, ...made.slice(2)]);
  const info = await readTokensInfo(outputs.tokens!);
  const split = await openSplit(outputs.tokens!, info, 'train');
  expect(info.splits.train!.truncated).toBe(1);
  expect(idsOf(split, 0)).toEqual([2, ...new Array(14).fill(18), 3]);
  expect(idsOf(split, 1)).toEqual([2, 3]);
});

test('a warning gives the share of tokens that the vocabulary cannot write, and the number of texts without any other', async () => {
  const texts = (texts: string[]) => texts.map((text, i) => ({ ...made[i]!, text }));
  const foreign = await tokenized(texts(['the day was', '你好', 'the 😀']));
  expect(foreign.warnings).toEqual([
    expect.stringMatching(
      /^3 of 7 tokens \(42\.9%\) are \[UNK\], which .*\. 1 of 3 texts contain no other token\. .*: use a model that knows/,
    ),
  ]);
  const few = await tokenized(texts([...new Array(9).fill('the day '.repeat(7)), 'the day '.repeat(6) + 'the 😀']));
  expect(few.warnings).toEqual([]);
  expect(few.log).toContain('1 of 140 tokens (0.7%) are [UNK]');
  expect((await tokenized(texts(['the day was', 'the day']))).log.join()).not.toContain('[UNK]');
  const t5 = join(import.meta.dirname, '../../../pipelines/models/t5-tiny');
  const row = { id: '1', text: '😀', target: 'a day', split: 'train' };
  const unigram = await tokenized([row], { task: 'seq2seq', target: 'target', max_length: 8 }, t5);
  expect(unigram.warnings).toEqual([expect.stringMatching(/^1 of \d tokens \(\d+\.\d%\) are <unk>, which /)]);
});

test('answer_start counts code points, as in SQuAD; code units would point at another occurrence of the word', async () => {
  const folder = temporary();
  const database = await Database.open();
  await database.run(
    `CREATE TABLE t AS SELECT 'id' || i AS id, 'the' AS question, '😀😀😀😀 day day' AS context,
       {'text': ['day'], 'answer_start': [9]} AS answers, 'train' AS split FROM range(3) r(i)`,
  );
  await writeTable(database, 't', folder);
  database.close();
  const { outputs } = await ranStep(tokenize, { task: 'question-answering', max_length: 16 }, { data: folder, model: smallModel() });
  const split = await openSplit(outputs.tokens!, await readTokensInfo(outputs.tokens!), 'train');
  // [CLS] the [SEP] 😀😀😀😀 day day
  expect([...split.values('start_positions', 0)!, ...split.values('end_positions', 0)!]).toEqual([5, 5]);
});

test('padding and truncation in tokenizer.json are disabled', async () => {
  const model = smallModel();
  const file = join(model, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(file, 'utf8'));
  tokenizer.truncation = { direction: 'Left', max_length: 4, strategy: 'LongestFirst', stride: 0 };
  tokenizer.padding = {
    strategy: { Fixed: 64 },
    direction: 'Left',
    pad_to_multiple_of: null,
    pad_id: 0,
    pad_type_id: 0,
    pad_token: '[PAD]',
  };
  const plain = await tokenized(made);
  writeFileSync(file, JSON.stringify(tokenizer));
  const { outputs } = await tokenized(made, {}, model);
  for (const shard of ['train-00000.safetensors', 'test-00000.safetensors']) {
    expect(readFileSync(join(outputs.tokens!, shard))).toEqual(readFileSync(join(plain.outputs.tokens!, shard)));
  }
});

test('columns may have other names, and labels may be numbers, which are sorted by value', async () => {
  const folder = temporary();
  const database = await Database.open();
  await database.run(
    "CREATE TABLE t AS SELECT 'id' || i AS id, 'body ' || i AS body, [10, 9, 2][1 + i % 3] AS kind, 'train' AS split FROM range(9) r(i)",
  );
  await writeTable(database, 't', folder);
  database.close();
  const { outputs } = await ranStep(tokenize, { text: 'body', label: 'kind', max_length: 16 }, { data: folder, model: smallModel() });
  const info = await readTokensInfo(outputs.tokens!);
  expect(info.labels).toEqual(['2', '9', '10']);
  expect(labelsOf(await openSplit(outputs.tokens!, info, 'train'))).toEqual([2, 1, 0, 2, 1, 0, 2, 1, 0]);
});

test.each([
  ['no such label column', made, { label: 'kind' }, 'the data have no column `kind`'],
  ['no such text column', made, { text: 'body' }, 'the data have no column `body`'],
  ['an empty split', made.map((row, i) => (i < 2 ? { ...row, split: '' } : row)), {}, '2 rows have no split: the column `split` is empty'],
  ['one label only', made.map((row) => ({ ...row, label: 'bad' })), {}, 'all rows of the split "train" have the same label, "bad"'],
  [
    'a split that cannot be a file',
    made.map((row) => ({ ...row, split: `../${row.split}` })),
    {},
    '"../test" is not a valid name of a split',
  ],
  ['longer than the model takes', made, { max_length: 33 }, "max_length 33 exceeds the model's limit of 32 tokens"],
  ['no rows', [], {}, 'the data have no rows'],
])('%s is reported before any work', async (_, given, options, message) => {
  await expect(tokenized(given, options)).rejects.toMatchObject({ name: 'StepError', message: expect.stringContaining(message) });
});

test('a tokenizer that is missing, or has ids without an embedding, is reported', async () => {
  await expect(tokenized(made, {}, smallModel({ vocab_size: 20 }))).rejects.toThrow(
    "the tokenizer has 25 tokens, but the model's embedding table has only 20 rows",
  );
  const bare = temporary();
  writeFileSync(join(bare, 'config.json'), '{"model_type":"bert"}');
  await expect(tokenized(made, {}, bare)).rejects.toThrow('has no tokenizer.json');
  writeFileSync(join(bare, 'vocab.txt'), '');
  await expect(tokenized(made, {}, bare)).rejects.toThrow('vocab.txt has no [CLS]');
  writeFileSync(join(bare, 'tokenizer.json'), '{"model":{}}');
  await expect(tokenized(made, {}, bare)).rejects.toThrow('tokenizer.json cannot be read');
  const model = smallModel();
  const file = join(model, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(file, 'utf8'));
  delete tokenizer.model.vocab['[UNK]'];
  writeFileSync(file, JSON.stringify(tokenizer));
  await expect(tokenized(made, {}, model)).rejects.toThrow('the vocabulary does not contain [UNK], its unknown token');
});

test('a split of several shards is read as one', async () => {
  const folder = temporary();
  const columns = {
    input_ids: { per: 'token', dtype: 'int32', width: 1 },
    labels: { per: 'sequence', dtype: 'float32', width: 2 },
  } as const;
  const writer = new SplitWriter(folder, 'train', columns, 10);
  const values = (i: number) => ({ input_ids: new Array(3 + 2 * i).fill(i), labels: [i, 0.5] });
  for (let i = 0; i < 6; i++) await writer.add({ id: `row "${i}"` }, [values(i)], false);
  await writer.add({ id: 'of two', note: 'é' }, [values(6), values(7)], true);
  await writer.end();
  const shards = [0, 1, 2, 3, 4, 5, 6].map((n) => `train-0000${n}.safetensors`);
  expect(writer.info).toEqual({ rows: 7, sequences: 8, tokens: 80, truncated: 1, highest_id: 7, shards });
  const info = { columns, splits: { train: writer.info } } as unknown as TokensInfo;
  const split = await openSplit(folder, info, 'train');
  const examples = [];
  for await (const example of split.examples()) examples.push(example);
  expect(examples[3]).toEqual({ id: 'row "3"' });
  expect(examples[6]).toEqual({ id: 'of two', note: 'é', sequences: 2 });
  for (const i of [7, 0, 3, 6, 1, 2, 5, 4]) {
    expect(idsOf(split, i)).toEqual(new Array(3 + 2 * i).fill(i));
    expect([...split.values('labels', i)!]).toEqual([i, 0.5]);
  }
  split.close();
  await expect(openSplit(folder, info, 'test')).rejects.toMatchObject({
    message: 'the tokens have no split "test"',
    hint: 'They have train (7 rows).',
  });
});

function idsOf(split: Split, sequence: number): number[] {
  const ids = new Int32Array(split.length(sequence));
  split.read('input_ids', sequence, ids, 0);
  return [...ids];
}

const labelsOf = (split: Split): number[] => Array.from({ length: split.sequences }, (_, i) => split.values('labels', i)![0]!);

async function exampleIds(split: Split): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of split.examples()) ids.push(id);
  return ids;
}
