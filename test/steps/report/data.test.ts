import { expect, test } from 'vitest';
import { dataSection } from '../../../steps/report/data.ts';

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
