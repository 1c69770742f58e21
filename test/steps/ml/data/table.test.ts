import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Database, texts } from '../../../../steps/ml/data/database.ts';
import { requireColumn, tableOf, writeTable } from '../../../../steps/ml/data/table.ts';
import { describeTable, readRows } from '../../../table.ts';
import { temporary } from '../../rig.ts';

/** Writes 60,000 unordered rows, with a number of threads. */
async function many(threads: number): Promise<string> {
  const folder = temporary();
  const database = await Database.open(folder, threads);
  await database.run('CREATE TABLE made (text VARCHAR, id VARCHAR, label VARCHAR)');
  const made = await database.append('made', texts(3));
  for (let i = 0; i < 60_000; i++) {
    const n = (i * 7919) % 60_000;
    made.add(n % 11 === 0 ? null : `text ${'é'.repeat(n % 40)}${n}`, `row-${n}`, `label ${n % 3}`);
  }
  made.close();
  await writeTable(database, 'made', folder);
  database.close();
  return folder;
}

test('the same rows make the same bytes on any number of threads, ordered by the bytes of their ids', async () => {
  const [one, two, four] = [await many(1), await many(2), await many(4)];
  for (const name of ['data.parquet', 'card.json']) {
    const bytes = readFileSync(join(one, name));
    for (const other of [two, four]) expect(readFileSync(join(other, name)).equals(bytes)).toBe(true);
  }
  expect(readdirSync(one).sort()).toEqual(['card.json', 'data.parquet']);
  let last = '';
  let rows = 0;
  for await (const chunk of readRows<{ id: string }>(one, ['id'])) {
    for (const { id } of chunk) {
      expect(last < id).toBe(true);
      last = id;
    }
    rows += chunk.length;
    expect(chunk.length).toBeLessThanOrEqual(2048);
  }
  expect(rows).toBe(60_000);
});

test('a card describes the table', async () => {
  const folder = await many(2);
  expect(JSON.parse(readFileSync(join(folder, 'card.json'), 'utf8'))).toEqual({
    rows: 60_000,
    columns: ['id', 'text', 'label'].map((name) => ({ name, type: 'VARCHAR' })),
    dropped: {},
    labels: { 'label 0': 20_000, 'label 1': 20_000, 'label 2': 20_000 },
    lengths: { min: 7, median: 29, p95: 47, max: 49 },
  });
  expect(await describeTable(folder)).toEqual({
    rows: 60_000,
    columns: ['id', 'text', 'label'].map((name) => ({ name, type: 'VARCHAR' })),
  });
});

test('a card has the 1,000 most frequent labels, and counts rows without a label', async () => {
  const folder = temporary();
  const database = await Database.open(folder);
  await database.run(
    "CREATE TABLE made AS SELECT i::VARCHAR AS id, CASE WHEN i > 0 THEN 'l' || greatest(i, 3) END AS label FROM range(2000) t(i)",
  );
  const card = await writeTable(database, 'made', folder);
  database.close();
  expect([Object.keys(card.labels!).length, Object.entries(card.labels!)[0], card.unlabelled]).toEqual([1000, ['l3', 3], 1]);
});

test('values of any type come back as JSON', async () => {
  const folder = temporary();
  const database = await Database.open(folder);
  await database.run(`CREATE TABLE made AS SELECT 'a' AS id, 1::TINYINT AS small, 9007199254740993 AS big, 0.5 AS decimal, 'nan'::DOUBLE AS nan, true AS yes,
    DATE '2020-01-02' AS day, TIMESTAMP '2020-01-02 03:04:05' AS time, [1, NULL] AS list, {'a': {'b': 'c'}} AS object, NULL AS nothing, map {'k': 1} AS map`);
  await writeTable(database, 'made', folder);
  database.close();
  const columns = (await describeTable(folder)).columns.map(({ name }) => name);
  for await (const rows of readRows(folder, columns))
    expect(rows).toEqual([
      {
        id: 'a',
        small: 1,
        big: '9007199254740993',
        decimal: 0.5,
        nan: 'NaN',
        yes: true,
        day: '2020-01-02',
        time: '2020-01-02 03:04:05',
        list: [1, null],
        object: { a: { b: 'c' } },
        nothing: null,
        map: { k: 1 },
      },
    ]);
});

test('a missing column or table is reported, with the existing ones', async () => {
  const folder = await many(1);
  const { columns } = await describeTable(folder);
  expect(() => requireColumn(columns, 'body')).toThrow(
    expect.objectContaining({
      name: 'StepError',
      message: 'the data have no column `body`',
      hint: 'The columns are `id`, `text`, `label`. To make another, use `select` of collect: `select: { body: … }`.',
    }),
  );
  expect(() => tableOf(join(folder, 'none'))).toThrow('contains no data.parquet');
});

test('nothing is downloaded: extensions are bundled, or an error', async () => {
  const database = await Database.open();
  const loaded = await database.rows<{ name: string }>('SELECT extension_name AS name FROM duckdb_extensions() WHERE loaded');
  expect(loaded.map(({ name }) => name)).toEqual(expect.arrayContaining(['json', 'parquet', 'icu']));
  await expect(database.run("SELECT * FROM read_csv('https://example.invalid/a.csv')")).rejects.toThrow(/httpfs/);
  database.close();
});
