/**
 * The quality benchmark: the spam pipeline as it is published, with the mails of the demo for three seeds, with all mails for one,
 * and the answers of its bundle.
 * TUNESMITH_TEST_TRAINED may name checkouts in which the demo ran before, `SEED=FOLDER:…`, to save time: their cells are fresh.
 */
import { cpSync, existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectSameAnswers, mails } from '../mails.ts';
import { type Project, project, root } from '../rig.ts';

const METRICS = ['accuracy', 'precision', 'recall', 'f1'];

const trained = (process.env.TUNESMITH_TEST_TRAINED ?? '').split(':').flatMap((each) => {
  const [, seed, folder] = /^(\d+)=(.+)$/.exec(each) ?? [];
  return folder === undefined || !existsSync(join(folder, '.tunesmith')) ? [] : [{ seed: Number(seed), folder }];
});

/** A checkout with the pipelines, which `edit` may change. */
function checkout(edit = (spam: string) => spam): Project {
  const p = project({ 'package.json': '{}' });
  cpSync(join(root, 'pipelines'), p.path('pipelines'), { recursive: true });
  p.write('pipelines/spam.yaml', edit(p.read('pipelines/spam.yaml')));
  symlinkSync(join(root, 'node_modules'), p.path('node_modules'));
  return p;
}

/** Runs the pipeline, prints rows of metrics, and returns what reads an output. */
async function run(p: Project, folder: string, seed: number, ...args: string[]): Promise<(output: string) => any> {
  const ran = await p.states(join(folder, 'pipelines/spam.yaml'), '-p', `seed=${seed}`, ...args);
  expect(ran.code).toBe(0);
  console.log(`seed ${seed}: ${Math.round(ran.events.at(-1).seconds)} s`);
  return (output) => JSON.parse(p.read(join(folder, '.tunesmith/outputs/spam', output)));
}

function print(name: string, row: Record<string, number>): void {
  console.log(name.padEnd(34), METRICS.map((metric) => `${metric} ${row[metric]!.toFixed(4)}`).join('  '));
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

test('with the mails of the demo, the pre-trained model has a higher mean F1 than random weights and the bag of words', async () => {
  const p = checkout();
  const untrained = [1, 2, 3].filter((seed) => trained.every((each) => each.seed !== seed));
  const runs = [...trained, ...untrained.map((seed) => ({ seed, folder: p.folder }))].slice(0, 3);
  const scores: Record<string, number[]> = { pretrained: [], random: [], bag_of_words: [] };
  for (const { seed, folder } of runs) {
    const read = await run(p, folder, seed);
    const rows = {
      pretrained: read('evaluate[from_scratch=false]/metrics').metrics,
      random: read('evaluate[from_scratch=true]/metrics').metrics,
      bag_of_words: read('baseline/metrics').methods.bag_of_words.metrics,
    };
    for (const [name, row] of Object.entries(rows)) {
      print(`seed ${seed}: ${name}, validation`, row);
      scores[name]!.push(row.f1);
    }
  }
  expect(mean(scores.pretrained!)).toBeGreaterThan(mean(scores.random!));
  expect(mean(scores.pretrained!)).toBeGreaterThan(mean(scores.bag_of_words!));
});

test('with all mails, the mean F1 of spam on the two unseen splits is at least 0.94; the server predicts as evaluate did', async () => {
  // The random weights would take half the time. With one cell of train, nothing is chosen on the validation split.
  const p = checkout((spam) => spam.replace('from_scratch: [false, true]', 'from_scratch: [false]'));
  const read = await run(p, p.folder, 1, '-p', 'part=100');
  print('bag of words, validation', read('baseline/metrics').methods.bag_of_words.metrics);
  const unseen = [read('evaluate[from_scratch=false]/metrics').metrics, read('test/metrics').metrics];
  for (const row of unseen) print('pre-trained, an unseen split', row);
  expect(mean(unseen.map(({ f1 }) => f1))).toBeGreaterThanOrEqual(0.94);

  const outputs = join(p.folder, '.tunesmith/outputs/spam');
  await expectSameAnswers(p, {
    bundle: `${outputs}/deploy/bundle`,
    collected: `${outputs}/collect/data`,
    predictions: `${outputs}/test/predictions`,
    count: 50,
    sources: mails(Number.POSITIVE_INFINITY),
  });
});
