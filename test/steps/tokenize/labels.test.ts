/** Which labels tokenize takes from the data, which from the model, and which it rejects. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { smallModel } from '../small.ts';
import { made, tokenized } from './label-tokens.ts';

/** `values`: tuples of SQL, one per row, with the columns named after them. All rows are for training. */
const rowsOf = (columns: string, ...values: string[]) =>
  made(
    `SELECT 'r' || row_number() OVER () AS id, 'the day' AS text, 'train' AS split, * FROM (VALUES ${values.join(', ')}) AS v(${columns})`,
  );

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
