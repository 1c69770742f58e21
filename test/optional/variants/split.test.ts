/** Splits that stay the same through many changes of the data, and what an assignment records. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporary } from '../../steps/rig.ts';
import { keepsPrevious, ran, rows, staysPut } from '../../steps/split/changes.ts';

const SIZES = [60, 200, 660, 90, 700, 31, 400, 660, 12];

test.each([
  ['by content', {}],
  ['by group', { group: ['label', 'text'] }],
  ['by id, in two splits', { key: ['id'], ratios: [0.5, 0.5] }],
])('stable, %s: no row ever moves, through many changes', (_, options) => staysPut(options, SIZES));

test('previous: earlier rows keep their split through many changes', () => keepsPrevious(SIZES));

test('an assignment records the columns that identify its units, and other columns are rejected', async () => {
  const data = grouped([3, 3, 3, 3, 3, 3, 3, 3, 3, 3]).map((row, i) => ({
    ...row,
    customer: i === 0 ? null : row.customer,
    body: row.text,
  }));
  const byCustomer = { ratios: [0.8, 0.2], group: 'customer' };
  const first = await ran(data, byCustomer);
  expect(readFileSync(first.assignment, 'utf8')).toMatch(/^unit,split,unit_group,unit_key\n\w{32},\w+,customer,text\n/);
  await expect(ran(data, { ratios: [0.8, 0.2] }, first.assignment)).rejects.toThrow(
    'previous was made with `group` customer, and this split has no `group`: its rows cannot be identified',
  );
  await expect(ran(data, { ...byCustomer, group: ['customer', 'label'] }, first.assignment)).rejects.toThrow(
    'previous was made with `group` customer, and this split has `group` customer, label',
  );
  await expect(ran(data, { ...byCustomer, key: ['body'] }, first.assignment)).rejects.toThrow(
    'previous was made with `key` text, and this split has `key` body',
  );
  // If every row has a group, nothing depends on the content.
  const second = await ran(data.slice(1), { ...byCustomer, key: ['body'] }, first.assignment);
  expect(second.warnings.join()).not.toContain('previous');
  for (const [id, split] of second.splits) expect(split).toBe(first.splits.get(id));
  await expect(ran(data, { ...byCustomer, key: ['body'] }, second.assignment)).rejects.toThrow('previous was made with `key` text');
});

test('a warning counts the rows that previous does not know', async () => {
  const data = grouped(Array.from({ length: 10 }, () => 3)).map((row, i) => ({ ...row, customer: i === 0 ? null : row.customer }));
  const folder = temporary();
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const bare = (assignment: string, name: string) => file(name, readFileSync(assignment, 'utf8').replace(/^([^,\n]*,[^,\n]*),.*$/gm, '$1'));
  const by = { ratios: [0.8, 0.2] };
  const groups = await ran(data, { ...by, group: 'customer' });
  const contents = await ran(data, by);
  expect((await ran(data, by, bare(groups.assignment, 'groups'))).warnings).toContainEqual(
    expect.stringContaining('the data contain 1 of the 11 contents or groups of previous'),
  );
  expect((await ran(data, { ...by, group: 'customer' }, bare(contents.assignment, 'contents'))).warnings).toContainEqual(
    expect.stringContaining('previous identifies 29 rows by content, not by `customer` and `text`'),
  );
  const ids = file('ids', `id,split\n${data.map(({ id }, i) => `${i < 5 ? id : `x${i}`},train\n`).join('')}`);
  expect((await ran(data, by, ids)).warnings).toContainEqual(expect.stringContaining('the data contain 5 of the 30 ids of previous'));
  const changed = data.map((row, i) => (i < 4 ? { ...row, text: `${row.text}!` } : row));
  expect((await ran(changed, by, contents.data)).warnings).toContainEqual(
    expect.stringContaining('4 rows have an id of previous but another `text`'),
  );
  expect((await ran(data, by, contents.assignment)).warnings).toEqual([]);
});

/** Rows of groups with these sizes. */
const grouped = (sizes: number[]) =>
  sizes.flatMap((size, g) => rows(size, 1000 * g).map((row) => ({ ...row, customer: `c${String(g).padStart(2, '0')}` })));
