/** Words, phrases and values of columns that give a label away: found in train, confirmed elsewhere, few per label. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import definition from '../../../steps/check/step.ts';
import { readRows } from '../../table.ts';
import { ranStep, table } from '../rig.ts';

type Row = Record<string, string | null>;

async function checked(rows: Row[], options: object = {}) {
  const data = await table(rows);
  const ran = await ranStep(definition, { label_errors: false, languages: false, near_duplicates: false, ...options }, { data });
  const report = JSON.parse(readFileSync(ran.outputs.report!, 'utf8'));
  const problems = new Map<string, any>();
  for await (const chunk of readRows(ran.outputs.rows!, ['id', 'problems', 'details']))
    for (const row of chunk) problems.set(String(row.id), row);
  return {
    report,
    figures: report.metrics,
    problems,
    phrases: report.checks.giveaways?.phrases,
    values: report.checks['giveaways.columns']?.values,
  };
}

/** The sentiment of most words is right in four of five texts. */
function reviews(count: number, change: (row: Row, i: number) => Row = (row) => row): Row[] {
  const words = { good: ['lovely', 'great', 'fine'], bad: ['awful', 'poor', 'sad'] };
  return Array.from({ length: count }, (_, i) => {
    const label = i % 2 === 0 ? 'good' : 'bad';
    const used = i % 5 === 0 ? words[label === 'good' ? 'bad' : 'good'] : words[label];
    const row = {
      id: `r-${i}`,
      text: `the film number ${i * 7919} was ${used[(i >> 1) % 3]} on day ${i * 104729}`,
      label,
      source: i % 3 === 0 ? 'web' : 'app',
      split: (i >> 1) % 4 === 3 ? 'test' : 'train',
    };
    return change(row, i);
  });
}

test('words of a sentiment give nothing away', async () => {
  const { figures, phrases, values, report } = await checked(reviews(400));
  expect([phrases, values]).toEqual([[], []]);
  expect(figures).toMatchObject({ giveaways: 0, 'giveaways.columns': 0 });
  expect(report.checks.giveaways).toMatchObject({ precision: 0.98, coverage: 0.05, confirmed_in: 'the other splits' });
});

test('a marker in some texts of a label, with its figures and rows', async () => {
  const marked = (i: number) => i % 2 === 1 && i % 10 < 3;
  const rows = reviews(400, (row, i) => (marked(i) ? { ...row, text: `[Ad] ${row.text}` } : row));
  const { figures, phrases, problems } = await checked(rows);
  expect(phrases).toEqual([
    {
      label: 'bad',
      text: '[ ad ]',
      train: { rows: expect.any(Number), right: expect.any(Number), precision: 1, coverage: expect.any(Number) },
      confirmed: expect.objectContaining({ precision: 1 }),
    },
  ]);
  const expected = rows.filter((_, i) => marked(i));
  expect(phrases[0].train.right + phrases[0].confirmed.right).toBe(expected.length);
  expect(phrases[0].train.coverage).toBeCloseTo(
    expected.filter(({ split }) => split === 'train').length /
      rows.filter(({ split, label }) => split === 'train' && label === 'bad').length,
    12,
  );
  expect(figures.giveaways).toBe(expected.length / rows.length);
  expect([...problems.keys()].sort()).toEqual(expected.map(({ id }) => id!).sort());
  expect(problems.get('r-1')).toMatchObject({
    problems: ['giveaway'],
    details: ['the text contains "[ ad ]", which gives its label away'],
  });
  await expect(checked(rows, { limits: { giveaways: '<= 0.01' } })).rejects.toThrow(/^the data miss 1 of 1 limits: giveaways is 0\.1, /);
  expect((await checked(rows, { giveaways: { coverage: 0.5 } })).phrases).toEqual([]);
  // Only in train, it is a matter of chance.
  const once = reviews(400, (row, i) => (marked(i) && row.split === 'train' ? { ...row, text: `[Ad] ${row.text}` } : row));
  expect((await checked(once)).phrases).toEqual([]);
});

test('at most five phrases of a label, the most frequent ones first', async () => {
  const rows = reviews(400, (row, i) => ({ ...row, text: `${row.label}${i % 8} ${row.label}ish ${row.text}`, split: 'train' }));
  const { phrases, report } = await checked(rows);
  expect(phrases.filter(({ label }: Row) => label === 'bad').length).toBeLessThanOrEqual(5);
  expect(phrases.find(({ label }: Row) => label === 'bad').text).toBe('badish');
  expect(report.checks.giveaways.confirmed_in).toBe('the other half of the texts');
});

test('columns: a value, a missing value, and the prefix of ids', async () => {
  const { figures, values, problems } = await checked(
    reviews(400, (row, i) => ({ ...row, id: `${row.label}/${i}`, source: row.label === 'bad' ? null : i % 10 === 0 ? 'shop' : 'web' })),
  );
  expect(problems.size).toBe(0);
  expect(values.map(({ column, part, value, label }: Row) => [column, part, value, label])).toEqual([
    ['id', 'folder', 'bad', 'bad'],
    ['id', 'folder', 'good', 'good'],
    ['id', 'prefix', 'bad', 'bad'],
    ['id', 'prefix', 'good', 'good'],
    ['source', 'value', null, 'bad'],
    ['source', 'value', 'web', 'good'],
    ['source', 'value', 'shop', 'good'],
  ]);
  expect(figures).toMatchObject({ giveaways: 0, 'giveaways.columns': 1 });
});

test('undefined for a reason', async () => {
  const { report } = await checked(reviews(20).map((row) => ({ ...row, label: 'good' })));
  expect(report.undefined).toMatchObject({
    giveaways: 'all rows have the label "good"',
    'giveaways.columns': 'all rows have the label "good"',
  });
  expect((await checked(reviews(20), { giveaways: false })).report.undefined.giveaways).toBe('`giveaways` is false');
});
