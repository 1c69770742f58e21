/** Memory of a long training. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { COMPILED } from '../../steps/ml/runtime/options.ts';

test('memory is constant over a thousand steps of many shapes', () => {
  const script = `
    const { openRuntime } = await import('./steps/ml/device/open.ts');
    const { tiny, toyAxes: axes, toyBatch, toyProgram, toyWeights } = await import('./test/steps/ml/runtime/toy.ts');
    const { adamW, whole } = await import('./test/steps/ml/runtime/options.ts');
    const runtime = await openRuntime('${COMPILED}', { threads: 2 });
    const training = runtime.training(toyProgram(tiny), toyWeights(tiny), { ...adamW(0.01, () => false), maxGradNorm: 1, axes });
    const seen = [];
    for (let step = 0; step < 1000; step++) {
      await training.step(whole(toyBatch(tiny, 1 + (step % 7), 1 + (step % 12), step)), { seed: 1, epoch: 1, step, learningRate: 1e-3 });
      if (step % 50 === 49) { gc(); seen.push(process.memoryUsage().rss / 1e6); }
    }
    await training.dispose();
    console.log(JSON.stringify(seen));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  const seen = JSON.parse(stdout) as number[];
  // The first few hundred fill pools of memory.
  expect(seen.at(-1)! - seen[5]!, `MB at every 50 steps: ${seen.map(Math.round)}`).toBeLessThan(20);
});
