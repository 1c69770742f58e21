/** Augmentation adds swapped copies of training rows, and changes nothing else. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import step from '../../../steps/clean/step.ts';
import { Database, type Row } from '../../../steps/ml/data/database.ts';
import { tableOf } from '../../../steps/ml/data/table.ts';
import { ranStep, table } from '../rig.ts';

const ROWS = [
  { id: '1', text: 'He said so', label: 'a', split: 'train' },
  { id: '2', text: 'nobody said so', label: 'b', split: 'train' },
  { id: '3', text: 'she ran', label: 'b', split: 'train' },
  { id: '4', text: 'he stayed', label: 'a', split: 'validation' },
  { id: '5', text: 'he ran', label: 'b', split: 'test' },
];

const augment = { swap: { terms: [['he', 'she']] } };

async function cleaned(rows: object[], options: object = { augment }) {
  const ran = await ranStep(step, options, { data: await table(rows) });
  const database = await Database.open();
  try {
    const made = await database.rows<Row>(`SELECT * FROM ${tableOf(ran.outputs.data!)}`);
    return { ...ran, made, preprocessing: readFileSync(join(ran.outputs.data!, 'preprocessing.json'), 'utf8') };
  } finally {
    database.close();
  }
}

test('a copy of each training row with a term; a copy that the test split contains is left out', async () => {
  const { made, log, preprocessing, outputs } = await cleaned(ROWS);
  expect(made.filter(({ augmented_from }) => augmented_from !== null)).toEqual([
    { id: '1~swapped', text: 'She said so', label: 'a', split: 'train', augmented_from: '1' },
  ]);
  expect(made.filter(({ augmented_from }) => augmented_from === null)).toEqual(ROWS.map((row) => ({ ...row, augmented_from: null })));
  expect(log).toContain('2 of 3 training rows contain a term: 1 swapped copy was added');
  expect(log).toContain('1 copy was left out, because another split contains the same text');
  expect(JSON.parse(readFileSync(join(outputs.data!, 'card.json'), 'utf8'))).toMatchObject({ augmented: 1, rows: 6 });
  // What a model does with a text is the same as without augmentation.
  expect(preprocessing).toBe((await cleaned(ROWS, {})).preprocessing);
});

test('no term in any training row: a warning, and the rows as they are', async () => {
  const { made, warnings } = await cleaned(ROWS, { augment: { swap: { terms: [['king', 'queen']] } } });
  expect(made).toHaveLength(5);
  expect(warnings).toEqual(['`augment` adds nothing: no training row contains a term']);
});

test.each([
  [ROWS.map(({ split: _, ...row }) => row), 'have no column `split`'],
  [ROWS.filter(({ split }) => split !== 'train'), 'the split train has no rows'],
  [ROWS.map((row) => ({ ...row, augmented_from: 'x' })), 'already have a column `augmented_from`'],
  [[...ROWS, { id: '1~swapped', text: 'no', label: 'a', split: 'test' }], 'the data have the id 1~swapped'],
])('data that cannot be augmented are an error (%#)', async (rows, message) => {
  await expect(cleaned(rows)).rejects.toMatchObject({ message: expect.stringContaining(message), option: ['augment'] });
});
