/** Every op against PyTorch's values and gradients, on both runtimes. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import * as ops from '../../../../steps/ml/runtime/ops.ts';
import type { HostTensor, HostTensors, Program } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { COMPILED, gradientsAsMoments, whole } from './options.ts';

type Stored = Record<string, { dtype: HostTensor['dtype']; shape: number[]; data: number[] }>;
type Op = (w: Record<string, tf.Tensor>, i: Record<string, tf.Tensor>) => tf.Tensor;

const golden = JSON.parse(readFileSync(new URL('../../../golden/runtime/runtime.json', import.meta.url), 'utf8')) as {
  ops: Record<string, { weights: Stored; inputs: Stored; output: Stored[string]; gradients: Stored }>;
  rotary: { positions: number[]; cos: number[]; sin: number[] };
};

const programs: Record<string, Op> = {
  layerNorm: (w) => ops.layerNorm(w.x!, w.gamma!, w.beta!, 1e-12),
  layerNormNoBias: (w) => ops.layerNorm(w.x!, w.gamma!, undefined, 1e-5),
  gelu: (w) => ops.gelu(w.x!),
  geluNew: (w) => ops.geluNew(w.x!),
  softmax: (w, i) => ops.softmax(w.x!, i.mask),
  linear: (w) => ops.linear(w.x!, w.weight!, w.bias),
  linearNoBias: (w) => ops.linear(w.x!, w.weight!),
  embedding: (w, i) => ops.embedding(w.weight!, i.ids!),
  crossEntropy: (w, i) => ops.crossEntropy(w.logits!, i.labels!),
  attention: (w, i) => ops.attention(w.q!, w.k!, w.v!, { heads: 3, mask: i.mask, dropout: (x) => x, rate: 0 }),
  rotate: (w) => ops.rotate(w.x!, ops.rotaryTables(5, 8, 100)),
};

test('every op with golden values is tested', () => expect(Object.keys(programs).sort()).toEqual(Object.keys(golden.ops).sort()));

for (const name of ['eager', COMPILED] as const) {
  for (const [op, f] of Object.entries(programs)) {
    test(`${op} on ${name} agrees with PyTorch, forward and backward`, async () => {
      const { weights, inputs, output, gradients } = golden.ops[op]!;
      const program: Program = (w, i) => {
        const result = f(w, i);
        return { loss: tf.sum(tf.mul(result, i.upstream!)), result };
      };
      const runtime = await openRuntime(name, { threads: 2, backend: 'cpu' });
      const training = runtime.training(program, hostAll(weights), {
        ...gradientsAsMoments,
        paddingRows: op === 'embedding' ? { weight: 0 } : {},
      });
      const { result } = await training.evaluate(hostAll(inputs));
      expect(result!.shape).toEqual(output.shape);
      expect(distance(result!.data, output.data)).toBeLessThan(1e-5);
      await training.step(whole(hostAll(inputs)), { seed: 0, epoch: 0, step: 0, learningRate: 0 });
      const { m } = training.optimizerState().slots;
      for (const [weight, { data }] of Object.entries(gradients)) expect(distance(m![weight]!, data), weight).toBeLessThan(1e-5);
      await training.dispose();
    });
  }
}

test.each(['eager', COMPILED] as const)(
  '%s: the rotations of distant positions equal those of PyTorch, whose angles are rounded',
  async (name) => {
    const { positions, cos, sin } = golden.rotary;
    const inference = (await openRuntime(name, { threads: 1, backend: 'cpu' })).inference(
      () => ({ ...ops.rotaryTables(8192, 16, 160_000) }),
      {},
    );
    const tables = await inference.run({});
    await inference.dispose();
    const rows = (table: HostTensor) => positions.flatMap((at) => [...table.data.subarray(8 * at, 8 * at + 8)]);
    for (const [i, value] of rows(tables.cos!).entries()) expect(Math.abs(value - cos[i]!)).toBeLessThan(1e-6);
    for (const [i, value] of rows(tables.sin!).entries()) expect(Math.abs(value - sin[i]!)).toBeLessThan(1e-6);
  },
);

function hostAll(stored: Stored): HostTensors {
  return Object.fromEntries(
    Object.entries(stored).map(([name, { dtype, shape, data }]) => [
      name,
      { dtype, shape, data: dtype === 'int32' ? Int32Array.from(data) : Float32Array.from(data) },
    ]),
  );
}

/** ‖a − b‖ / ‖b‖ */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let [difference, norm] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += b[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}
