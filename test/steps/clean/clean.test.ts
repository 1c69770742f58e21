import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import definition from '../../../steps/clean/step.ts';
import { cleanText } from '../../../steps/ml/data/cleaning.ts';
import { Database, type Row } from '../../../steps/ml/data/database.ts';
import { writeTable } from '../../../steps/ml/data/table.ts';
import { readRows } from '../../table.ts';
import { ranStep, table, temporary } from '../rig.ts';

interface Cleaned {
  rows: Row[];
  card: any;
  preprocessing: any;
  warnings: string[];
  folder: string;
}

async function cleaned(rows: object[] | string, options: object = {}): Promise<Cleaned> {
  const { outputs, warnings } = await ranStep(definition, options, { data: typeof rows === 'string' ? rows : await table(rows) });
  const folder = outputs.data!;
  const found: Row[] = [];
  for await (const chunk of readRows(folder, ['id', 'text', 'label'])) found.push(...chunk);
  const json = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  return { rows: found, card: json('card.json'), preprocessing: json('preprocessing.json'), warnings, folder };
}

const row = (id: string, text: string, label = 'ham') => ({ id, text, label });

test('cleans texts, and counts removals and changes', async () => {
  const { rows, card } = await cleaned([row('a', '<b>See</b> http://x.org  and me@x.org'), row('b', 'as it was')], {
    remove: ['html', 'urls', 'emails'],
    lowercase: true,
  });
  expect(rows).toEqual([row('a', 'see and'), row('b', 'as it was')]);
  expect(card).toMatchObject({ rows: 2, read: 2, changed: 1, removed: { html: 2, urls: 1, emails: 1 }, dropped: {} });
});

test('drops texts that are empty, too short, too long, or duplicates after cleaning', async () => {
  const { rows, card } = await cleaned(
    [row('a', 'Same  text'), row('b', 'same text'), row('c', '<p>'), row('d', 'abc'), row('e', 'x'.repeat(50)), row('f', 'other text')],
    { remove: ['html'], lowercase: true, deduplicate: 'text', min_length: 4, max_length: 20 },
  );
  expect(rows).toEqual([row('a', 'same text'), row('f', 'other text')]);
  expect(card.dropped).toEqual({ duplicate: 1, empty: 1, 'too long': 1, 'too short': 1 });
});

test('among equal texts with different labels the first by id is kept, and the others are counted', async () => {
  const rows = [row('b', 'x', 'spam'), row('a', 'x', 'ham'), row('c', 'x', 'ham'), row('d', 'y', 'spam')];
  const one = await cleaned(rows, { deduplicate: 'text' });
  expect(one.rows).toEqual([row('a', 'x', 'ham'), row('d', 'y', 'spam')]);
  expect(one.card).toMatchObject({ conflicting: 1, dropped: { duplicate: 2 } });
  expect(one.warnings).toEqual(['1 dropped duplicate had another `label` than the row that was kept, which is the first by id']);
  const both = await cleaned(rows, { deduplicate: ['text', 'label'] });
  expect(both.rows.map(({ id }) => id)).toEqual(['a', 'b', 'd']);
});

test('the recorded options of the cleaning function give the same result for raw text', async () => {
  const raw = [row('a', 'A&amp;B <i>ﬁ</i> 1,000 $ — x_y!'), row('b', 'É\u0301 \u200b?')];
  const { rows, preprocessing } = await cleaned(raw, { remove: ['special_characters', 'html', 'numbers'], normalize: 'NFKC' });
  const clean = {
    remove: ['html', 'special_characters', 'numbers'],
    keep_characters: '.,:;!?\'"()-',
    lowercase: false,
    whitespace: 'collapse',
    normalize: 'NFKC',
  };
  expect(preprocessing).toEqual({ version: 2, steps: [{ clean, columns: ['text'] }] });
  expect(rows.map(({ text }) => text)).toEqual(raw.map(({ text }) => cleanText(text, preprocessing.steps[0].clean)));
});

test('cleaning again with the same options changes nothing; with others, both are recorded in their order', async () => {
  const once = await cleaned([row('a', 'A  b'), row('b', 'c')], { lowercase: true });
  const twice = await cleaned(once.folder, { lowercase: true });
  expect(readFileSync(join(twice.folder, 'data.parquet')).equals(readFileSync(join(once.folder, 'data.parquet')))).toBe(true);
  const other = await cleaned(once.folder, { remove: ['numbers'] });
  expect(other.preprocessing.steps.map(({ clean, columns }: any) => [clean.lowercase, clean.remove, columns])).toEqual([
    [true, [], ['text']],
    [false, ['numbers'], ['text']],
  ]);
});

test('texts that cannot be cleaned are an error', async () => {
  const fails = (rows: object[], options: object) =>
    cleaned(rows, options).then(
      () => 'no error',
      ({ name, message }) => `${name}: ${message}`,
    );
  expect(await fails([row('a', 'x')], { columns: ['body'] })).toBe('StepError: the data have no column `body`');
  expect(await fails([row('a', 'x')], { deduplicate: ['text', 'body'] })).toBe('StepError: the data have no column `body`');
  expect(await fails([row('a', ' '), row('b', 'x')], { min_length: 2 })).toBe('StepError: all 2 rows were dropped: 1 empty, 1 too short');
  expect(await fails([row('a', 'x')], { columns: ['id'] })).toBe('StepError: the column `id` identifies rows and cannot be cleaned');
});

test('options without effect are rejected', () => {
  const problems = (options: object) =>
    definition.check!({ remove: [], deduplicate: false, min_length: 1, ...options } as never).map(({ option }) => option);
  expect(problems({})).toEqual([]);
  expect(problems({ keep_characters: '!' })).toEqual(['keep_characters']);
  expect(problems({ label: 'label' })).toEqual(['label']);
  expect(problems({ min_length: 5, max_length: 4 })).toEqual(['max_length']);
});

test('a table keeps everything but its texts', async () => {
  const { folder } = await cleaned([{ ...row('a', 'x'), n: 1, reason: 'r', same: 's' }]);
  for await (const rows of readRows(folder, ['id', 'text', 'label', 'n', 'reason', 'same']))
    expect(rows).toEqual([{ ...row('a', 'x'), n: '1', reason: 'r', same: 's' }]);
  expect(existsSync(join(folder, 'rejected.jsonl'))).toBe(false);
});

test('labels are trimmed, converted to one case, mapped and dropped, with counts', async () => {
  const given = ['Spam', 'spam ', '\u00a0SPAM\t', 'spm', 'ham', '?', 'n/a', 'HAM', ' ham\n'].map((label, i) =>
    row(`r${i}`, `text ${i}`, label),
  );
  const { rows, card, warnings } = await cleaned(given, {
    labels: { trim: true, case: 'lower', map: { spm: 'spam', eggs: 'ham' }, drop: ['?', 'n/a', 'none'] },
  });
  expect(rows.map(({ label }) => label)).toEqual(['spam', 'spam', 'spam', 'spam', 'ham', 'ham', 'ham']);
  expect(card).toMatchObject({
    rows: 7,
    read: 9,
    labels: { spam: 4, ham: 3 },
    labels_changed: 6,
    dropped: { 'label "?"': 1, 'label "n/a"': 1 },
  });
  expect(warnings).toEqual(['`labels` contains "eggs", but no row has that label', '`labels` contains "none", but no row has that label']);
  expect((await cleaned(given)).rows.map(({ label }) => label).sort()).toEqual(given.map(({ label }) => label).sort());
});

test('labels that are numbers, and labels in lists', async () => {
  const data = await madeTable("SELECT 'a' AS id, 'x' AS text, 1 AS label UNION ALL SELECT 'b', 'y', 0 UNION ALL SELECT 'c', 'z', NULL");
  expect((await cleaned(data, { labels: { map: { 0: 'ham', 1: 'spam' } } })).rows.map(({ label }) => label)).toEqual(['spam', 'ham', null]);
  const lists = await madeTable(
    "SELECT 'a' AS id, 'x' AS text, ['A ', 'b'] AS label UNION ALL SELECT 'b', 'y', ['?', 'b'] UNION ALL SELECT 'c', 'z', []",
  );
  const { rows, card } = await cleaned(lists, { labels: { trim: true, map: { A: 'a' }, drop: ['?'] } });
  expect(rows.map(({ label }) => label)).toEqual([['a', 'b'], []]);
  expect(card.dropped).toEqual({ 'label "?"': 1 });
});

async function madeTable(sql: string): Promise<string> {
  const folder = temporary();
  const database = await Database.open();
  await writeTable(database, `(${sql})`, folder);
  database.close();
  return folder;
}
