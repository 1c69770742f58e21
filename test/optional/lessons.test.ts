/** The pipelines to learn from, as they are shipped: each runs in two minutes and beats its baselines on texts it has never seen. */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { project, root } from '../rig.ts';

test.each([
  ['reviews', 'macro_f1', 0], // 301 reviews are few to learn words from
  ['pairs', 'accuracy', 0.1],
  ['entities', 'f1', 0.1],
  ['qa', 'exact_match', 0.1],
])('%s.yaml', async (name, metric, clearly) => {
  const p = project({});
  cpSync(join(root, 'pipelines'), p.path('pipelines'), { recursive: true, filter: (file) => !file.includes('.tunesmith') });
  const start = performance.now();
  const run = await p.run('run', `pipelines/${name}.yaml`, '--plain');
  const seconds = (performance.now() - start) / 1000;
  expect(run.code, run.screen).toBe(0);
  const outputs = `pipelines/.tunesmith/outputs/${name}`;
  const { metrics } = JSON.parse(p.read(`${outputs}/test/metrics`));
  const { methods } = JSON.parse(p.read(`${outputs}/baseline/metrics`));
  const baselines = Object.entries<any>(methods).map(([method, { metrics }]) => `${method} ${metrics[metric].toFixed(3)}`);
  console.log(`${name}: ${metric} ${metrics[metric].toFixed(3)} (${baselines.join(', ')}) in ${seconds.toFixed(0)} s`);
  expect(seconds).toBeLessThan(120);
  expect(Object.keys(methods)).toHaveLength(2);
  for (const baseline of Object.values<any>(methods)) expect(metrics[metric]).toBeGreaterThan(baseline.metrics[metric] + clearly);
});
