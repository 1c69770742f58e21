/** Slices of words that are stored as lists, as token-classification has them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SliceDefinition } from '../../../steps/evaluate/slice-options.ts';
import { rowsOfSlices } from '../../../steps/evaluate/slice-rows.ts';
import { Database } from '../../../steps/ml/data/database.ts';

let database: Database;
beforeAll(async () => {
  database = await Database.open();
  await database.run(
    "CREATE TABLE tagged AS SELECT * FROM (VALUES (['Zoë', 'in', 'New', 'York']), (['New', 'year']), (NULL), (['York'])) AS t (tokens)",
  );
});
afterAll(() => database.close());

const rowsIn = async (definition: SliceDefinition) => {
  const columns = await database.columns('tagged');
  const predictions = { database, table: 'tagged', columns, withData: true, text: 'tokens', tokens: async () => new Float64Array() };
  const { slices } = await rowsOfSlices(predictions, 'own', definition);
  return Object.fromEntries(slices.map(({ name, rows }) => [name, [...rows]]));
};

test('the slice of empty texts has a name', async () => {
  await database.run("CREATE TABLE grouped AS SELECT * FROM (VALUES ('a'), (''), (NULL)) AS t (own)");
  const columns = await database.columns('grouped');
  const predictions = { database, table: 'grouped', columns, withData: true, text: 'own', tokens: async () => new Float64Array() };
  const { slices } = await rowsOfSlices(predictions, 'own', { column: 'own' });
  expect(slices.map(({ name, rows }) => [name, [...rows]]).sort()).toEqual([
    ['(empty)', [1]],
    ['(missing)', [2]],
    ['a', [0]],
  ]);
});

test('the words are joined by spaces: terms of several words, and lengths', async () => {
  expect(await rowsIn({ terms: { city: ['new york'], zoe: ['zoë'] } })).toEqual({
    city: [0],
    zoe: [0],
    '(none)': [1, 3],
    '(missing)': [2],
  });
  expect(await rowsIn({ length: 'tokens', edges: [5] })).toEqual({
    '< 5 characters': [3],
    '≥ 5 characters': [0, 1],
    '(missing)': [2],
  });
  expect(await rowsIn({ length: 'tokens', unit: 'words', edges: [3] })).toMatchObject({ '< 3 words': [1, 3], '≥ 3 words': [0] });
});
