/** Discovered slices: real differences come first, and differences by chance do not come at all. */
import { expect, test } from 'vitest';
import { agreesWithLabel, discoverIn, discoverSlices } from '../../../steps/evaluate/discover.ts';
import { Database } from '../../../steps/ml/data/database.ts';
import { random } from '../../../steps/ml/models/random.ts';

const OPTIONS = { min_rows: 20, max: 10, level: 0.95 };

/** Columns with random values. */
function columns(rows: number, seed: number, names = ['a', 'b', 'c', 'd', 'e', 'f']) {
  const uniform = random('discover', seed);
  return names.map((name) => ({
    name,
    values: ['0', '1', '2', '3', '4'],
    codes: Int32Array.from({ length: rows }, () => Math.floor(5 * uniform())),
  }));
}

test('the rows with a higher error are found, and small slices of chance do not come before them', () => {
  const rows = 3000;
  const given = columns(rows, 1);
  const uniform = random('errors', 1);
  const errors = Float64Array.from({ length: rows }, (_, i) =>
    uniform() < (given[0]!.codes[i] === 2 && given[3]!.codes[i] === 4 ? 0.6 : 0.1) ? 1 : 0,
  );
  const { tested, found } = discoverSlices(given, errors, OPTIONS);
  expect(tested).toBe(6 * 5 + 15 * 25);
  expect(found[0]!.where).toEqual({ a: '2', d: '4' });
  expect(found[0]!.rest).toBeCloseTo(0.1, 1);
  expect(found[0]!.low).toBeGreaterThan(0.2);
});

test('a slice that two columns say is listed once, by one column', () => {
  const rows = 1000;
  const [one, other] = columns(rows, 3, ['a', 'b']);
  other!.codes = one!.codes;
  const errors = Float64Array.from(one!.codes, (code, i) => (code === 1 && i % 2 === 0 ? 1 : 0));
  expect(discoverSlices([one!, other!], errors, OPTIONS).found.map(({ where }) => where)).toEqual([{ a: '1' }, { b: '1' }]);
});

test('noise gives no slice: at most one of twenty seeds', () => {
  const rows = 1000;
  const withSlices = Array.from({ length: 20 }, (_, seed) => {
    const uniform = random('errors', seed);
    const errors = Float64Array.from({ length: rows }, () => (uniform() < 0.2 ? 1 : 0));
    return discoverSlices(columns(rows, seed), errors, OPTIONS).found.length > 0;
  });
  expect(withSlices.filter(Boolean).length).toBeLessThanOrEqual(1);
});

test('losses are compared by their means', () => {
  const rows = 1000;
  const [one] = columns(rows, 5, ['a']);
  const uniform = random('losses', 5);
  const losses = Float64Array.from(one!.codes, (code) => uniform() * (code === 3 ? 4 : 1));
  const { found } = discoverSlices([one!], losses, OPTIONS);
  expect(found.map(({ where }) => where)).toEqual([{ a: '3' }]);
  expect(found[0]!.error).toBeGreaterThan(1.7);
});

/** Predictions with the columns of a query. */
async function withPredictions<T>(sql: string, use: (predictions: Parameters<typeof discoverIn>[0]) => Promise<T>): Promise<T> {
  const database = await Database.open();
  try {
    await database.run(`CREATE TABLE made AS ${sql}`);
    const columns = await database.columns('made');
    return await use({ database, table: 'made', columns, withData: true, text: 'text', tokens: async () => new Float64Array() });
  } finally {
    database.close();
  }
}

test('NaN is a missing value, of few numbers and of many', async () => {
  // Rows without a number are wrong.
  const sql = `SELECT CASE WHEN i % 4 = 0 THEN 'nan'::DOUBLE ELSE i END AS many, CASE WHEN i % 4 = 0 THEN 'nan'::FLOAT ELSE i % 3 END AS few,
    i % 4 > 0 AS correct FROM range(400) r(i)`;
  for (const name of ['many', 'few']) {
    const { slices } = await withPredictions(sql, (predictions) => discoverIn(predictions, { columns: [name] }, []));
    expect(slices.map(({ where, rows }) => [where, rows])).toEqual([[{ [name]: '(missing)' }, 100]]);
  }
});

test('rows without a loss are left out, and counted', async () => {
  const sql = `SELECT CASE WHEN i < 200 THEN 'a' ELSE 'b' END AS source,
    CASE WHEN i % 4 = 0 THEN NULL WHEN i % 4 = 1 THEN 'nan'::DOUBLE ELSE CASE WHEN i < 200 THEN 3 ELSE 1 END + i % 3 END AS loss FROM range(400) r(i)`;
  const { slices, without_error } = await withPredictions(sql, (predictions) => discoverIn(predictions, {}, ['source']));
  expect(without_error).toBe(200);
  expect(slices).toMatchObject([{ where: { source: 'a' }, rows: 100, error: expect.closeTo(4, 1), rest: expect.closeTo(2, 1) }]);
});

test('a column agrees with the label: texts, numbers and lists', async () => {
  const sql = "SELECT * FROM (VALUES ('a', 'a', 'a'), ('b', 'b', 'a')) t (label, same, other)";
  const agree = (query: string, names: string[]) =>
    withPredictions(query, (predictions) => Promise.all(names.map((name) => agreesWithLabel(predictions, name))));
  expect(await agree(sql, ['same', 'other'])).toEqual([true, false]);
  const numbers = "SELECT * FROM (VALUES (1.0::DOUBLE, 1, '1', ['1']), (2.0, 2, '3', ['2'])) t (label, same, other, list)";
  expect(await agree(numbers, ['same', 'other', 'list'])).toEqual([true, false, false]);
  const sets = "SELECT * FROM (VALUES (['a', 'b'], ['b', 'a'], 1)) t (label, same, other)";
  expect(await agree(sets, ['same', 'other'])).toEqual([true, false]);
});
