/**
 * The cross-entropy of a product with a vocabulary against that of the logits themselves, which ops.test.ts compares
 * with PyTorch.
 */
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import { crossEntropy, linear, vocabularyCrossEntropy } from '../../../../steps/ml/runtime/ops.ts';
import type { HostTensor, Program } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { COMPILED, gradientsAsMoments, whole } from './options.ts';

const uniform = random('vocabulary test');
const numbers = (...shape: number[]): HostTensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => 4 * uniform() - 2),
});

const weights = { states: numbers(6, 5), vocabulary: numbers(9, 5) };
// A label twice, and two that are ignored.
const labels: HostTensor = { dtype: 'int32', shape: [6], data: Int32Array.of(3, 0, -100, 8, 3, -100) };

for (const name of ['eager', COMPILED] as const)
  test.each([0, 0.1])(`${name}: with smoothing %d loss and gradients are those of the logits`, async (smoothing) => {
    const runtime = await openRuntime(name, { threads: 1, backend: 'cpu' });
    const learned = async (loss: (w: Record<string, tf.Tensor>, labels: tf.Tensor) => tf.Tensor) => {
      // Twice the loss, so that the gradient includes later ops.
      const program: Program = (w, i) => ({ loss: tf.mul(loss(w, i.labels!), 2) });
      const training = runtime.training(program, weights, gradientsAsMoments);
      const done = await training.step(whole({ labels }), { seed: 0, epoch: 0, step: 0, learningRate: 0 });
      const { m } = training.optimizerState().slots;
      const copies = Object.fromEntries(Object.entries(m!).map(([weight, values]) => [weight, Array.from(values)]));
      await training.dispose();
      return { loss: done.loss, ...copies } as { loss: number; states: number[]; vocabulary: number[] };
    };
    const plain = await learned((w, of) => crossEntropy(linear(w.states!, w.vocabulary!), of, { smoothing }));
    const own = await learned((w, of) => vocabularyCrossEntropy(w.states!, w.vocabulary!, of, { smoothing }));
    expect(own.loss).toBeCloseTo(plain.loss, 5);
    for (const weight of ['states', 'vocabulary'] as const)
      for (const [i, value] of own[weight].entries()) expect(value, `${weight} ${i}`).toBeCloseTo(plain[weight][i]!, 5);
  });
