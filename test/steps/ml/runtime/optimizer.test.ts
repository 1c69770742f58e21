import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Optimizer } from '../../../../steps/ml/runtime/optimizers.ts';
import { adamW, gradientsAsMoments } from './options.ts';

type Stored = Record<string, { shape: number[]; data: number[] }>;
interface Run {
  weightDecay: number;
  maxGradNorm: number;
  start: Stored;
  steps: { rate: number; gradients: Stored; norm: number | null; weights: Stored }[];
  m: Stored;
  v: Stored;
}

const { optimizer: runs } = JSON.parse(readFileSync(new URL('../../../golden/runtime/runtime.json', import.meta.url), 'utf8')) as {
  optimizer: Run[];
};

const host = (stored: Stored) =>
  Object.fromEntries(
    Object.entries(stored).map(([name, { shape, data }]) => [name, { dtype: 'float32' as const, shape, data: Float32Array.from(data) }]),
  );

const make = (run: Run) =>
  new Optimizer(host(run.start), {
    ...adamW(run.weightDecay, (name) => name === 'b'),
    maxGradNorm: run.maxGradNorm,
  });

const gradientsOf = (gradients: Stored) =>
  new Map(Object.entries(gradients).map(([name, { data }]) => [name, { dense: Float32Array.from(data) }]));

for (const [i, run] of runs.entries()) {
  test(`AdamW agrees with PyTorch's, step by step (${i}: decay ${run.weightDecay}, clipped to ${run.maxGradNorm})`, () => {
    const optimizer = make(run);
    for (const { rate, gradients, norm, weights } of run.steps) {
      const ours = optimizer.step(gradientsOf(gradients), rate);
      if (norm !== null) expect(ours).toBeCloseTo(norm, 5);
      for (const [name, { data }] of Object.entries(weights)) near(optimizer.weights[name]!.data, data);
    }
    const { slots, step } = optimizer.state();
    expect(step).toBe(run.steps.length);
    for (const name of ['w', 'b']) {
      near(slots.m![name]!, run.m[name]!.data);
      near(slots.v![name]!, run.v[name]!.data);
    }
  });
}

test('a restored optimizer continues bit for bit', () => {
  const run = runs[1]!;
  const whole = make(run);
  const first = make(run);
  for (const { rate, gradients } of run.steps) whole.step(gradientsOf(gradients), rate);
  for (const { rate, gradients } of run.steps.slice(0, 3)) first.step(gradientsOf(gradients), rate);
  const second = make(run);
  second.restore(structuredClone(first.weights), structuredClone(first.state()));
  for (const { rate, gradients } of run.steps.slice(3)) second.step(gradientsOf(gradients), rate);
  expect(second.weights).toEqual(whole.weights);
  expect(second.state()).toEqual(whole.state());
});

test('rows are added to the dense part by id, and ids below 0 are ignored', () => {
  const start = { w: { shape: [3, 2], data: [0, 0, 0, 0, 0, 0] } };
  const optimizer = new Optimizer(host(start), {
    ...gradientsAsMoments,
  });
  const rows = { ids: Int32Array.of(2, -1, 2, 0), values: Float32Array.of(1, 2, 50, 50, 3, 4, 5, 6) };
  const norm = optimizer.step(new Map([['w', { dense: Float32Array.of(1, 1, 1, 1, 1, 1), rows: [rows] }]]), 1);
  expect([...optimizer.state().slots.m!.w!]).toEqual([6, 7, 1, 1, 5, 7]);
  expect(norm).toBeCloseTo(Math.hypot(6, 7, 1, 1, 5, 7), 6);
});

test('a weight of another type or a checkpoint of another size is rejected by name', () => {
  const ids = { dtype: 'int32' as const, shape: [1], data: Int32Array.of(1) };
  expect(() => new Optimizer({ ids }, gradientsAsMoments)).toThrow('The weight ids is int32; only float32 weights can be trained.');
  const optimizer = new Optimizer(host({ w: { shape: [2], data: [1, 2] } }), gradientsAsMoments);
  expect(() => optimizer.restore({}, optimizer.state())).toThrow('weight of w');
});

function near(ours: ArrayLike<number>, reference: number[]): void {
  for (const [i, value] of reference.entries()) expect(Math.abs(ours[i]! - value)).toBeLessThan(1e-6 * Math.max(1, Math.abs(value)));
}
