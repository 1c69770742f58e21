import { expect, test } from 'vitest';
import { dataSection } from '../../../steps/report/data.ts';

const cardOf = (file: object) => dataSection([{ name: 'collect.data', file }] as never, [])!.blocks as any[];
const pictureOf = (file: object) => cardOf({ columns: [], dropped: {}, ...file }).find(({ kind }) => kind === 'picture');

test('the table of the splits has the rows of each split, and of each label in it', () => {
  const file = {
    rows: 9,
    columns: [{ name: 'id' }, { name: 'text' }, { name: 'label' }, { name: 'split' }],
    dropped: {},
    labels: { ham: 7, spam: 2 },
    splits: { train: { rows: 6, labels: { ham: 4, spam: 2 } }, test: { rows: 3, labels: { ham: 3 } } },
  };
  const section = dataSection([{ name: 'split.data', file }] as never, []);
  expect(section!.blocks).toContainEqual({
    kind: 'table',
    caption: 'Rows of each split (split.data)',
    header: ['split', 'rows', 'ham', 'spam'],
    rows: [
      ['train', '6', '4', '2'],
      ['test', '3', '3', '0'],
    ],
    numeric: [1, 2, 3],
  });
});

test('a card that does not count all labels gives no distribution, and says so', () => {
  const labels = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [(i / 1000).toFixed(4), 1]));
  const blocks = cardOf({ rows: 5000, columns: [], dropped: {}, labels, unlabelled: 10 });
  expect(blocks.filter(({ kind }) => kind === 'picture')).toEqual([]);
  expect(blocks.map(({ text }) => text)).toContain(
    'Distribution of the labels: n/a (the card of collect.data counts only the 1,000 most frequent labels; 3,990 rows have others).',
  );
});

test('class ids are labels, the most frequent first, and other numbers are ranges', () => {
  const ids = Object.fromEntries(Array.from({ length: 77 }, (_, i) => [String(i), 1 + i]));
  const classes = pictureOf({ rows: 77 * 39, labels: ids });
  expect(classes.title).toBe('Label balance (collect.data)');
  expect(classes.description).toMatch(/^77 labels of 3,003 rows: 76 2\.56%, 75 2\.53%, /);
  expect(classes.table.rows[0]).toEqual(['76', '77', '2.56%']);
  const scores = Object.fromEntries(Array.from({ length: 41 }, (_, i) => [(i / 8).toFixed(4), 2]));
  const numbers = pictureOf({ rows: 82, labels: scores });
  expect(numbers.title).toBe('Distribution of the numbers (collect.data)');
  expect(numbers.table.rows.at(-1)).toEqual(['4.5 – 5', '10', '12.2%']);
});
