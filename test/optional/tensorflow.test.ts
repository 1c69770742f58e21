/**
 * `tunesmith setup tensorflow`, and the runtime `tensorflow` on what it built: the tests of runtimes and model families again, and its own. Needs PyPI, the npm registry and a C++
 * compiler; TUNESMITH_TEST_TENSORFLOW names a folder where it was set up before (as TUNESMITH_HOME), to save the time.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { type Model, startModel } from '../../steps/models/checkpoint.ts';
import { openRuntime } from '../../steps/runtime/open.ts';
import type { HostTensors, Runtime } from '../../steps/runtime/runtime.ts';
import { project, root } from '../rig.ts';
import { adamW, whole } from '../steps/runtime/options.ts';

// Before what reads it is imported.
vi.hoisted(() => {
  process.env.TUNESMITH_TEST_RUNTIME = 'tensorflow';
});

const given = process.env.TUNESMITH_TEST_TENSORFLOW;
const home = given ?? realpathSync(mkdtempSync(join(tmpdir(), 'tunesmith-tensorflow-')));
process.env.TUNESMITH_HOME = home;
afterAll(() => {
  if (!given) rmSync(home, { recursive: true, force: true });
});

test('setup builds it, and has nothing to do the second time', async () => {
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

describe('kernels', () => import('../steps/runtime/kernels.test.ts').then(() => {}));
describe('ops', () => import('../steps/runtime/ops.test.ts').then(() => {}));
describe('trainings', () => import('../steps/runtime/training.test.ts').then(() => {}));
describe('families', () => import('../steps/models/families.test.ts').then(() => {}));

test('a pipeline trains on it, with nothing of TensorFlow on the screen', async () => {
  const rows = Array.from({ length: 80 }, (_, i) => `message number ${i} ${i % 2 ? 'buy now' : 'see you'},${i % 2 ? 'spam' : 'ham'}`);
  const p = project({ 'p.yaml': PIPELINE, 'mails.csv': `text,label\n${rows.join('\n')}\n` }, { TUNESMITH_HOME: home });
  cpSync(join(root, 'pipelines/models/bert-tiny'), p.path('model'), { recursive: true });
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  expect(run.screen).not.toMatch(/oneDNN|cpu_feature_guard|cuda|tensorflow\/core|rebuild|node-pre-gyp|Overriding|warning/i);
  const { runtime } = JSON.parse(p.read('.tunesmith/outputs/p/train/model/training.json'));
  expect(runtime.description).toMatch(/TensorFlow 2\.\d+/);
});

test('loading and using it prints nothing', () => {
  const script = `
    const { openRuntime } = await import('./steps/runtime/open.ts');
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

/** A BERT of two layers with a random start, dropout as usual. */
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

/** Rows of two lengths by turns, the second half of the last row padded. A row's label is told by its second token. */
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

/** Relative, of all weights as one vector. */
function distance(a: HostTensors, b: HostTensors): number {
  let [difference, norm] = [0, 0];
  for (const [name, { data }] of Object.entries(b))
    for (const [i, x] of data.entries()) {
      difference += (x - a[name]!.data[i]!) ** 2;
      norm += x ** 2;
    }
  return Math.sqrt(difference / norm);
}
