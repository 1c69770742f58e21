import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import definition from '../../../steps/split/step.ts';
import { readRows } from '../../table.ts';
import { ranStep, table } from '../rig.ts';

const rows = (n: number, from = 0) =>
  Array.from({ length: n }, (_, i) => ({
    id: `r${from + i}`,
    text: `text number ${from + i}`,
    label: (from + i) % 5 === 0 ? 'spam' : 'ham',
  }));

const THIRDS = { ratios: [0.8, 0.1, 0.1], stratify: 'label', seed: 7 };

async function splitOf(data: object[], options: object = THIRDS): Promise<Map<string, string>> {
  const { outputs } = await ranStep(definition, options, { data: await table(data) });
  const found = new Map<string, string>();
  for await (const chunk of readRows(outputs.data!, ['id', 'split'])) for (const row of chunk) found.set(String(row.id), String(row.split));
  return found;
}

const count = (splits: Map<string, string>, split: string) => [...splits.values()].filter((s) => s === split).length;

test('exact shares in every stratum, whatever the order of the rows; another seed, another split', async () => {
  const data = rows(500);
  const split = await splitOf(data);
  for (const [label, n] of [
    ['spam', 100],
    ['ham', 400],
  ] as const) {
    const of = new Map([...split].filter(([id]) => data.find((row) => row.id === id)!.label === label));
    expect(['train', 'validation', 'test'].map((s) => count(of, s))).toEqual([n * 0.8, n * 0.1, n * 0.1]);
  }
  expect(await splitOf(data.toReversed())).toEqual(split);
  expect(await splitOf(data, { ...THIRDS, seed: 8 })).not.toEqual(split);
});

test('as data are added, no old test row becomes a training row', async () => {
  const before = await splitOf(rows(500));
  const after = await splitOf(rows(1000));
  for (const [id, split] of before) if (split === 'test') expect(after.get(id)).not.toBe('train');
});

test('rows of equal text stay together, also where their labels differ', async () => {
  const twins = rows(200).flatMap((row) => [row, { ...row, id: `${row.id}-2`, label: 'ham' }]);
  const split = await splitOf(twins);
  for (const { id } of rows(200)) expect(split.get(`${id}-2`)).toBe(split.get(id));
});

test('two ratios are train and test; the card counts by split and label', async () => {
  const { outputs } = await ranStep(definition, { ratios: [0.75, 0.25], seed: 1 }, { data: await table(rows(40)) });
  const card = JSON.parse(readFileSync(join(outputs.data!, 'card.json'), 'utf8'));
  expect(Object.keys(card.splits)).toEqual(['train', 'test']);
  expect([card.splits.train.rows, card.splits.test.rows]).toEqual([30, 10]);
});

test('what cannot be split is said', async () => {
  const fails = async (data: object[], options: object = THIRDS) =>
    splitOf(data, options).then(
      () => 'no error',
      (e) => [e.message, e.hint].join(' → '),
    );
  expect(await fails(rows(20).map((row) => ({ ...row, label: 'ham' })))).toBe(
    'every row has the same label: "ham" → There is nothing to tell apart: check the data, or `select` in collect.',
  );
  expect(await fails(rows(20), { ...THIRDS, stratify: 'lable' })).toBe(
    "the data have no column `lable` → The columns are `id`, `text`, `label`. collect's `select` makes others: `select: { lable: … }`.",
  );
  expect(await fails([...rows(20), { id: 'x', text: 'x', label: 'odd' }])).toBe(
    'label "odd" has 1 row, too few for 3 splits → Rows with the same content count once, since they stay together.',
  );
  expect(await fails([{ id: 'book', text: 'All of it.' }], { ratios: THIRDS.ratios })).toBe(
    'the data have 1 row, too few for 3 splits → A text file is a row of its own. To make a row of each line, set in collect `select: { text: "unnest(string_split(text, chr(10)))" }`.',
  );
  expect(await fails([])).toBe('the data are empty → ');
});
