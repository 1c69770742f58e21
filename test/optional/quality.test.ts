/**
 * The quality benchmark: the spam pipeline as it is published, with the mails of the demo and with all mails, and the answers of
 * its bundle. CI tries the demo's seed. `npm run proof:quality` tries three seeds, and also all mails.
 * TUNESMITH_TEST_TRAINED may name checkouts in which the demo ran before, `SEED=FOLDER:…`, to save time: their cells are fresh.
 */
import { cpSync, existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { expectSameAnswers, mails } from '../mails.ts';
import { type Project, project, root } from '../rig.ts';

const isProof = process.env.TUNESMITH_TEST_ALL_MAILS !== undefined;
const SEEDS = isProof ? [1, 2, 3] : [7];
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

/** The precision of a model that finds no spam is null. */
function print(name: string, row: Record<string, number | null>): void {
  console.log(name.padEnd(34), METRICS.map((metric) => `${metric} ${row[metric]?.toFixed(4) ?? 'n/a'}`).join('  '));
}

const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

test('with the mails of the demo, the pre-trained model has a higher mean F1 than random weights and the bag of words; the server predicts as evaluate did', async () => {
  const p = checkout();
  let outputs = '';
  const scores: Record<string, number[]> = { pretrained: [], random: [], bag_of_words: [] };
  for (const seed of SEEDS) {
    const folder = trained.find((each) => each.seed === seed)?.folder ?? p.folder;
    const read = await run(p, folder, seed);
    outputs = join(folder, '.tunesmith/outputs/spam');
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

  await expectSameAnswers(p, {
    bundle: `${outputs}/deploy/bundle`,
    collected: `${outputs}/collect/data`,
    predictions: `${outputs}/test/predictions`,
    count: 50,
    sources: mails(Number.POSITIVE_INFINITY),
  });
});

// It trains for a quarter of an hour: npm run proof:quality.
if (isProof)
  test('with all mails, mean F1 of spam on the test split is at least 0.94 over three seeds', async () => {
    // The random weights would take half the time.
    const p = checkout((spam) => spam.replace('from_scratch: [false, true]', 'from_scratch: [false]'));
    const scores: number[] = [];
    for (const seed of SEEDS) {
      const read = await run(p, p.folder, seed, '-p', 'part=100');
      print(`seed ${seed}: bag of words, validation`, read('baseline/metrics').methods.bag_of_words.metrics);
      const { metrics } = read('test/metrics');
      print(`seed ${seed}: test`, metrics);
      scores.push(metrics.f1);
    }
    console.log(`mean F1 of spam: ${mean(scores).toFixed(4)}`);
    expect(mean(scores)).toBeGreaterThanOrEqual(0.94);
  });
