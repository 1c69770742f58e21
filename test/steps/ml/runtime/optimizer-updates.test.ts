/** Optimizers and losses against torch and transformers; AdamW is in optimizer.test.ts. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { crossEntropy } from '../../../../steps/ml/runtime/ops.ts';
import { Optimizer } from '../../../../steps/ml/runtime/optimizers.ts';
import type { OptimizerOptions } from '../../../../steps/ml/runtime/runtime.ts';
import { gradientsAsMoments, whole } from './options.ts';

const golden = JSON.parse(readFileSync(new URL('../../../golden/optimizers.json', import.meta.url), 'utf8'));

const rules: Record<string, OptimizerOptions> = {
  sgd: { name: 'sgd', momentum: 0, nesterov: false },
  'sgd with momentum': { name: 'sgd', momentum: 0.9, nesterov: false },
  'sgd with nesterov': { name: 'sgd', momentum: 0.9, nesterov: true },
  adafactor: { name: 'adafactor' },
};

for (const [name, optimizer] of Object.entries(rules)) {
  const { shapes, start, decay, steps } = golden.optimizers[name];
  const make = () =>
    new Optimizer(
      Object.fromEntries(
        Object.entries<number[]>(shapes).map(([weight, shape]) => [
          weight,
          { dtype: 'float32' as const, shape, data: Float32Array.from(start[weight]) },
        ]),
      ),
      { optimizer, maxGradNorm: 0, weight: () => ({ learningRateFactor: 1, weightDecay: decay }) },
    );
  const gradients = (of: Record<string, number[]>) =>
    new Map(Object.entries(of).map(([weight, data]) => [weight, { dense: Float32Array.from(data) }]));

  test(`${name}: the weights after each step equal the reference`, () => {
    const ours = make();
    for (const step of steps) {
      ours.step(gradients(step.gradients), step.rate);
      for (const [weight, expected] of Object.entries<number[]>(step.weights))
        for (const [i, x] of expected.entries())
          expect(Math.abs(ours.weights[weight]!.data[i]! - x)).toBeLessThan(2e-6 * Math.max(1, Math.abs(x)));
    }
  });

  test(`${name}: a restored state continues bit for bit`, () => {
    const [uninterrupted, first, second] = [make(), make(), make()];
    for (const step of steps) uninterrupted.step(gradients(step.gradients), step.rate);
    for (const step of steps.slice(0, 2)) first.step(gradients(step.gradients), step.rate);
    second.restore(structuredClone(first.weights), structuredClone(first.state()));
    for (const step of steps.slice(2)) second.step(gradients(step.gradients), step.rate);
    expect(second.weights).toEqual(uninterrupted.weights);
  });
}

for (const name of ['eager', 'onnx'] as const) {
  test.each(golden.losses as { weights: number[] | null; rows?: number[]; smoothing: number; loss: number; gradient: number[] }[])(
    `${name}: cross-entropy with class weights $weights, row weights $rows and smoothing $smoothing`,
    async ({ weights, rows, smoothing, loss, gradient }) => {
      const classWeights = weights ? Float32Array.from(weights) : undefined;
      const logits = { dtype: 'float32' as const, shape: [6, 5], data: Float32Array.from(golden.logits) };
      const labels = { dtype: 'int32' as const, shape: [6], data: Int32Array.from(golden.labels) };
      const training = (await openRuntime(name, { threads: 1, backend: 'cpu' })).training(
        (w, i) => ({ loss: crossEntropy(w.logits!, i.labels!, { smoothing, classWeights }, i.loss_weights) }),
        { logits },
        gradientsAsMoments,
      );
      const rowWeights = rows && { dtype: 'float32' as const, shape: [6], data: Float32Array.from(rows) };
      const done = await training.step(whole({ labels, ...(rowWeights && { loss_weights: rowWeights }) }), {
        seed: 0,
        epoch: 1,
        step: 0,
        learningRate: 0,
      });
      expect(done.loss).toBeCloseTo(loss, 5);
      const { logits: ours } = training.optimizerState().slots.m!;
      for (const [i, x] of gradient.entries()) expect(Math.abs(ours![i]! - x)).toBeLessThan(1e-6);
      await training.dispose();
    },
  );
}
