/**
 * The quality benchmark: the spam pipeline as it is published, for three seeds, and the answers of its bundle.
 * TUNESMITH_TEST_TRAINED may name checkouts in which it ran before, `SEED=FOLDER:…`, to save time: their cells are fresh.
 */
import { cpSync, existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectSameAnswers, mails } from '../mails.ts';
import { project, root } from '../rig.ts';

const METRICS = ['accuracy', 'precision', 'recall', 'f1'];

const trained = (process.env.TUNESMITH_TEST_TRAINED ?? '').split(':').flatMap((each) => {
  const [, seed, folder] = /^(\d+)=(.+)$/.exec(each) ?? [];
  return folder === undefined || !existsSync(join(folder, '.tunesmith')) ? [] : [{ seed: Number(seed), folder }];
});

test('mean F1 of spam on the test split is at least 0.94 over three seeds; the server predicts as evaluate did', async () => {
  const p = project({ 'package.json': '{}' });
  cpSync(join(root, 'pipelines'), p.path('pipelines'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), p.path('node_modules'));
  const untrained = [1, 2, 3].filter((seed) => trained.every((each) => each.seed !== seed));
  const runs = [...trained, ...untrained.map((seed) => ({ seed, folder: p.folder }))].slice(0, 3);
  let outputs = '';

  const table: Record<string, Record<string, number>> = {};
  const scores: number[] = [];
  for (const { seed, folder } of runs) {
    const run = await p.states(join(folder, 'pipelines/spam.yaml'), '-p', `seed=${seed}`);
    expect(run.code).toBe(0);
    outputs = join(folder, '.tunesmith/outputs/spam');
    const { metrics } = JSON.parse(p.read(`${outputs}/test/metrics`));
    const { methods } = JSON.parse(p.read(`${outputs}/baseline/metrics`));
    for (const name of ['majority', 'bag_of_words']) table[`seed ${seed}: ${name}`] = methods[name].metrics;
    table[`seed ${seed}: tunesmith, ${Math.round(run.events.at(-1).seconds)} s`] = metrics;
    scores.push(metrics.f1);
  }
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  for (const [name, row] of Object.entries(table))
    console.log(name.padEnd(34), METRICS.map((metric) => `${metric} ${row[metric]!.toFixed(4)}`).join('  '));
  console.log(`mean F1 of spam: ${mean.toFixed(4)}`);
  expect(mean).toBeGreaterThanOrEqual(0.94);

  await expectSameAnswers(p, {
    bundle: `${outputs}/deploy/bundle`,
    collected: `${outputs}/collect/data`,
    predictions: `${outputs}/test/predictions`,
    count: 50,
    sources: mails(Number.POSITIVE_INFINITY),
  });
});
