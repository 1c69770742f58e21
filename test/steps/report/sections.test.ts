/** What the sections of a report show of particular files. */
import { expect, test } from 'vitest';
import type { Artifact, Role } from '../../../steps/report/artifacts.ts';
import { groupsOf } from '../../../steps/report/confusion.ts';
import { makeReport, type ReportRequest } from '../../../steps/report/report.ts';
import { file, METRICS, predictionsOf, randomClassifier, table } from './material.ts';

const artifact = (role: Role, path: string, more: Partial<Artifact> = {}): Artifact => ({ role, path, name: role, matrix: {}, ...more });

async function pageOf(artifacts: Artifact[], more: Partial<ReportRequest> = {}, pictures?: string): Promise<string> {
  const { signal } = new AbortController();
  const common = { title: 'Report', format: 'md', examples: 3, runtime: 'onnx', threads: 1, signal, missing: [] } as const;
  const [page] = await makeReport({ ...common, missing: [], artifacts, ...more }, pictures).then((files) => [...files.values()]);
  return page!;
}

test('predictions of another cell are not shown below the metrics of an evaluation', async () => {
  const predictions = await predictionsOf(20);
  const metrics = artifact('metrics', file(METRICS), { cell: 'test', above: ['predict'] });
  const none = await pageOf([metrics, artifact('predictions', predictions, { cell: 'validation' })]);
  expect(none).toContain('There are no predictions of metrics, so there are no curves and no mistakes.');
  expect(none).not.toContain('## Worst mistakes');
  for (const more of [{ cell: 'test' }, { cell: 'predict' }, {}])
    expect(await pageOf([metrics, artifact('predictions', predictions, more)])).toContain('## Worst mistakes');
});

test('the most frequent confusions of 1,000 labels have examples', () => {
  const labels = Array.from({ length: 1000 }, (_, i) => `label ${i}`);
  const counts = labels.map((_, row) => labels.map((_, column): number => (row === column ? 50 : 0)));
  counts[999]![3] = 7;
  counts[2]![998] = 9;
  const groups = groupsOf({ labels, counts }, { words: false });
  expect(groups).toHaveLength(25);
  expect(groups.slice(0, 3)).toEqual([
    {
      id: 'cell-2-998',
      heading: '“label 2” predicted as “label 998”: 9 rows',
      rows: 9,
      how: { label: 'label 2', prediction: 'label 998' },
    },
    {
      id: 'cell-999-3',
      heading: '“label 999” predicted as “label 3”: 7 rows',
      rows: 7,
      how: { label: 'label 999', prediction: 'label 3' },
    },
    {
      id: 'cell-0-0',
      heading: '“label 0” predicted correctly: 50 rows',
      rows: 50,
      how: { label: 'label 0', prediction: 'label 0' },
      right: true,
    },
  ]);
});

test('the marks of a set of labels are for a wrong label, or for a missed one', async () => {
  const sets = [
    { truth: ['a', 'b'], predicted: ['a'], marked: 'b' },
    { truth: ['a'], predicted: ['a', 'c'], marked: 'c' },
    { truth: ['b'], predicted: [], marked: 'b' },
  ];
  const list = (names: string[]) => `[${names.map((name) => `'${name}'`).join(', ')}]::VARCHAR[]`;
  const rows = sets.map(
    ({ truth, predicted }, i) =>
      `SELECT '${i}' AS id, 'test' AS split, 'some words of the row ${i}' AS text, ${list(truth)} AS label, ${list(predicted)} AS prediction,
       map(['a', 'b', 'c'], [0.5, 0.5, 0.5]) AS scores, ${9 - i}.0 AS loss, false AS correct`,
  );
  const page = await pageOf([
    artifact('predictions', await table(rows.join(' UNION ALL '))),
    artifact('model', await randomClassifier(['a', 'b', 'c'], { sets: true })),
    artifact('metrics', file({ split: 'test', metrics: { f1: 0.5 } })),
  ]);
  const [, worst] = /### Mistakes with the highest loss(.*?)\n### /s.exec(page)!;
  const first = [...worst!.matchAll(/id \*\*\d\*\*.*?(?:Raise|Lower) the score of “(\w)”/gs)].map(([, label]) => label);
  expect(first).toEqual(sets.map(({ marked }) => marked));
});

test('the links of pictures work for any name of a file', async () => {
  const page = await pageOf([artifact('metrics', file(METRICS))], {}, 'run#1 (2)?-pictures');
  expect(page).toContain('](run%231%20%282%29%3F-pictures/slices-1.svg)');
});
