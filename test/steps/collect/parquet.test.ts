/** What Parquet files contain besides plain columns: label names as Python's `datasets` writes them, bytes, NaN. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database } from '../../../steps/ml/data/database.ts';
import { literal } from '../../../steps/ml/data/sql.ts';
import { temporary } from '../rig.ts';
import { collected, failure, values } from './files.ts';

/** Written by class-labels/make.py. */
const stored = (name: string) => join(import.meta.dirname, 'class-labels', name);
const read = (name: string) => readFileSync(stored(name));

const NAMES = [
  ['bad', 'negative'],
  ['good', 'positive'],
  ['so so', 'so, so'],
];

test('ClassLabel: names become labels, from the metadata of Parquet; -1 is missing', async () => {
  const table = await collected({}, { max_rejected: 0.5 }, [stored('labels.parquet')]);
  expect(table.rows.map(({ text, label }) => [text, label]).sort()).toEqual(NAMES);
  expect(table.rejected.map((line) => line.replace(/^.*\//, ''))).toEqual(['labels.parquet:4 `label` is null']);
  expect(table.log[0]).toBe(
    'the numbers in `label` are class labels (ClassLabel) and are replaced with their names, such as "negative", "so, so", "positive"',
  );
});

test('ClassLabel: tags in lists, in objects and in lists of objects', async () => {
  const { rows } = await collected({}, {}, [stored('tags.parquet')]);
  expect(
    rows.map(({ ner_tags, meta, spans }) => ({ ner_tags, meta, spans })).sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b))),
  ).toEqual([
    { ner_tags: ['B-PER', 'I-PER', 'O'], meta: { kind: 'b', n: 5 }, spans: [{ type: 'y', start: 0 }] },
    { ner_tags: ['O'], meta: { kind: 'a', n: 6 }, spans: [] },
  ]);
});

test('ClassLabel: names from dataset_info.json and from the card, for files without any', async () => {
  for (const description of ['dataset_info.json', 'README.md', 'README-two.md']) {
    const name = description.replace('-two', '');
    const files = { [name]: read(description), 'data/labels.csv': read('labels.csv') };
    const table = await collected(files, { max_rejected: 0.5 });
    expect(table.rows.map(({ text, label }) => [text, label]).sort()).toEqual(NAMES);
  }
  expect(
    values(await collected({ 'README.md': read('README.md'), 'a.csv': read('labels.csv') }, { types: { label: 'text' } }), 'label').sort(),
  ).toEqual(['-1', '0', '1', '2']);
  expect(values(await collected({ 'README.md': '# no front matter\n', 'a.csv': 'text,label\na,1\n' }), 'label')).toEqual([1]);
  expect(values(await collected({ 'README.md': '# a text\n' }), 'text')).toEqual(['# a text\n']);
});

test('ClassLabel: a number without a name is rejected', async () => {
  expect(await failure({ 'README.md': read('README.md'), 'a.csv': 'text,label\na,7\n' })).toBe(
    'the label names do not fit the column `label`: a label is 7, and there are 3 names → Check whether the description belongs to other data.',
  );
});

async function parquet(sql: string): Promise<string> {
  const path = join(temporary(), 'a.parquet');
  const database = await Database.open();
  await database.run(`COPY (${sql}) TO ${literal(path)} (FORMAT parquet)`);
  database.close();
  return path;
}

test('bytes that are UTF-8 are texts; others are rejected if they are kept', async () => {
  const utf8 = await parquet(`SELECT encode('café') AS text, encode('é') AS label`);
  const table = await collected({}, {}, [utf8]);
  expect(table.rows.map(({ text, label }) => [text, label])).toEqual([['café', 'é']]);
  const others = await parquet(`SELECT 'a' AS text, 'caf\\xE9'::BLOB AS picture, [encode('é')] AS list`);
  await expect(collected({}, { select: { text: 'text', picture: 'picture' } }, [others])).rejects.toThrow(
    'the column `picture` contains bytes that are not UTF-8',
  );
  const bytes = await parquet(`SELECT * FROM (VALUES (encode('café')), ('caf\\xE9'::BLOB)) AS t(text)`);
  await expect(collected({}, {}, [bytes])).rejects.toThrow('the column `text` contains bytes that are not UTF-8');
  expect(values(await collected({}, { select: { text: 'text', size: 'octet_length(picture)' } }, [others]), 'size')).toEqual([4]);
});

test('NaN is a missing value, not a class', async () => {
  const path = await parquet(
    `SELECT * FROM (VALUES ('a', 1.5::DOUBLE, 0::FLOAT), ('b', 'nan'::DOUBLE, 'nan'::FLOAT)) AS t(text, label, other)`,
  );
  const table = await collected({}, { max_rejected: 0.5 }, [path]);
  expect(table.card.labels).toEqual({ '1.5': 1 });
  expect(table.log[0]).toBe('1 value of `label` is NaN and treated as missing');
  expect(table.rejected.map((line) => line.replace(/^.*\//, ''))).toEqual(['a.parquet:2 `label` is null']);
});

test('numbers that Parquet cannot store stay texts', async () => {
  const path = await parquet(`SELECT 'a' AS text, 1.10::DECIMAL(38, 2) AS price, 12345678901234567890123.5::DECIMAL(38, 1) AS big`);
  const table = await collected(
    {},
    { select: { text: 'text', label: 'price', big: 'big', huge: '170141183460469231731687303715884105727::HUGEINT' } },
    [path],
  );
  expect(Object.keys(table.card.labels)).toEqual(['1.10']);
  expect(table.rows[0]).toMatchObject({ big: '12345678901234567890123.5', huge: '170141183460469231731687303715884105727' });
});
