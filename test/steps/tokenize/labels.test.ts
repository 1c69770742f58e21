/** Which labels tokenize takes from the data, which from the model, and which it rejects. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import evaluate from '../../../steps/evaluate/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { openSplit, readTokensInfo } from '../../../steps/ml/models/token-dataset.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

/** A data artifact with the rows of a query. */
async function made(sql: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE made AS ${sql}`);
    await writeTable(database, 'made', folder);
  } finally {
    database.close();
  }
  return folder;
}

/** `values`: tuples of SQL, one per row, with the columns named after them. All rows are for training. */
const rowsOf = (columns: string, ...values: string[]) =>
  made(
    `SELECT 'r' || row_number() OVER () AS id, 'the day' AS text, 'train' AS split, * FROM (VALUES ${values.join(', ')}) AS v(${columns})`,
  );

async function tokenized(data: string, options: object, model = smallModel()) {
  const { outputs, log, warnings } = await ranStep(tokenize, { max_length: 16, ...options }, { data, model });
  const info = await readTokensInfo(outputs.tokens!);
  const values = async (name: string) => {
    const split = await openSplit(outputs.tokens!, info, name);
    const found = Array.from({ length: split.sequences }, (_, i) => [...split.values('labels', i)!]);
    split.close();
    return found;
  };
  return { info, log, warnings, values, tokens: outputs.tokens! };
}

const MULTI = { problem_type: 'multi_label_classification', label: ['toxic', 'insult'] };

test.each([
  ['whole numbers', '(1, 0)', '(0, 1)', '(1, 1)'],
  ['booleans', '(true, false)', '(false, true)', '(true, true)'],
  ['texts as files have them', "('1', 'False')", "('0', 'TRUE')", "('true', '1')"],
  ['numbers with a point', '(1.0, 0.0)', '(0.0, 1.0)', '(1.0, 1.0)'],
])('columns of labels contain 0 and 1: %s', async (_, ...values) => {
  const { info, values: labels } = await tokenized(await rowsOf('toxic, insult', ...values), MULTI);
  expect(info.labels).toEqual(['toxic', 'insult']);
  expect(await labels('train')).toEqual([
    [1, 0],
    [0, 1],
    [1, 1],
  ]);
});

test.each([
  ['a share', ['(1, 0.9::DOUBLE)', '(0, 0.2)'], '"0.9", not 0, 1, false or true (in 2 rows)'],
  ['a negative number', ['(1, 0)', '(0, -1)'], '"-1", not 0, 1, false or true'],
  ['two', ['(1, 0)', '(0, 2)'], '"2", not 0, 1, false or true'],
  ['a word', ["(1, '0')", "(0, 'yes')"], '"yes", not 0, 1, false or true'],
  ['NaN as text', ["(1, '0')", "(0, 'nan')"], '"nan", not 0, 1, false or true'],
])('%s is not taken for 0', async (_, values, message) => {
  await expect(tokenized(await rowsOf('toxic, insult', ...values), MULTI)).rejects.toMatchObject({
    message: expect.stringMatching(/^row r[12]: `insult` is /),
    option: ['label'],
  });
  await expect(tokenized(await rowsOf('toxic, insult', ...values), MULTI)).rejects.toThrow(message);
});

test.each([
  ['null', '(NULL::INTEGER, 1)'],
  ['an empty text', "('', '1')", "('1', '0')", "('0', '1')"],
  ['NaN', "('nan'::DOUBLE, 1)"],
])('a row without annotation, %s, is rejected by name, or dropped with a count', async (_, value, ...others) => {
  const data = await rowsOf('toxic, insult', value, ...(others.length > 0 ? others : ['(1, 0)', '(0, 1)']));
  await expect(tokenized(data, MULTI)).rejects.toMatchObject({
    message: '1 of 3 rows have no label: `toxic` or `insult` is empty, first in row r1',
    hint: '`missing: drop` leaves such rows out.',
  });
  const { values, log, info } = await tokenized(data, { ...MULTI, missing: 'drop' });
  expect(await values('train')).toEqual([
    [1, 0],
    [0, 1],
  ]);
  expect(info.splits.train!.rows).toBe(2);
  expect(log).toContain('1 of 3 rows have no label and are dropped (missing: drop)');
});

test('lists of labels: an empty one means no label, null means not annotated', async () => {
  const options = { problem_type: 'multi_label_classification' };
  const data = await rowsOf('label', "(['a', 'b'])", '([])', '(NULL)', "(['b', 'b'])");
  await expect(tokenized(data, options)).rejects.toThrow('1 of 4 rows have no label: `label` is empty, first in row r3');
  const { info, values, warnings } = await tokenized(data, { ...options, missing: 'drop' });
  expect(info.labels).toEqual(['a', 'b']);
  expect(await values('train')).toEqual([
    [1, 1],
    [0, 0],
    [0, 1],
  ]);
  expect(warnings).toEqual(['1 of 3 rows contain a label twice in `label`; it counts once']);
  await expect(tokenized(await rowsOf('label', "(['a', NULL])", "(['b'])"), options)).rejects.toThrow('row r1: the list of labels');
  await expect(tokenized(await rowsOf('label', "(['a'])", "(['b', ''])"), options)).rejects.toThrow('row r2: the list of labels');
  await expect(tokenized(await rowsOf('label', '([0, 1, 1])', '([1, 0, 0])'), options)).rejects.toThrow(
    'the lists in `label` contain 0 and 1 at the positions of labels, not the names of labels',
  );
});

test.each([
  ['single_label_classification', ["('a')", "('b')", "('')", '(NULL)', "('a')"], [[0], [1], [0]]],
  ['regression', ['(1.5::DOUBLE)', '(2)', "('nan')", '(NULL)', '(-3)'], [[1.5], [2], [-3]]],
])('missing labels of %s', async (problem_type, rows, labels) => {
  const data = await rowsOf('label', ...rows);
  await expect(tokenized(data, { problem_type })).rejects.toThrow('2 of 5 rows have no label: `label` is empty, first in row r3');
  const { values } = await tokenized(data, { problem_type, missing: 'drop' });
  expect(await values('train')).toEqual(labels);
});

test('labels that differ only in case or spaces are different labels, with a warning', async () => {
  const { warnings, info } = await tokenized(await rowsOf('label', "('spam')", "('Spam ')", "('ham')"), {});
  expect(info.labels).toEqual(['Spam ', 'ham', 'spam']);
  expect(warnings).toEqual(['the labels "Spam " and "spam" differ only in case or spaces, and count as 2 labels']);
});

/** Rows without a training split. */
const outside = (labels: string[], split = '') =>
  made(
    `SELECT 'o' || i AS id, 'the happy day' AS text, ${split} [${labels.map((label) => `'${label}'`).join(', ')}][1 + i % ${labels.length}] AS label FROM range(6) r(i)`,
  );

test('a model is evaluated on an external file: labels by name, unknown ones rejected, with or without a split column', async () => {
  const base = smallModel();
  const tokens = await smallTokens(base, ['bad', 'good', 'odd']);
  const options = { epochs: 1, learning_rate: 0.02, runtime: 'eager' };
  const model = (await ranStep(train, options, { model: base, tokens })).outputs.model!;

  for (const data of [await outside(['good', 'odd']), await outside(['good', 'odd'], "'test' AS split,")]) {
    const { info, values, tokens } = await tokenized(data, {}, model);
    expect(info.labels).toEqual(['bad', 'good', 'odd']);
    expect(await values('test')).toEqual([[1], [2], [1], [2], [1], [2]]);
    const { outputs } = await ranStep(evaluate, { runtime: 'eager', metrics: ['accuracy'] }, { model, tokens });
    expect(JSON.parse(readFileSync(outputs.metrics!, 'utf8'))).toMatchObject({ rows: 6, labels: ['bad', 'good', 'odd'] });
  }
  // A single label can be evaluated too.
  expect((await tokenized(await outside(['odd']), {}, model)).info.labels).toEqual(['bad', 'good', 'odd']);
  await expect(tokenized(await outside(['good', 'great']), {}, model)).rejects.toMatchObject({
    message: 'the model does not know the label great, which 3 rows have',
    hint: expect.stringContaining('Its labels are bad, good, odd.'),
    option: ['label'],
  });
  // A base model has no labels: those of the data are used, and evaluate maps them by name.
  const plain = await tokenized(await outside(['good', 'odd']), {}, base);
  expect(plain.info.labels).toEqual(['good', 'odd']);
  expect(plain.log).toContain('the data have no column `split`: all rows belong to the split test');
  await expect(ranStep(train, options, { model: base, tokens: plain.tokens })).rejects.toMatchObject({
    message: 'the tokens have no split "train"',
  });
});

test('the columns of an external multi-label file are those of the model, in its order', async () => {
  const model = smallModel();
  const config = JSON.parse(readFileSync(join(model, 'config.json'), 'utf8'));
  const named = {
    architectures: ['BertForSequenceClassification'],
    problem_type: 'multi_label_classification',
    id2label: { 0: 'insult', 1: 'toxic' },
  };
  writeFileSync(join(model, 'config.json'), JSON.stringify({ ...config, ...named }));
  const data = await made("SELECT 'o' || i AS id, 'day' AS text, i % 2 AS toxic, 1 AS insult, 0 AS other FROM range(2) r(i)");
  const { info, values } = await tokenized(data, MULTI, model);
  expect(info.labels).toEqual(['insult', 'toxic']);
  expect(await values('test')).toEqual([
    [1, 0],
    [1, 1],
  ]);
  await expect(tokenized(data, { ...MULTI, label: ['toxic'] }, model)).rejects.toThrow('the model also predicts insult');
  await expect(tokenized(data, { ...MULTI, label: ['toxic', 'insult', 'other'] }, model)).rejects.toThrow(
    'the model does not know the label other',
  );
});
