/** `show` decodes tokens, and prints the labels of each sequence. */
import { expect, test } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { preview } from '../../../steps/preview/preview.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';
import { smallT5 } from '../writers.ts';

test('texts and labels, as many as requested of all splits together', async () => {
  const tokens = await smallTokens(smallModel());
  const [decoded, splits] = await preview(tokens, 5);
  expect(decoded!.title).toBe('tokens of text-classification, decoded; max_length 24; labels bad, good');
  expect(decoded!.lines).toHaveLength(2 * 5);
  expect(decoded!.lines!.slice(0, 2)).toEqual(['test test-0000, 7 tokens → bad', '  [CLS] the awful poor the the [SEP]']);
  expect(decoded!.rest).toBe('+ 105 more sequences');
  expect(splits!.table!.rows.map((row) => row.slice(0, 3))).toEqual([
    ['test', '20', '20'],
    ['train', '70', '70'],
    ['validation', '20', '20'],
  ]);
});

test.each<[options: object, columns: string, expected: string[]]>([
  [
    { task: 'token-classification' },
    `['the', 'lovely', 'day'] AS tokens, ['O', 'B-X', 'O'] AS tags`,
    ['train id0, 5 tokens', '  the/O lovely/B-X day/O'],
  ],
  [
    { task: 'question-answering' },
    `'the' AS question, 'the day was fine' AS context, {'text': ['was fine'], 'answer_start': [8]} AS answers`,
    ['train id0, 8 tokens → was fine', '  [CLS] the [SEP] the day was fine [SEP]'],
  ],
  [
    { task: 'text-classification', problem_type: 'multi_label_classification' },
    `'the day' AS text, ['bad', 'odd'] AS label`,
    ['train id0, 4 tokens → bad, odd', '  [CLS] the day [SEP]'],
  ],
  [
    { task: 'text-classification', problem_type: 'regression' },
    `'the day' AS text, 2.5 AS label`,
    ['train id0, 4 tokens → 2.5', '  [CLS] the day [SEP]'],
  ],
])('%j', async (options, columns, expected) => {
  const data = await made(columns);
  const { outputs } = await ranStep(tokenize, { max_length: 16, ...options }, { data, model: smallModel() });
  const [decoded] = await preview(outputs.tokens!, 1);
  expect(decoded!.lines).toEqual(expected);
});

test('a text and its target', async () => {
  const model = temporary();
  smallT5(model, ['red', 'green', 'blue', 'dark']);
  const { outputs } = await ranStep(
    tokenize,
    { task: 'seq2seq', max_length: 8 },
    { data: await made(`'dark red' AS text, 'green' AS target`), model },
  );
  const [decoded] = await preview(outputs.tokens!, 1);
  expect(decoded!.lines).toEqual(['train id0, 3 tokens → green </s>', '  dark red </s>']);
});

/** Three equal rows. */
async function made(columns: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE t AS SELECT 'id' || i AS id, ${columns}, 'train' AS split FROM range(3) r(i)`);
    await writeTable(database, 't', folder);
  } finally {
    database.close();
  }
  return folder;
}
