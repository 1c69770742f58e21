/** The pipelines to learn from, as they are shipped: each runs and beats its baseline. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

test('reviews.yaml', async () => {
  const p = project({});
  cpSync(join(root, 'pipelines'), p.path('pipelines'), { recursive: true });
  const run = await p.run('run', 'pipelines/reviews.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const outputs = 'pipelines/.tunesmith/outputs/reviews';
  const { metrics } = JSON.parse(p.read(`${outputs}/test/metrics`));
  const { majority, bag_of_words } = JSON.parse(p.read(`${outputs}/baseline/metrics`)).methods;
  for (const baseline of [majority, bag_of_words]) expect(metrics.macro_f1).toBeGreaterThan(baseline.metrics.macro_f1);
});
