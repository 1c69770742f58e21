/** The activations against transformers' ACT2FN: test/golden/activations.py made the values. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import * as nn from '../../../../steps/ml/models/nn.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { gradientsAsMoments, whole } from '../runtime/options.ts';

const golden: Record<string, { x: number[]; y: number[]; gradient: number[] }> = JSON.parse(
  readFileSync(new URL('../../../golden/activations.json', import.meta.url), 'utf8'),
);

test('every activation has golden values', () => expect(Object.keys(golden).sort()).toEqual([...nn.activationNames].sort()));

for (const name of ['eager', 'onnx'] as const) {
  test.each(nn.activationNames)(`${name}: values and gradients of %s`, async (activation) => {
    const { x, y, gradient } = golden[activation]!;
    const weights = { x: { dtype: 'float32' as const, shape: [x.length], data: Float32Array.from(x) } };
    const program = (w: nn.Weights): Record<string, tf.Tensor> => {
      const value = nn.activation(activation, w.x!);
      return { loss: tf.sum(value), value };
    };
    const training = (await openRuntime(name, { threads: 1 })).training(program, weights, {
      ...gradientsAsMoments,
    });
    const outputs = await training.evaluate({});
    await training.step(whole({}), { seed: 0, epoch: 1, step: 0, learningRate: 0 });
    const m = training.optimizerState().slots.m!;
    for (const i of x.keys()) {
      expect(Math.abs(outputs.value!.data[i]! - y[i]!), `at ${x[i]}`).toBeLessThan(1e-6);
      expect(Math.abs(m.x![i]! - gradient[i]!), `at ${x[i]}`).toBeLessThan(1e-6);
    }
    await training.dispose();
  });
}
