/** The step check: every figure, the rows with problems, limits, and data that lack something. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import definition from '../../../steps/check/step.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { readRows } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { smallModel } from '../small.ts';

type Rows = Record<string, string | null>[];

const checked = async (rows: Rows, options: object = {}) => checkedFolder(await table(rows), options);

/** `data`: a data artifact. */
async function checkedFolder(data: string, options: object = {}, inputs: Record<string, string> = {}) {
  const ran = await ranStep(definition, { label_errors: false, languages: false, giveaways: false, ...options }, { data, ...inputs });
  const report = JSON.parse(readFileSync(ran.outputs.report!, 'utf8'));
  const found = new Map<string, any>();
  const columns = ['id', 'problems', 'details', 'suggested_label', 'similar_to', 'duplicate_group'];
  for await (const chunk of readRows(ran.outputs.rows!, columns)) for (const row of chunk) found.set(String(row.id), row);
  return { ...ran, data, report, figures: report.metrics, found };
}

/** A data artifact with the rows of a query. */
async function made(query: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  try {
    await writeTable(database, `(${query})`, folder);
  } finally {
    database.close();
  }
  return folder;
}

const SENTENCES = {
  sport: [
    'the striker scored a late goal',
    'our team won the final match',
    'a coach praised the young goalkeeper',
    'the match ended after extra time',
  ],
  money: [
    'the bank raised its interest rate',
    'shares fell on the stock market',
    'investors sold their bonds today',
    'the market closed with small profits',
  ],
};

/** Texts of two labels without duplicates. */
function sentences(n: number): Rows {
  return Array.from({ length: n }, (_, i) => {
    const label = i % 2 === 0 ? 'sport' : 'money';
    const words = SENTENCES[label][(i >> 1) % 4]!;
    const text = `${words}, as report number ${i * 7919} of ${i * 104729} says`;
    return { id: `r${String(i).padStart(3, '0')}`, text, label, split: i % 5 === 0 ? 'test' : 'train' };
  });
}

test('figures and rows of data with many problems', async () => {
  const rows = sentences(60);
  rows.push({ id: 'twin', text: rows[1]!.text!, label: 'money', split: 'test' });
  rows.push({ id: 'rival', text: rows[3]!.text!, label: 'sport', split: 'train' });
  rows.push({ id: 'near', text: `${rows[7]!.text} again`, label: 'money', split: 'test' });
  rows.push({ id: 'none', text: null, label: 'sport', split: 'train' });
  rows.push({ id: 'blank', text: ' \u00a0', label: 'sport', split: 'train' });
  rows.push({ id: 'unlabelled', text: 'no label was given to this short english sentence', label: null, split: 'train' });
  rows.push({ id: 'french', text: 'le gardien de but a été félicité par son entraîneur hier soir', label: 'sport', split: 'train' });
  const wrong = 'the striker scored a goal and the coach praised the goalkeeper after the match';
  rows.push({ id: 'wrong', text: wrong, label: 'money', split: 'train' });
  const options = { max_length: 13, labels: ['sport', 'money'], label_errors: true, languages: true };
  const { figures, report, found, metrics, outputs, data } = await checked(rows, options);
  expect(report.problems).toEqual({
    missing: 3,
    duplicate: 4,
    near_duplicate: 2,
    across_splits: 4,
    conflicting_label: 2,
    too_long: 2,
    other_language: 1,
    label_error: 2,
  });
  expect(figures).toMatchObject({
    schema: 0,
    missing: 3 / 68,
    'missing.label': 1 / 68,
    unexpected_label: 0,
    label_not_in_train: 0,
    duplicates: 4 / 68,
    'duplicates.across_splits': 1 / 14,
    'duplicates.conflicting': 2 / 68,
    near_duplicates: 6 / 68,
    'near_duplicates.across_splits': 2 / 14,
    too_long: 2 / 68,
    other_language: 1 / 68,
    label_errors: 2 / 68,
  });
  expect(metrics['duplicates.conflicting']).toBe(2 / 68);
  expect(found.get('near')).toMatchObject({ problems: ['near_duplicate', 'across_splits', 'too_long'], similar_to: 'r007' });
  expect(found.get('near').duplicate_group).toBe(found.get('r007').duplicate_group);
  expect(found.get('twin').details).toEqual(Array(2).fill('the same text is in the row r001 in the split train'));
  expect(found.get('rival').details).toContain('the row r003 in the split train has the label "money"');
  expect(found.get('wrong')).toMatchObject({ suggested_label: 'sport' });
  expect(found.get('french').details).toEqual(['the language is fr']);
  expect(found.has('r011')).toBe(false);
  expect(report.examples.missing.map(({ id }: any) => id)).toEqual(['blank', 'none', 'unlabelled']);
  // The data pass unchanged.
  for (const file of ['data.parquet', 'card.json'])
    expect(readFileSync(`${outputs.data}/${file}`)).toEqual(readFileSync(`${data}/${file}`));
});

test('the name of a label that gives it away, and one that does not', async () => {
  const rows = Array.from({ length: 80 }, (_, i) => ({
    id: `${i}`,
    text: `${i % 2 ? 'Category: Very-Good' : 'Category: unknown'}; the bad weather of day ${i * 7919} is not what number ${i * 104729} means`,
    label: i % 2 ? 'very_good' : 'bad',
  }));
  const { figures, report, found } = await checked(rows);
  expect(figures.label_in_text).toBe(0.5);
  expect(report.checks.label_in_text).toMatchObject([
    { label: 'bad', rows: 80, right: 40, lift: 1, certainty: 0, gives_away: false },
    { label: 'very_good', rows: 40, right: 40, lift: 2, certainty: 1, gives_away: true },
  ]);
  expect(found.get('1').problems).toEqual(['label_in_text']);
  expect(found.has('0')).toBe(false);
});

test('a figure is undefined for a reason, and never zero', async () => {
  const { figures, report } = await checked([
    { id: '1', text: 'one text' },
    { id: '2', text: 'and one more' },
  ]);
  expect(figures).toMatchObject({ 'label_balance.largest': null, 'duplicates.across_splits': null, label_errors: null, too_long: null });
  expect(report.undefined).toMatchObject({
    'label_balance.largest': 'the data have no column `label` (the columns are id, text)',
    'duplicates.across_splits': 'the data have no column `split`',
    'duplicates.conflicting': 'the data have no labels',
    label_in_text: 'the data have no column `label` (the columns are id, text)',
    too_long: 'neither `max_length` nor a model is given',
    other_language: '`languages` is false',
  });
});

test('one label, and one split', async () => {
  const rows = sentences(20).map((row) => ({ ...row, label: 'sport', split: 'train' }));
  const { report } = await checked(rows, { label_errors: true });
  expect(report.undefined).toMatchObject({
    'label_balance.ratio': 'all rows have the label "sport"',
    label_errors: 'all rows have the label "sport"',
    label_not_in_train: 'all rows are in the split train',
    'near_duplicates.across_splits': 'all rows are in the split train',
  });
});

test('label errors are undefined for too many labels and words, which would not fit in memory', async () => {
  const rows = Array.from({ length: 1500 }, (_, i) => ({
    id: `r-${i}`,
    text: Array.from({ length: 25 }, (_, word) => `w${i}x${word}`).join(' '),
    label: `l${i % 300}`,
    split: 'train',
  }));
  const { report } = await checked(rows, { label_errors: true, near_duplicates: false });
  expect(report.metrics).toMatchObject({ label_errors: null, 'label_errors.accuracy': null });
  expect(report.undefined.label_errors).toBe('300 labels and more than 33,333 different words need too much memory for the bag of words');
});

test('every missed limit is listed with its value', async () => {
  const rows = [
    ...sentences(18),
    { id: 'none', text: null, label: 'sport', split: 'train' },
    { id: 'b', text: 'a', label: 'odd', split: 'test' },
  ];
  const limits = { missing: '<= 0', 'missing.price': '<= 0', label_not_in_train: '< 0.1', other_language: '<= 0.5', duplicates: '<= 0' };
  await expect(checked(rows, { limits })).rejects.toThrow(
    'the data miss 4 of 5 limits: missing is 0.05, but must be <= 0; missing.price must be <= 0, but the data have no column `price`; ' +
      'label_not_in_train is 0.2, but must be < 0.1; other_language must be <= 0.5, but is undefined: `languages` is false',
  );
});

test.each<[string, Rows, object, string]>([
  ['no column of texts', [{ id: '1', body: 'a' }], {}, 'the data have no column `text`'],
  ['a column that is missing', [{ id: '1', text: 'a' }], { label: 'stars' }, 'the data have no column `stars`'],
  ['no rows', [], {}, 'the data have no rows'],
  ['a column that check writes', [{ id: '1', text: 'a', problems: 'none' }], {}, 'the data have a column `problems`'],
])('error: %s', async (_, rows, options, message) => {
  await expect(checked(rows, options)).rejects.toThrow(message);
});

test('the figures of limits are known', () => {
  const limits = { near_duplicate: '<= 0', 'missing.price': '<= 0' };
  expect(definition.check!({ limits } as never)).toMatchObject([
    { option: 'limits.near_duplicate', message: 'check has no figure `near_duplicate`', hint: expect.stringContaining('near_duplicates') },
  ]);
});

test('columns of the data may have any name, and words and tags count as texts and labels', async () => {
  const folder =
    await made(`SELECT i::VARCHAR AS id, ['word', 'w' || i] AS tokens, ['O', CASE WHEN i < 3 THEN 'PER' ELSE 'LOC' END] AS tags,
    CASE WHEN i < 8 THEN 'train' ELSE 'test' END AS split, i AS "row", 'x' AS hash, 'y' AS content, i AS "rows", 'z' AS label_of FROM range(10) t(i)`);
  const { figures, report, found } = await checkedFolder(folder, { max_length: 1, labels: ['O', 'PER'] });
  expect(report).toMatchObject({ text: ['tokens'], label: 'tags' });
  expect(report.checks.labels.counts).toEqual({ O: 10, LOC: 7, PER: 3 });
  expect(figures).toMatchObject({ too_long: 1, unexpected_label: 0.7, label_not_in_train: 0, label_in_text: null, label_errors: null });
  expect(found.get('9').problems).toEqual(['unexpected_label', 'too_long']);
});

test('a number is no label, and NaN is missing', async () => {
  const folder = await made(
    `SELECT i::VARCHAR AS id, 'text ' || (i * 7919) AS text, CASE WHEN i = 3 THEN 'nan'::DOUBLE ELSE i / 7 END AS label FROM range(10) t(i)`,
  );
  const { figures, report } = await checkedFolder(folder, { label_errors: true });
  expect(figures).toMatchObject({ missing: 0.1, 'missing.label': 0.1, 'label_balance.ratio': null, label_errors: null });
  expect(report.undefined.label_errors).toBe('the column `label` contains numbers (DOUBLE)');
});

test('a list without labels is a value, which contradicts other labels of the same text', async () => {
  const rows = [
    ['a', 'a text with labels', "['toxic']", 'train'],
    ['b', 'a text without labels', '[]', 'train'],
    ['c', 'a text with labels', '[]', 'train'],
    ['d', 'one more text', 'NULL', 'train'],
  ].map(([id, text, label, split]) => `('${id}', '${text}', ${label}::VARCHAR[], '${split}')`);
  const { figures } = await checkedFolder(await made(`SELECT * FROM (VALUES ${rows.join(', ')}) AS t(id, text, label, split)`));
  expect(figures).toMatchObject({ missing: 0.25, 'missing.label': 0.25, 'duplicates.conflicting': 0.5 });
});

test('the schema: a missing column, another type, and ids that are not unique', async () => {
  const folder = await made("SELECT 'a' AS id, i::VARCHAR || ' stars' AS text, i AS stars FROM range(3) t(i)");
  const columns = { text: 'text', stars: 'text', price: 'number', id: 'any' };
  const { figures, report, found } = await checkedFolder(folder, { columns });
  expect(figures.schema).toBe(3);
  expect(report.checks.schema.differences).toEqual([
    { column: 'stars', expected: 'text', found: 'BIGINT' },
    { column: 'price', expected: 'number', found: null },
    { column: 'id', expected: 'unique', found: '2 of 3 rows have the id of another row, or none' },
  ]);
  expect(found.get('a').problems).toEqual(['schema']);
});

test('lengths in tokens of a model, of texts and of text pairs', async () => {
  const inputs = { model: smallModel({ max_position_embeddings: 16 }) };
  const one = await checkedFolder(await made("SELECT 'a' AS id, 'one two three four five' AS text"), {}, inputs);
  expect(one.report.checks.lengths).toMatchObject({ unit: 'tokens', max_length: 16 });
  const pair = await checkedFolder(
    await made("SELECT 'a' AS id, 'one two' AS text, 'three four five' AS text_pair"),
    { max_length: 5 },
    inputs,
  );
  // Both texts and one more separator.
  expect(pair.report.checks.lengths.all.max).toBe(one.report.checks.lengths.all.max + 1);
  expect(pair.figures.too_long).toBe(1);
});
