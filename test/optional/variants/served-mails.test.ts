/** The served model is the evaluated one: raw mails go through the cleaning that the bundle records. */
import { mkdirSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { expectSameAnswers, MAIL_STEPS, mails, smallModel } from '../../mails.ts';
import { project } from '../../rig.ts';

const SERVED = `
name: served
params: { lowercase: true }
steps:${MAIL_STEPS}
  tokenize:
    uses: tokenize
    with: { data: "\${{ steps.split.data }}", model: ./model, max_length: 64 }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: ./model, task: text-classification, epochs: 3, batch_size: 4, learning_rate: 3e-3 }
  test:
    uses: evaluate
    resources: { cpu: 1 }
    with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}" }
  deploy:
    uses: deploy
    resources: { cpu: 1 }
    with: { model: "\${{ steps.train.model }}", metrics: "\${{ steps.test.metrics }}", name: served }
`;

test('50 raw mails posted to the server get the labels and scores of evaluate', async () => {
  const sources = mails(40);
  const p = project({ 'served.yaml': SERVED, ...sources });
  smallModel(p);
  // onnxruntime turns its telemetry off on CI.
  for (const name of ['CI', 'TF_BUILD', 'GITHUB_ACTIONS', 'ORT_RUNNING_UNIT_TESTS', 'ORT_DISABLE_TELEMETRY']) p.env[name] = undefined;
  Object.assign(p.env, { TMPDIR: p.path('tmp'), HOME: p.path('home'), XDG_CACHE_HOME: p.path('home/cache') });
  for (const folder of ['tmp', 'home']) mkdirSync(p.path(folder));
  const run = await p.run('run', 'served.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const outputs = '.tunesmith/outputs/served';
  await expectSameAnswers(p, {
    bundle: `${outputs}/deploy/bundle`,
    collected: `${outputs}/collect/data`,
    predictions: `${outputs}/test/predictions`,
    count: 50,
    sources,
  });
  // Without `select` and `metrics`, the first metric of evaluate stands for the run.
  const [metric] = Object.entries(JSON.parse(p.read(`${outputs}/test/metrics`)).metrics);
  expect((await p.run('runs', '--json')).events[0].metric).toEqual({ name: metric![0], value: metric![1], cell: 'test' });
  const left = ['tmp', 'home'].flatMap((folder) => readdirSync(p.path(folder), { recursive: true, encoding: 'utf8' }));
  expect(left.filter((name) => /mat-debug|onnxruntime/i.test(name))).toEqual([]);
});
