/** Whole trainings of a small BERT: the two runtimes agree, are reproducible, and resume. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import type { HostTensors, Program, RuntimeName, Training } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { adamW, COMPILED, gradientsAsMoments, whole } from './options.ts';
import { generator, tiny, toyAxes, toyBatch, toyProgram, toyWeights } from './toy.ts';

const options = {
  axes: toyAxes,
  ...adamW(0.01, (name) => /norm|bias/.test(name)),
  maxGradNorm: 1,
  paddingRows: { 'word.weight': 0 },
};

async function train(name: RuntimeName, threads = 2): Promise<Training> {
  return (await openRuntime(name, { threads, backend: 'cpu' })).training(toyProgram(tiny), toyWeights(tiny), options);
}

/** Batches of two alternating lengths; the last is smaller. */
const batches = Array.from({ length: 10 }, (_, i) => toyBatch(tiny, i === 9 ? 2 : 4, i % 2 ? 8 : 12, i));

const at = (step: number) => ({ seed: 3, epoch: 1, step, learningRate: 2e-3 });

const bits = (weights: HostTensors) =>
  Object.values(weights).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'));

test(`ten steps with dropout on ${COMPILED} and eager: losses within 1e-4, weights within 1e-3`, async () => {
  const [eager, compiled] = [await train('eager'), await train(COMPILED)];
  for (const [i, batch] of batches.entries()) {
    const [a, b] = [await eager.step(whole(batch), at(i)), await compiled.step(whole(batch), at(i))];
    expect(Math.abs(a.loss - b.loss)).toBeLessThan(1e-4);
    expect(Math.abs(a.gradNorm - b.gradNorm)).toBeLessThan(1e-3 * a.gradNorm);
  }
  let [difference, norm] = [0, 0];
  for (const [name, { data }] of Object.entries(eager.weights())) {
    for (const [i, x] of data.entries()) {
      difference += (x - compiled.weights()[name]!.data[i]!) ** 2;
      norm += x ** 2;
    }
  }
  expect(Math.sqrt(difference / norm)).toBeLessThan(1e-3);
  const [a, b] = [await eager.evaluate(batches[0]!), await compiled.evaluate(batches[0]!)];
  for (const [i, logit] of a.logits!.data.entries()) expect(b.logits!.data[i]).toBeCloseTo(logit, 4);
  await compiled.dispose();
});

for (const name of ['eager', COMPILED] as const) {
  test(`${name}: a restored training equals the uninterrupted one bit for bit`, async () => {
    const [uninterrupted, first, second] = [await train(name), await train(name), await train(name)];
    for (const [i, batch] of batches.entries()) await uninterrupted.step(whole(batch), at(i));
    for (const [i, batch] of batches.slice(0, 4).entries()) await first.step(whole(batch), at(i));
    second.restore(structuredClone(first.weights()), structuredClone(first.optimizerState()));
    for (const [i, batch] of batches.slice(4).entries()) await second.step(whole(batch), at(i + 4));
    expect(bits(second.weights())).toEqual(bits(uninterrupted.weights()));
    for (const training of [uninterrupted, first, second]) await training.dispose();
  });
}

for (const name of ['eager', COMPILED] as const) {
  test(`${name}: a training does not change the weights that it is given, nor a state that it restores`, async () => {
    const float = (data: number[]) => ({ dtype: 'float32' as const, shape: [data.length], data: Float32Array.from(data) });
    // Many, because a library may share the memory of only those whose address suits it.
    const given: HostTensors = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`w${i}`, float(new Array(16 + (i % 3)).fill(i))]));
    const program: Program = (weights, { x }) => ({
      loss: tf.mul(tf.addN(Object.values(weights).map((w) => tf.sum(w))), tf.sum(x!)) as tf.Scalar,
    });
    const options = { ...adamW(0.01, (name) => Number(name.slice(1)) % 2 === 0), maxGradNorm: 0 };
    const training = (await openRuntime(name, { backend: 'cpu' })).training(program, given, options);
    const before = structuredClone(given);
    await training.step(whole({ x: float([1]) }), at(0));
    expect(given).toEqual(before);
    const restored = structuredClone({ weights: training.weights(), state: training.optimizerState() });
    const copy = structuredClone(restored);
    training.restore(restored.weights, restored.state);
    for (let length = 1; length <= 3; length++) await training.step(whole({ x: float(new Array(length).fill(1)) }), at(length));
    expect(given).toEqual(before);
    expect(restored).toEqual(copy);
    await training.dispose();
  });
}

for (const name of ['eager', COMPILED] as const) {
  test(`${name}: a loss that is not finite changes nothing, even if its gradients are finite; nor do earlier parts of the batch`, async () => {
    const program: Program = ({ w }, { x }) => ({ loss: tf.add(tf.sum(w!), tf.sum(x!)) as tf.Scalar });
    const float = (data: number[]) => ({ dtype: 'float32' as const, shape: [data.length], data: Float32Array.from(data) });
    const training = (await openRuntime(name, { backend: 'cpu' })).training(
      program,
      { w: float([1, 2]) },
      { ...adamW(0, () => false), maxGradNorm: 0 },
    );
    const part = (x: number[]) => ({ inputs: { x: float(x) }, share: 0.5 });
    expect((await training.step([part([1, 1]), part([3e38, 3e38])], at(0))).loss).toBe(Number.POSITIVE_INFINITY);
    expect([...training.weights().w!.data]).toEqual([1, 2]);
    expect(training.optimizerState().step).toBe(0);
    expect((await training.step([part([1, 1]), part([1, 1])], at(1))).gradNorm).toBeCloseTo(Math.SQRT2, 6);
    await training.dispose();
  });
}

test('another seed, epoch or step drops other elements', async () => {
  const training = await train(COMPILED);
  const rest = { seed: 1, epoch: 0, step: 0, learningRate: 0 };
  const losses = [];
  for (const change of [{}, {}, { seed: 2 }, { epoch: 1 }, { step: 1 }])
    losses.push((await training.step(whole(batches[0]!), { ...rest, ...change })).loss);
  expect(losses[1]).toBe(losses[0]);
  expect(new Set(losses).size).toBe(4);
  await training.dispose();
});

// UnsortedSegmentSum as ScatterND once lost updates of repeated ids on several threads, in one run of several.
test('every gradient is correct, and in 20 repeats on all cores the same bit for bit', async () => {
  const { toy } = JSON.parse(readFileSync(new URL('../../../golden/runtime/runtime.json', import.meta.url), 'utf8')) as {
    toy: { loss: number; gradients: Record<string, { norm: number; sums: number[] }> };
  };
  const config = { vocabulary: 2000, positions: 64, hidden: 64, layers: 2, heads: 4, ffn: 256, classes: 3, dropout: 0 };
  const batch = toyBatch(config, 16, 64);
  for (const threads of new Set([1, 2, availableParallelism()])) {
    const training = (await openRuntime(COMPILED, { threads })).training(toyProgram(config), toyWeights(config), {
      ...gradientsAsMoments,
      axes: toyAxes,
      paddingRows: options.paddingRows,
    });
    let first: string[] | undefined;
    for (let repeat = 0; repeat < 20; repeat++) {
      const { loss } = await training.step(whole(batch), { seed: 0, epoch: 0, step: 0, learningRate: 0 });
      expect(Math.abs(loss - toy.loss)).toBeLessThan(1e-5);
      const m = training.optimizerState().slots.m!;
      const now = Object.values(m).map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'));
      first ??= now;
      expect(now).toEqual(first);
    }
    const m = training.optimizerState().slots.m!;
    for (const [name, { norm, sums }] of Object.entries(toy.gradients)) {
      const random = generator(7);
      for (const expected of sums) {
        const sum = m[name]!.reduce((total, x) => total + (random() < 0.5 ? x : -x), 0);
        // The gradient of a key's bias is 0 except for rounding, because softmax does not change with a shift.
        expect(Math.abs(sum - expected), name).toBeLessThan(1e-4 * norm + 1e-7);
      }
    }
    await training.dispose();
  }
});

test('more shapes than live sessions, all in turn', async () => {
  const [eager, compiled] = [await openRuntime('eager', { backend: 'cpu' }), await openRuntime(COMPILED)].map((runtime) =>
    runtime.inference((_, { x }) => ({ y: tf.sum(tf.square(x!)) }), {}),
  );
  const inputs = Array.from({ length: 60 }, (_, i) => ({
    x: { dtype: 'float32' as const, shape: [1 + (i % 30)], data: new Float32Array(1 + (i % 30)).fill(i) },
  }));
  expect(await Promise.all(inputs.map((x) => compiled!.run(x)))).toEqual(await Promise.all(inputs.map((x) => eager!.run(x))));
  await compiled!.dispose();
});

test('the screen shows no banner and no warning, only what the program prints', () => {
  const script = `
    const { openRuntime } = await import('./steps/ml/device/open.ts');
    const { tf } = await import('./steps/ml/runtime/tfjs.ts');
    for (const name of ['eager', '${COMPILED}']) {
      const runtime = await openRuntime(name, { threads: 1, backend: 'cpu' });
      const x = { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) };
      const { y } = await runtime.inference((_, { x }) => ({ y: tf.erf(tf.add(x, 1)) }), {}).run({ x });
    }
    console.log('said');`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: 'said\n', stderr: '', status: 0 });
});

test('a program that cannot be traced is rejected with a clear message', async () => {
  const runtime = await openRuntime(COMPILED);
  const x = { x: { dtype: 'float32' as const, shape: [2], data: Float32Array.of(1, 2) } };
  const run = (f: (x: tf.Tensor) => tf.Tensor) => runtime.inference((_, { x }) => ({ y: f(x!) }), {}).run(x);
  await expect(run((x) => tf.acosh(x))).rejects.toThrow('The TensorFlow.js op Acosh cannot be traced yet');
  await expect(run((x) => tf.scalar(x.dataSync()[0]!))).rejects.toThrow('A program must not read the values of its tensors');
  // And the next one works.
  expect((await run((x) => tf.neg(x))).y!.data).toEqual(Float32Array.of(-1, -2));
});
