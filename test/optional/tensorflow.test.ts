/**
 * `tunesmith setup tensorflow`, and the runtime `tensorflow` that it built: the tests of runtimes and model families
 * again, and its own. Needs PyPI, the npm registry and a C++ compiler; TUNESMITH_TEST_TENSORFLOW may name a folder
 * where it was set up before (as TUNESMITH_HOME), to save time.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { openRuntime } from '../../steps/ml/device/open.ts';
import { type Model, startModel } from '../../steps/ml/models/model-folder.ts';
import { embedding } from '../../steps/ml/runtime/ops.ts';
import type { HostTensor, HostTensors, Part, Program, Runtime } from '../../steps/ml/runtime/runtime.ts';
import { type Binding, hold } from '../../steps/ml/runtime/tensorflow/session.ts';
import { tf } from '../../steps/ml/runtime/tfjs.ts';
import train from '../../steps/train/step.ts';
import { project, root } from '../rig.ts';
import { adamW, gradientsAsMoments, whole } from '../steps/ml/runtime/options.ts';
import { generator, tiny, toyBatch, toyProgram, toyWeights } from '../steps/ml/runtime/toy.ts';
import { ranStep } from '../steps/rig.ts';
import { smallModel, smallTokens } from '../steps/small.ts';

// Before the imports that read it.
vi.hoisted(() => {
  process.env.TUNESMITH_TEST_RUNTIME = 'tensorflow';
});

const given = process.env.TUNESMITH_TEST_TENSORFLOW;
const home = given ?? realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-tensorflow-')));
process.env.TUNESMITH_HOME = home;
afterAll(() => {
  if (!given) rmSync(home, { recursive: true, force: true });
});

test('setup builds it, and does nothing the second time', async () => {
  const p = project({}, { TUNESMITH_HOME: home });
  const first = await p.run('setup', 'tensorflow');
  console.log(first.stdout);
  expect(first.code, first.stderr).toBe(0);
  const second = await p.run('setup', 'tensorflow');
  expect(second.code, second.stderr).toBe(0);
  expect(second.stdout).toContain('already set up');
});

test('ten steps of BERT with dropout: losses within 1e-4, weights as one vector within 1e-3', async () => {
  const model = await smallBert();
  const cpu = await tenSteps(await openRuntime('eager', { backend: 'cpu' }), model);
  const tensorflow = await openRuntime('eager', { backend: 'tensorflow' });
  expect(tensorflow.description).toMatch(/TensorFlow 2\.\d+/);
  for (const runtime of [tensorflow, await openRuntime('tensorflow'), await openRuntime('onnx')]) {
    const { losses, weights } = await tenSteps(runtime, model);
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - cpu.losses[i]!), runtime.description).toBeLessThan(1e-4);
    expect(distance(weights, cpu.weights), runtime.description).toBeLessThan(1e-3);
  }
  expect(cpu.losses.at(-1)).toBeLessThan(cpu.losses[0]!); // it did learn
});

describe('token attributions', () => import('../steps/ml/answering/attribution.test.ts').then(() => {}));
describe('kernels', () => import('../steps/ml/runtime/kernels.test.ts').then(() => {}));
describe('ops', () => import('../steps/ml/runtime/ops.test.ts').then(() => {}));
describe('trainings', () => import('../steps/ml/runtime/training.test.ts').then(() => {}));
describe('families', () => import('../steps/ml/models/families.test.ts').then(() => {}));
describe('families for each task', () => import('./variants/family-heads.test.ts').then(() => {}));
describe('families that generate', () => import('../steps/ml/models/generating.test.ts').then(() => {}));
describe('families that generate, with gradient checkpointing', () => import('./variants/generating.test.ts').then(() => {}));
describe('students of a teacher', () => import('../steps/train/distillation.test.ts').then(() => {}));
describe('students for more tasks', () => import('./variants/taught.test.ts').then(() => {}));

describe('the runtime tensorflow', () => {
  const open = () => openRuntime('tensorflow');
  const float = (shape: number[], data: ArrayLike<number>): HostTensor => ({ dtype: 'float32', shape, data: Float32Array.from(data) });

  /**
   * The gradient of a weight is the input of the same name; without one, the program does not depend on the weight.
   */
  const given: Program = (weights, inputs) => ({
    loss: Object.entries(inputs)
      .map(([name, input]) => tf.sum(tf.mul(weights[name]!, input)))
      .reduce((sum, term) => tf.add(sum, term)),
  });

  test('AdamW agrees with that of PyTorch, step by step', async () => {
    const { optimizer } = JSON.parse(readFileSync(join(root, 'test/golden/runtime/runtime.json'), 'utf8'));
    const host = (stored: Record<string, { shape: number[]; data: number[] }>): HostTensors =>
      Object.fromEntries(Object.entries(stored).map(([name, { shape, data }]) => [name, float(shape, data)]));
    for (const { start, steps, weightDecay, maxGradNorm, m, v } of optimizer) {
      const training = (await open()).training(given, host(start), { ...adamW(weightDecay, (name) => name === 'b'), maxGradNorm });
      for (const [step, { rate, gradients, norm, weights }] of steps.entries()) {
        const { gradNorm } = await training.step(whole(host(gradients)), { seed: 0, epoch: 0, step, learningRate: rate });
        if (norm !== null) expect(gradNorm).toBeCloseTo(norm, 4);
        expect(distance(training.weights(), host(weights))).toBeLessThan(1e-5);
      }
      const { slots, step } = training.optimizerState();
      expect(step).toBe(steps.length);
      for (const [moment, expected] of [['m', m], ['v', v]] as const) // biome-ignore format: pairs
        for (const [name, { data }] of Object.entries<{ data: number[] }>(expected))
          for (const [i, x] of data.entries()) expect(Math.abs(slots[moment]![name]![i]! - x)).toBeLessThan(1e-5 * (1 + Math.abs(x)));
      await training.dispose();
    }
  });

  test('a batch in parts equals the whole batch, a frozen weight does not change, and a factor scales the rate', async () => {
    const batch = (rows: number[]) => rowsOf(toyBatch(tiny, 4, 8), rows);
    const config = { ...tiny, dropout: 0 };
    const options = {
      optimizer: { name: 'adamw' as const, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
      weight: (name: string) =>
        name.startsWith('layer.0') ? undefined : { learningRateFactor: name === 'word.weight' ? 0.5 : 1, weightDecay: 0.01 },
      maxGradNorm: 1,
    };
    const at = { seed: 0, epoch: 0, step: 0, learningRate: 1e-3 };
    const start = toyWeights(config);
    const run = async (name: 'tensorflow' | 'onnx', parts: Part[]) => {
      const training = (await openRuntime(name)).training(toyProgram(config), structuredClone(start), options);
      const done = [];
      for (let step = 0; step < 3; step++) done.push(await training.step(parts, { ...at, step }));
      const weights = structuredClone(training.weights());
      await training.dispose();
      return { done, weights };
    };
    const parts = [
      { inputs: batch([0, 1, 2]), share: 0.75 },
      { inputs: batch([3]), share: 0.25 },
    ];
    const one = await run('tensorflow', whole(batch([0, 1, 2, 3])));
    const several = await run('tensorflow', parts);
    const onnx = await run('onnx', parts);
    for (const [i, { loss, gradNorm }] of one.done.entries()) {
      expect(Math.abs(several.done[i]!.loss - loss)).toBeLessThan(1e-6);
      expect(Math.abs(several.done[i]!.gradNorm - gradNorm)).toBeLessThan(1e-5 * gradNorm);
    }
    expect(distance(several.weights, one.weights)).toBeLessThan(1e-5);
    expect(distance(several.weights, onnx.weights)).toBeLessThan(1e-5);
    expect(several.weights['layer.0.query.weight']).toEqual(start['layer.0.query.weight']);
  });

  test("a tensor shares no memory with JavaScript: TensorFlow's threads would give it back, and break V8", async () => {
    await open();
    const { binding } = tf.engine().findBackend('tensorflow') as unknown as { binding: Binding };
    // Many, because only some addresses suit TensorFlow.
    const arrays = Array.from({ length: 200 }, (_, i) => float([16 + i], new Array(16 + i).fill(i)));
    const held = arrays.map((array) => hold(binding, array));
    for (const { data } of arrays) data.fill(-1);
    for (const [i, { id }] of held.entries()) {
      expect([...binding.tensorDataSync(id)]).toEqual(new Array(16 + i).fill(i));
      binding.deleteTensor(id);
    }
  });

  test('a loss or gradients that are not finite change no bit', async () => {
    const training = (await open()).training(given, { w: float([2], [1, 2]) }, { ...adamW(0.01, () => false), maxGradNorm: 1 });
    const step = (data: number[], n: number) =>
      training.step(whole({ w: float([2], data) }), { seed: 0, epoch: 0, step: n, learningRate: 0.1 });
    await step([0.5, -1], 0);
    const before = structuredClone({ weights: training.weights(), state: training.optimizerState() });
    expect((await step([Number.NaN, 1], 1)).loss).toBeNaN();
    expect((await step([3e38, 3e38], 2)).gradNorm).toBe(Number.POSITIVE_INFINITY);
    expect({ weights: training.weights(), state: training.optimizerState() }).toEqual(before);
    await step([1, 1], 3);
    expect(training.weights()).not.toEqual(before.weights);
    expect(() => training.restore({}, before.state)).toThrow('The checkpoint does not contain weight of w in its size, 2.');
    await training.dispose();
  });

  test('gradients of a vocabulary with repeated ids are those of float64 and the same 20 times on all cores', async () => {
    const [vocabulary, width, count] = [30522, 384, 2048];
    const random = generator(3);
    // A third of the ids is one of ten.
    const ids = Int32Array.from({ length: count }, () => Math.floor(random() * (random() < 0.33 ? 10 : vocabulary)));
    const values = Float32Array.from({ length: count * width }, () => random() - 0.5);
    const sums = new Float64Array(vocabulary * width);
    for (const [i, id] of ids.entries()) for (let j = 0; j < width; j++) sums[id * width + j]! += values[i * width + j]!;
    const program: Program = ({ table }, { ids, values }) => ({ loss: tf.sum(tf.mul(embedding(table!, ids!), values!)) as tf.Scalar });
    const training = (await open()).training(
      program,
      { table: float([vocabulary, width], new Float32Array(vocabulary * width)) },
      gradientsAsMoments,
    );
    const inputs = { ids: { dtype: 'int32' as const, shape: [count], data: ids }, values: float([count, width], values) };
    let first: Buffer | undefined;
    for (let repeat = 0; repeat < 20; repeat++) {
      await training.step(whole(inputs), { seed: 0, epoch: 0, step: 0, learningRate: 0 });
      const m = training.optimizerState().slots.m!.table!;
      const bytes = Buffer.from(m.buffer, m.byteOffset, m.byteLength);
      first ??= Buffer.from(bytes);
      expect(bytes.equals(first)).toBe(true);
      if (repeat === 0) expect(Math.max(...batched(m.map((x, i) => Math.abs(x - sums[i]!))))).toBeLessThan(1e-4);
    }
    await training.dispose();
  });

  test('products in bf16: losses within 2%, weights as one vector within 1% of fp32', async () => {
    const model = await smallBert();
    const exact = await tenSteps(await open(), model);
    const runtime = await openRuntime('tensorflow', { precision: 'bf16' });
    expect(runtime.description).toMatch(/, products in bf16$/);
    const { losses, weights } = await tenSteps(runtime, model);
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - exact.losses[i]!) / exact.losses[i]!).toBeLessThan(0.02);
    expect(losses).not.toEqual(exact.losses);
    expect(distance(weights, exact.weights)).toBeLessThan(0.01);
  });

  test('auto measures once per machine, and takes the faster runtime', async () => {
    const file = join(home, 'runtimes.json');
    rmSync(file, { force: true });
    const first = await openRuntime('auto');
    const [measured] = Object.values<Record<string, { milliseconds: number; loss: number }>>(JSON.parse(readFileSync(file, 'utf8')));
    console.log(measured);
    expect(Math.abs(measured!.onnx!.loss - measured!.tensorflow!.loss)).toBeLessThan(1e-3);
    const faster = measured!.onnx!.milliseconds <= measured!.tensorflow!.milliseconds ? 'onnx' : 'tensorflow';
    expect(first.name).toBe(faster);
    const changed = statSync(file).mtimeMs;
    expect((await openRuntime('auto')).name).toBe(faster);
    expect(statSync(file).mtimeMs).toBe(changed);
  });
});

test('auto takes onnx for an optimizer that tensorflow does not support, even if tensorflow is faster', async () => {
  const model = smallModel();
  const options = { epochs: 1, optim: 'adafactor', learning_rate: 0.02 };
  const { log } = await ranStep(train, options, { model, tokens: await smallTokens(model) });
  expect(log).toContainEqual(expect.stringMatching(/^runtime: onnxruntime-node/));
});

test.each(['eager', 'tensorflow'])('a pipeline trains on %s, with no output of TensorFlow on the screen', async (name) => {
  const rows = Array.from({ length: 80 }, (_, i) => `message number ${i} ${i % 2 ? 'buy now' : 'see you'},${i % 2 ? 'spam' : 'ham'}`);
  const p = project(
    { 'p.yaml': PIPELINE.replace('runtime: eager', `runtime: ${name}`), 'mails.csv': `text,label\n${rows.join('\n')}\n` },
    { TUNESMITH_HOME: home },
  );
  cpSync(join(root, 'pipelines/models/bert-tiny'), p.path('model'), { recursive: true });
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  expect(run.screen).not.toMatch(/oneDNN|cpu_feature_guard|cuda|tensorflow\/core|rebuild|node-pre-gyp|Overriding|warning/i);
  const { runtime } = JSON.parse(p.read('.tunesmith/outputs/p/train/model/training.json'));
  expect(runtime).toEqual({ name, description: expect.stringMatching(/TensorFlow 2\.\d+/) });
});

test('loading and using it prints nothing', () => {
  const script = `
    const { openRuntime } = await import('./steps/ml/device/open.ts');
    const x = { dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) };
    const runtime = await openRuntime('eager', { backend: 'tensorflow' });
    const { y } = await runtime.inference((_, { x }) => ({ y: x }), {}).run({ x });
    console.log([...y.data].join());`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: root,
    encoding: 'utf8',
  });
  expect({ stdout, stderr, status }).toEqual({ stdout: '1,2\n', stderr: '', status: 0 });
});

const PIPELINE = `
name: p
steps:
  collect:
    uses: collect
    with: { files: mails.csv }
  split:
    uses: split
    with: { data: "\${{ steps.collect.data }}", stratify: label }
  tokenize:
    uses: tokenize
    with: { data: "\${{ steps.split.data }}", model: ./model, max_length: 16 }
  train:
    uses: train
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: ./model, task: text-classification, epochs: 1, runtime: eager }
`;

/** A BERT of two layers with random weights and the usual dropout. */
async function smallBert(): Promise<Model> {
  const p = project({
    'config.json': JSON.stringify({
      model_type: 'bert',
      vocab_size: 500,
      hidden_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      intermediate_size: 128,
      max_position_embeddings: 64,
    }),
  });
  return startModel(p.folder, { task: 'text-classification', labels: ['a', 'b', 'c'], seed: 5, say: () => {} });
}

async function tenSteps(runtime: Runtime, model: Model): Promise<{ losses: number[]; weights: HostTensors }> {
  const training = runtime.training(model.program, structuredClone(model.weights), {
    ...adamW(0.01, (name) => !model.parameters[name]!.decay),
    maxGradNorm: 1,
    paddingRows: { 'bert.embeddings.word_embeddings.weight': 0 },
  });
  const losses: number[] = [];
  for (let step = 0; step < 10; step++) {
    const { loss } = await training.step(whole(batch(step)), { seed: 3, epoch: 1, step, learningRate: 1e-3 });
    losses.push(loss);
  }
  const weights = structuredClone(training.weights());
  await training.dispose();
  return { losses, weights };
}

/**
 * Rows of two alternating lengths, the second half of the last row padded. A row's label depends on its second token.
 */
function batch(step: number): HostTensors {
  const shape = [8, step % 2 ? 24 : 32];
  const [rows, length] = shape as [number, number];
  const ids = Int32Array.from({ length: rows * length }, (_, i) => 3 + ((i * 7919 + step * 104729) % 497));
  const mask = new Int32Array(rows * length).fill(1);
  ids.fill(0, ids.length - length / 2);
  mask.fill(0, mask.length - length / 2);
  const labels = Int32Array.from({ length: rows }, (_, row) => (row + step) % 3);
  for (const [row, label] of labels.entries()) ids[row * length + 1] = label;
  return {
    input_ids: { dtype: 'int32', shape, data: ids },
    attention_mask: { dtype: 'int32', shape, data: mask },
    labels: { dtype: 'int32', shape: [rows], data: labels },
  };
}

/** Some rows of a batch. */
const rowsOf = (batch: HostTensors, rows: number[]): HostTensors =>
  Object.fromEntries(
    Object.entries(batch).map(([name, { dtype, shape, data }]) => {
      const width = data.length / shape[0]!;
      const taken = rows.flatMap((row) => [...data.subarray(row * width, (row + 1) * width)]);
      return [name, { dtype, shape: [rows.length, ...shape.slice(1)], data: Int32Array.from(taken) }];
    }),
  );

/** The greatest of each thousand, because all at once would be too many arguments. */
function* batched(values: Float32Array): Generator<number> {
  for (let from = 0; from < values.length; from += 1000) yield Math.max(...values.subarray(from, from + 1000));
}

/** Relative difference of all weights as one vector. */
function distance(a: HostTensors, b: HostTensors): number {
  let [difference, norm] = [0, 0];
  for (const [name, { data }] of Object.entries(b))
    for (const [i, x] of data.entries()) {
      difference += (x - a[name]!.data[i]!) ** 2;
      norm += x ** 2;
    }
  return Math.sqrt(difference / norm);
}
