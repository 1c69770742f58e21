import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { placeGroups, sizesOf } from '../../../steps/split/shares.ts';
import definition from '../../../steps/split/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { count, keepsPrevious, ran, rows, splitOf, staysPut, THIRDS } from './changes.ts';

test('exact shares in every stratum, whatever the order of the rows; another seed gives another split', async () => {
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

test('stable, by group: no row ever moves, whatever is added, removed or reordered', () =>
  staysPut({ group: ['label', 'text'] }, [60, 200, 90, 31]));

test('stable: shares deviate like a binomial, and an empty split is a warning', async () => {
  const options = { assign: 'stable', ratios: [0.7, 0.1, 0.2] };
  const split = await splitOf(rows(4000), options);
  for (const [i, name] of ['train', 'validation', 'test'].entries()) {
    const share = options.ratios[i]!;
    expect(Math.abs(count(split, name) - 4000 * share)).toBeLessThan(4 * Math.sqrt(4000 * share * (1 - share)));
  }
  const { warnings } = await ran(rows(1), options);
  expect(warnings).toHaveLength(2);
  for (const warning of warnings) expect(warning).toMatch(/^no row is in \w+: `assign: stable` gives exact shares only on average/);
  expect(definition.check!({ ratios: [0.8, 0.2], assign: 'stable', stratify: 'label' } as any)).toMatchObject([{ option: 'stratify' }]);
});

test('previous: earlier rows keep their split through growth, shrinking and reordering, and new ones fill up the shares', () =>
  keepsPrevious([60, 200, 700, 12]));

test('previous may be the data of a split, a CSV of ids, or JSON lines with the content', async () => {
  const first = await ran(rows(60), THIRDS);
  const folder = temporary();
  const csv = join(folder, 'former.csv');
  writeFileSync(csv, ['split,id', ...[...first.splits].map(([id, split]) => `${split},${id}`)].join('\n'));
  const jsonl = join(folder, 'former.jsonl');
  const lines = rows(60).map(({ id, text }) => JSON.stringify({ text, split: first.splits.get(id) }));
  writeFileSync(jsonl, lines.join('\n'));
  for (const previous of [first.assignment, first.data, join(first.data, 'data.parquet'), csv, jsonl]) {
    const later = await splitOf(rows(200), { ...THIRDS, seed: 99 }, previous);
    for (const [id, split] of first.splits) expect(later.get(id), previous).toBe(split);
    expect(count(later, 'train')).toBe(160);
  }
});

test('an unusable previous split is rejected', async () => {
  const folder = temporary();
  const fails = async (text: string, options: object = THIRDS) => {
    const file = join(folder, 'previous');
    writeFileSync(file, text);
    return splitOf(rows(60), options, file).then(
      () => 'no error',
      (error) => error.message,
    );
  };
  expect(await fails('id,split\nr1,train\nr2,dev\n')).toBe(
    'previous has 1 row in the split "dev": row 2, but `ratios` defines train, validation, test',
  );
  expect(await fails('id,split\nr1,train\nelsewhere,\nr3,\n')).toBe(
    'previous has 2 rows in the split null, first in row 2, but `ratios` defines train, validation, test',
  );
  expect(await fails('id,part\nr1,train\n')).toBe('previous: previous has no column `split`');
  expect(await fails('name,split\nr1,train\n')).toBe('previous has none of the columns that identify rows: `unit`, `text`, or `id`');
  expect(await fails('text,split\ntext number 2,test\ntext number 1,train\ntext number 1,test\n')).toBe(
    'previous assigns 1 content or group to more than one split: row 2 (train) and row 3 (test)',
  );
  expect(await fails('text,split\na,train\nb,test\na,train\nb,train\na,test\n')).toBe(
    'previous assigns 2 contents or groups to more than one split, for example row 1 (train) and row 5 (test)',
  );
  expect(await fails('{"id": "r1", ')).toMatch(/^previous: previous cannot be read: /);
});

/** Rows of groups with these sizes. */
const grouped = (sizes: number[]) =>
  sizes.flatMap((size, g) => rows(size, 1000 * g).map((row) => ({ ...row, customer: `c${String(g).padStart(2, '0')}` })));

const BY_CUSTOMER = { ratios: [0.8, 0.1, 0.1], group: 'customer', seed: 1 };

test('12 groups of 4 to 48 rows come as near to the shares as any assignment does, and stay whole', async () => {
  const sizes = Array.from({ length: 12 }, (_, i) => 4 * (i + 1));
  const data = grouped(sizes);
  const { splits, warnings } = await ran(data, BY_CUSTOMER);
  for (const g of new Set(data.map(({ customer }) => customer)))
    expect(new Set(data.filter(({ customer }) => customer === g).map(({ id }) => splits.get(id))).size).toBe(1);
  // 312 rows: 250, 31 and 31; all sizes are multiples of four.
  expect(['train', 'validation', 'test'].map((name) => count(splits, name))).toEqual([248, 32, 32]);
  expect(warnings).toEqual([]);
});

test('one group of 90 and twelve of 1: the large one is train, and the warning gives the reason', async () => {
  const { splits, warnings } = await ran(grouped([90, ...Array(12).fill(1)]), BY_CUSTOMER);
  expect(['train', 'validation', 'test'].map((name) => count(splits, name))).toEqual([90, 6, 6]);
  expect(warnings).toEqual([
    'train has 90 rows instead of 82, validation has 6 rows instead of 10, test has 6 rows instead of 10: rows of one customer stay together, up to 90 of them',
  ]);
});

test.each([
  [3, [100, 100, 100]],
  [4, [5, 1, 1, 1]],
  [3, [1, 1, 998]],
])('no split is empty if there are enough groups: %i of %j rows', async (_, sizes) => {
  const { splits } = await ran(grouped(sizes), BY_CUSTOMER);
  for (const name of ['train', 'validation', 'test']) expect(count(splits, name)).toBeGreaterThan(0);
});

test('every split has its share of groups and of single rows', async () => {
  const data = grouped([...Array(100).fill(3), ...Array(700).fill(1)]);
  const { splits, warnings } = await ran(data, BY_CUSTOMER);
  const sizes = new Map<string, number>();
  for (const { customer } of data) sizes.set(customer, (sizes.get(customer) ?? 0) + 1);
  const inGroups = (name: string) => data.filter(({ id, customer }) => splits.get(id) === name && sizes.get(customer) === 3).length;
  expect(['train', 'validation', 'test'].map((name) => count(splits, name))).toEqual([800, 100, 100]);
  expect(['train', 'validation', 'test'].map(inGroups)).toEqual([240, 30, 30]);
  expect(warnings).toEqual([]);
});

test('the rows of groups come near to the best of all assignments', () => {
  let state = 5;
  const random = (n: number) => {
    state = (state * 48271) % 2147483647;
    return state % n;
  };
  for (let trial = 0; trial < 60; trial++) {
    const sizes = Array.from({ length: 5 + random(4) }, () => 2 + random(40));
    const total = sizes.reduce((sum, size) => sum + size, 0);
    const targets = sizesOf(total, [0.7, 0.1, 0.2]);
    const placed = placeGroups(
      sizes.map((size) => new Map([['', size]])),
      new Map([['', { targets, taken: [0, 0, 0], singles: 0 }]]),
    );
    const distance = (of: number[]) => {
      const taken = [0, 0, 0];
      for (const [i, s] of of.entries()) taken[s]! += sizes[i]!;
      return taken.includes(0) ? Number.POSITIVE_INFINITY : Math.sqrt(taken.reduce((sum, rows, s) => sum + (rows - targets[s]!) ** 2, 0));
    };
    let nearest = Number.POSITIVE_INFINITY;
    for (let code = 0; code < 3 ** sizes.length; code++)
      nearest = Math.min(nearest, distance(sizes.map((_, i) => Math.floor(code / 3 ** i) % 3)));
    expect(distance(placed), `${sizes}`).toBeLessThanOrEqual(nearest + 0.05 * total);
  }
});

test('groups and labels: each label gets its shares as exactly as groups of mixed labels allow', async () => {
  const data = grouped(Array.from({ length: 60 }, (_, i) => 2 + (i % 9)));
  const { splits } = await ran(data, { ...BY_CUSTOMER, stratify: 'label' });
  for (const label of ['spam', 'ham']) {
    const of = data.filter((row) => row.label === label);
    const inTest = of.filter(({ id }) => splits.get(id) === 'test').length;
    expect(Math.abs(inTest - of.length * 0.1)).toBeLessThanOrEqual(2);
  }
});

test('equal contents in several groups are counted', async () => {
  const data = grouped([20, 20, 20, 20, 20]).map((row, i) => ({ ...row, text: `text ${i % 50}` }));
  const { warnings } = await ran(data, { ...BY_CUSTOMER, ratios: [0.6, 0.2, 0.2] });
  expect(warnings).toEqual([
    expect.stringMatching(
      /^\d+ rows have content that also occurs in another split, because it is in several groups: use `deduplicate` in clean$/,
    ),
  ]);
});

test('rows with equal text stay together, even if their labels differ', async () => {
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

test('unusable data are rejected', async () => {
  const fails = async (data: object[], options: object = THIRDS) =>
    splitOf(data, options).then(
      () => 'no error',
      (e) => [e.message, e.hint].join(' → '),
    );
  expect(await fails(rows(20).map((row) => ({ ...row, label: 'ham' })))).toBe(
    'every row has the same label: "ham" → A classifier needs at least two: check the data, or `select` in collect.',
  );
  expect(await fails(rows(20), { ...THIRDS, stratify: 'lable' })).toBe(
    'the data have no column `lable` → The columns are `id`, `text`, `label`. To make another, use `select` of collect: `select: { lable: … }`.',
  );
  expect(await fails([...rows(20), { id: 'x', text: 'x', label: 'odd' }])).toBe(
    'label "odd" has 1 row, too few for 3 splits → Rows with the same content count once, because they stay together. Merge rare labels, leave them out (`where` in collect), or remove `stratify`.',
  );
  expect(await fails([{ id: 'book', text: 'All of it.' }], { ratios: THIRDS.ratios })).toBe(
    'the data have 1 row, too few for 3 splits → Each text file is one row. To make a row of each line, set in collect `select: { text: "unnest(string_split(text, chr(10)))" }`.',
  );
  expect(await fails([])).toBe('the data are empty → ');
});
