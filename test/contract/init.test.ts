/** `init` writes a pipeline that trains, chooses by the validation split, looks once at the test split, and deploys. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

test('the starter runs without a network, is fresh the second time, and its bundle predicts', async () => {
  const p = project();
  const { screen } = await p.run('init');
  expect(screen).toContain('wrote starter.yaml, reviews.csv, pipeline.schema.json, models/bert-tiny\n');
  expect(readdirSync(p.path('models/bert-tiny')).sort()).toEqual(
    readdirSync(join(root, 'pipelines/models/bert-tiny')).filter((name) => name.endsWith('.json')),
  );
  // How well it learns is measured where there is time for all of its epochs (test/optional/package.test.ts).
  p.write('starter.yaml', p.read('starter.yaml').replace('epochs: 12', 'epochs: 1'));
  const states = async () => [...new Set(Object.values((await p.states('starter.yaml')).cells))];
  expect(await states()).toEqual(['ran']);
  expect(await states()).toEqual(['fresh']);
  const measured = p.find('.tunesmith/outputs/starter').filter((file) => /(validate|test)[^/]*\/metrics$/.test(file));
  expect(measured.map((file) => JSON.parse(p.read(file)).split)).toEqual(['test', 'validation', 'validation']);
  const predicted = await p.feed('The lamp is great.\n', 'predict', '.tunesmith/outputs/starter/deploy/bundle', '-', '--format', 'lines');
  expect(['good', 'bad']).toContain(JSON.parse(predicted.stdout).label);
});

test('nothing is written over: one file in the way, and none is written', async () => {
  const p = project({ 'models/bert-tiny/config.json': '{}' });
  const { code, screen } = await p.run('init');
  expect([code, screen]).toEqual([2, expect.stringContaining('models/bert-tiny/config.json is already there')]);
  expect(p.find('.')).toEqual(['models/bert-tiny/config.json']);
});
