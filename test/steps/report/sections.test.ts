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
  expect(page).not.toContain('link lead to examples');
  const first = [...worst!.matchAll(/id \*\*\d\*\*.*?(?:Raise|Lower) the score of “(\w)”/gs)].map(([, label]) => label);
  expect(first).toEqual(sets.map(({ marked }) => marked));
});

test('the links of pictures work for any name of a file', async () => {
  const page = await pageOf([artifact('metrics', file(METRICS))], {}, 'run#1 (2)?-pictures');
  expect(page).toContain('](run%231%20%282%29%3F-pictures/slices-1.svg)');
});

/** The lines of a page without escapes. */
const plain = (page: string): string => page.replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)));

const evaluation = (cell: string, f1: number | null, more = {}, about: Partial<Artifact> = {}): Artifact =>
  artifact('metrics', file({ split: 'test', rows: 10, metrics: { f1 }, ...more }), { name: `${cell}.metrics`, cell, ...about });

const majority = (cell: string, split: string, more = {}): Artifact =>
  artifact('baselines', file({ split, rows: 10, methods: { majority: { metrics: { f1: 0.25, mcc: null } } }, ...more }), {
    name: `${cell}.metrics`,
    cell,
  });

test('the comparison has every evaluation outside of a sweep', async () => {
  const page = plain(await pageOf(Array.from({ length: 14 }, (_, i) => evaluation(`e${i}`, i / 100))));
  expect(page).toContain(`| metric | ${Array.from({ length: 12 }, (_, i) => `e${i} (test)`).join(' | ')} |`);
  expect(page).toContain('+ 2 more: e12 (test), e13 (test)');
});

test('baselines of another split have a table of their own, and several of the same split have the names of their cells', async () => {
  const sweep = evaluation('tune[lr=1]', 0.5, { split: 'validation' }, { matrix: { lr: 1 } });
  const other = plain(await pageOf([sweep, majority('base', 'test')]));
  expect(other).toContain('Baselines (base.metrics) on the split “test”');
  const same = plain(await pageOf([evaluation('test', 0.5), majority('a', 'test'), majority('b', 'test')]));
  expect(same).toContain('| metric | test (test) | baseline: majority (a) | baseline: majority (b) |');
  expect(same).toContain('| f1 | 0.5 | 0.25 | 0.25 |');
});

test('whatever is undefined or has no interval has its reason', async () => {
  const slices = {
    source: {
      by: 'column source',
      metric: 'f1',
      min_rows: 10,
      gap: 0.2,
      no_interval: 'no sample has both slices',
      slices: [
        { slice: 'web', rows: 40, metrics: { f1: 0.4, mcc: 0.3 }, gap: 0.2, undefined: { 'mcc.lower': 'all samples are equal' } },
        { slice: 'mail', rows: 40, metrics: { f1: 0.6, mcc: null }, gap: 0, undefined: { mcc: 'one class' } },
        { slice: 'fax', rows: 2, metrics: { f1: 0.6, mcc: 0.5 }, gap: null },
      ],
    },
  };
  const fairness = {
    group: ['source'],
    metrics: { demographic_parity_difference: 0.2, equalized_odds_ratio: null },
    undefined: { equalized_odds_ratio: 'in the group web, no row is positive', 'demographic_parity_difference.lower': 'too few samples' },
    labels: {
      good: {
        groups: [
          { group: 'web', rows: 9, positives: 0, true_positive_rate: null, undefined: { true_positive_rate: 'no row is positive' } },
        ],
      },
    },
  };
  const first = evaluation('test', 0.5, { slices, fairness, interval: { level: 0.95 } });
  const second = evaluation('other', null, { undefined: { f1: 'no prediction' } });
  const reasons = { 'majority.mcc': 'one label is predicted', 'majority.f1.lower': 'the samples are constant' };
  const page = plain(await pageOf([first, second, majority('base', 'test', { undefined: reasons })]));
  for (const text of [
    '| f1 | 0.5 | n/a (no prediction) | 0.25 |',
    '| mcc | – | – | n/a (one label is predicted) |',
    'f1 of baseline: majority: the samples are constant.',
    'the gap between the best and the worst slice: no sample has both slices.',
    'mcc of web: all samples are equal.',
    '| mail | 40 | 0.6 | n/a (one class) | 0 |',
    '| fax | 2 | 0.6 | 0.5 | n/a (fewer than 10 rows) |',
    'demographic parity difference: too few samples.',
    '| equalized odds ratio | n/a (in the group web, no row is positive) |',
    '| web | 9 | 0 | n/a (no row is positive) |',
  ])
    expect(page).toContain(text);
});

test('a counterfactual test of a regression shows by how much the numbers change', async () => {
  const counterfactual = {
    rows: 4,
    changed: null,
    mean_change: 0.25,
    max_change: 0.5,
    undefined: { changed: 'a regression predicts numbers, not labels' },
    swaps: [{ from: 'he', to: 'she', rows: 4, changed: null, mean_change: 0.25, shift: {} }],
    examples: [],
  };
  const page = plain(await pageOf([artifact('metrics', file({ split: 'test', metrics: { mse: 0.5 }, counterfactual }))]));
  expect(page).toContain(
    'Terms were swapped in 4 texts. The share of changed labels is n/a (a regression predicts numbers, not labels). The predicted number changed by 0.25 on average, and by 0.5 at most.',
  );
  expect(page).toContain('| he | she | 4 | 0.25 |');
});

test('a comparison of a custom step may be incomplete', async () => {
  const comparison = {
    metrics: { f1: { value: '0.9', other: 0.8 }, mcc: { value: 0.5, test: 'mcnemar', undefined: 'other rows' }, r: null },
  };
  const page = plain(await pageOf([evaluation('test', 0.5, { comparison })]));
  expect(page).toContain('Comparison with the other predictions\n');
  expect(page).toContain('| f1 | n/a | 0.8 | n/a | n/a | – |');
  expect(page).toContain('| mcc | 0.5 | n/a | n/a | n/a | n/a: other rows |');
});

test('of a large sweep, a page has first what failed and what belongs to the best cell', async () => {
  const text = 'a long text '.repeat(40);
  const behavior = (passed: boolean) => {
    const one = { kind: 'invariance', cases: 20, failures: 9, max_failures: '<= 50%', passed, examples: Array(20).fill({ before: text }) };
    return file({ tests: Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`test ${i}`, one])) });
  };
  const check = file({ rows: 9, metrics: { duplicates: 0 }, problems: { empty: 3 } });
  const calibration = file({ thresholds: { good: 0.4 } });
  const [passed, failed] = [behavior(true), behavior(false)];
  const artifacts = Array.from({ length: 40 }, (_, i): Artifact[] => {
    const of = (role: Role, path: string) => artifact(role, path, { name: `${role}[seed=${i}]`, matrix: { seed: i } });
    return [
      evaluation(`test[seed=${i}]`, i === 30 ? 0.9 : 0.5, {}, { matrix: { seed: i } }),
      of('behavior', i === 20 ? failed : passed),
      of('checks', check),
      of('calibration', calibration),
    ];
  }).flat();
  const page = await pageOf(artifacts, { format: 'html' });
  expect(page.length).toBeLessThan(3e6);
  const headings = [...page.matchAll(/<h3>((?:behavior|checks)\[seed=\d+\])<\/h3>/g)].map(([, heading]) => heading!);
  expect(headings).toHaveLength(16);
  expect(headings.slice(0, 3)).toEqual([20, 30, 0].map((seed) => `behavior[seed=${seed}]`));
  expect(headings.slice(8, 10)).toEqual([30, 0].map((seed) => `checks[seed=${seed}]`));
  expect(page.match(/\+ 32 more: /g)).toHaveLength(3);
});

test('a sweep shows the intervals of the files, and says “the best” only of a metric with a direction', async () => {
  const cell = (lr: number, metrics: object, intervals = {}) =>
    evaluation(`tune[lr=${lr}]`, 0, { metrics, intervals }, { name: `tune[lr=${lr}].metrics`, cell: `tune[lr=${lr}]`, matrix: { lr } });
  const interval = { f1: { low: 0.4, high: 0.6 } };
  const best = plain(await pageOf([cell(1, { f1: 0.5 }, interval), cell(2, { f1: 0.3 })]));
  expect(best).toContain('Cells of tune, the best f1 first');
  expect(best).toContain('| 1 | **0.5 [0.4, 0.6] *** |');
  const own = plain(await pageOf([cell(1, { tokens: 5 }), cell(2, { tokens: 9 })]));
  expect(own).toMatch(/Cells of tune, sorted by tokens\n\n\| lr \| tokens \|\n.*\n\| 2 \| 9 \|/);
});

const historyOf = (last: object) => {
  const metrics = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`validation_m${i}`, i / 10]));
  const lines = [
    { step: 1, epoch: 1, loss: 2 },
    { step: 2, epoch: 1, train_loss: 2, validation_loss: 1, ...metrics },
    { step: 4, epoch: 1, train_loss: 1.5, validation_loss: 1.25, ...metrics, ...last },
  ];
  return artifact('history', file(lines.map((line) => JSON.stringify(line)).join('\n')));
};

test('a training has a generalization gap only if its history has one, and texts only about the curves that are drawn', async () => {
  const comparable = plain(await pageOf([historyOf({ generalization_gap: -0.25 })]));
  expect(comparable).toContain(
    'The validation loss was lowest at step 2 (1) and rose to 1.25 until step 4. At the end, the generalization gap (validation loss − training loss) is -0.25.',
  );
  expect(comparable).toContain('mean training loss from 2 to 1.5');
  expect(comparable).toContain('m5 from 0.5 to 0.5. The table of the evaluations has 2 more metrics.');
  expect(comparable).not.toContain('m6 from');
  expect(plain(await pageOf([historyOf({})]))).not.toContain('generalization gap');
});

test('an evaluation without a split is not on the split “”', async () => {
  const page = plain(await pageOf([artifact('metrics', file({ rows: 10, metrics: { f1: 0.5 } }), { name: 'own.metrics', cell: 'own' })]));
  expect(page).toContain('own.metrics, 10 rows.');
  expect(page).not.toMatch(/“”|\(\)/);
});

test('the page of a regression has no id twice', async () => {
  const predictions = await table(
    "SELECT i::VARCHAR AS id, 'test' AS split, i / 10.0::DOUBLE AS label, i / 9.0::DOUBLE AS prediction, 0.1::DOUBLE AS loss FROM range(40) r(i)",
  );
  const metrics = artifact('metrics', file({ split: 'test', rows: 40, metrics: { mse: 0.2 } }), { cell: 'test' });
  const page = await pageOf([metrics, artifact('predictions', predictions, { cell: 'test' })], { format: 'html' });
  const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id!);
  expect(ids).toContain('predicted-numbers');
  expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
});

test('texts of the data have no live address, mention or emoji in Markdown, and long samples say how much is left out', async () => {
  const lines = [
    'see https://evil.example/login or WWW.evil.example :smile: at 12:30: @ada',
    'x'.repeat(700),
    ...Array.from({ length: 30 }, () => 'y'),
  ];
  const page = await pageOf([artifact('samples', file(lines.join('\n\n')))]);
  expect(page).toContain('see https&#58;//evil.example/login or WWW&#46;evil.example &#58;smile: at 12&#58;30: &#64;ada');
  expect(page).toContain(`${'x'.repeat(600)} … (+ 100 characters)`);
  expect(page).toContain('20 more lines left out.');
});

test('a class that no row has, or that is never predicted, has a reason instead of a metric', async () => {
  const classes = {
    ...METRICS.classes,
    rare: { precision: null, recall: null, f1: null, support: 0 },
    missed: { precision: null, recall: 0, f1: 0, support: 3 },
  };
  const page = await pageOf([artifact('metrics', file({ ...METRICS, classes }))]);
  expect(page).toMatch(/^\| rare \|( n\/a \(no row has it\) \|){3} 0 \|$/m);
  expect(page).toMatch(/^\| missed \| n\/a \(no row is predicted so\) \| 0 \| 0 \| 3 \|$/m);
});
