/** Database queries as inputs, with the real CLI. */
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { project } from '../rig.ts';
import { collected } from '../steps/collect/files.ts';
import { readRows } from '../table.ts';

const PIPELINE = `
name: p
steps:
  collect:
    uses: collect
    with: { sql: { url: "sqlite:data/shop.db", query: "SELECT body AS text, label, stars, price, raw FROM reviews" } }
`;

/** A project with a SQLite file of reviews, and a function that changes it. */
function shop() {
  const p = project({ 'p.yaml': PIPELINE, 'data/readme.txt': '' });
  const change = (sql: string) => {
    const database = new Database(p.path('data/shop.db'));
    database.exec(sql);
    database.close();
  };
  change(`CREATE TABLE reviews (body TEXT, label TEXT, stars INTEGER, price REAL, raw BLOB, inserted INTEGER);
    INSERT INTO reviews VALUES ('\ufeffgood', '1.10', 9007199254740993, 1.0, x'c3a9', 1), ('a' || char(10) || '"b"', '1.1', NULL, 2.5, 'x', 2), ('', NULL, 7, 1e-05, NULL, 3);`);
  return { p, change };
}

test('the rows of a query are the data, unchanged; only a change of the rows runs it again', async () => {
  const { p, change } = shop();
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'failed' });
  p.write('p.yaml', PIPELINE.replace('raw FROM reviews', 'raw FROM reviews WHERE label IS NOT NULL'));
  const first = await p.states('p.yaml');
  expect(first.cells).toEqual({ collect: 'ran' });
  const rows = [];
  for await (const chunk of readRows(p.path('.tunesmith/outputs/p/collect/data'), ['text', 'label', 'stars', 'price', 'raw']))
    rows.push(...chunk);
  expect(rows.sort((a, b) => String(a.label).localeCompare(String(b.label)))).toEqual([
    { text: 'a\n"b"', label: '1.1', stars: null, price: 2.5, raw: 'x' },
    { text: '\ufeffgood', label: '1.10', stars: '9007199254740993', price: 1, raw: 'é' },
  ]);
  change('UPDATE reviews SET inserted = 9; VACUUM; CREATE TABLE other (x)');
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'fresh' });
  change("DELETE FROM reviews WHERE label = '1.1'; INSERT INTO reviews VALUES ('a' || char(10) || '\"b\"', '1.1', NULL, 2.5, 'x', 10)");
  expect((await p.states('p.yaml')).cells).toEqual({ collect: 'fresh' });
  change("UPDATE reviews SET label = '1.2' WHERE label = '1.1'");
  expect((await p.run('status', 'p.yaml')).stdout).toContain('collect');
  expect((await p.run('run', 'p.yaml', '--plain')).screen).toContain('collect: 2 rows from the database\n');
});

test.each([
  [
    '{ url: "postgres://me:s3cret@db/x", query: SELECT 1 }',
    'the URL of the database on db contains a password, which must not be in a pipeline',
  ],
  ['{ url: "postgres://db/x?password=s3cret", query: SELECT 1 }', 'contains a password'],
  ['{ url: "mysql://db/x", query: SELECT 1 }', 'databases of this type are not supported'],
  ['{ url: "sqlite:shop.db", query: " " }', 'the query is empty'],
  ['{ url: "sqlite:shop.db" }', 'takes a database query'],
  ['{ url: "sqlite:shop.db", query: SELECT 1, limit: 5 }', 'a query has no "limit"'],
  ['data.db', 'takes a database query'],
])('an invalid query is found before the run: %s', async (sql, message) => {
  const p = project({ 'p.yaml': `name: p\nsteps:\n  collect: { uses: collect, with: { sql: ${sql} } }\n` });
  const { code, stderr, stdout } = await p.run('validate', 'p.yaml');
  expect(code).toBe(2);
  expect(stderr + stdout).toContain(message);
});

test('errors of a query are reported with the query', async () => {
  const { p } = shop();
  const failing = async (query: string, url = 'sqlite:data/shop.db') => {
    p.write('q.yaml', `name: q\nsteps:\n  collect: { uses: collect, with: { sql: { url: "${url}", query: "${query}" } } }\n`);
    return (await p.run('run', 'q.yaml', '--plain')).screen;
  };
  expect(await failing('SELECT nowhere FROM reviews')).toContain(
    'sqlite:data/shop.db SELECT nowhere FROM reviews: no such column: nowhere',
  );
  expect(await failing('DELETE FROM reviews')).toContain('returns no rows');
  expect(await failing('SELECT 1', 'sqlite:none.db')).toContain('sqlite:none.db does not exist');
});

test('the rows of a query have no order, and the table does not depend on it', async () => {
  const lines = ['{"text":"b","label":"1"}', '{"text":"a","label":"2"}'];
  const [one, other] = [await collected({ 'a.jsonl': lines.join('\n') }), await collected({ 'a.jsonl': lines.toReversed().join('\n') })];
  expect(one.rows).toEqual(other.rows);
});
