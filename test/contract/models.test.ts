/** `tunesmith models`: what it lists, estimates and recommends. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import type { Speed } from '../../steps/choose/calibration.ts';
import { machineKey } from '../../steps/ml/device/open.ts';
import { sharedProject } from '../rig.ts';

const text = (i: number) => `${'a parcel that arrived late '.repeat(1 + (i % 9))}and was fine`;
const csv = (rows: number) => ['text,label', ...Array.from({ length: rows }, (_, i) => `${text(i)},${i % 2 ? 'good' : 'bad'}`)].join('\n');
/** As if this machine had been measured, which takes long: test/optional/package.test.ts measures it. */
const SPEED: Speed = {
  runtime: { name: 'onnx', description: 'onnxruntime', device: 'cpu' },
  startup: 1,
  compile: 0.003,
  step: { elements: 4e-10, products: 3e-11, weights: 4e-9, operations: 6e-6 },
  overhead: 3e8,
};

/** The key of the speed in the file. */
function thisMachine(): string {
  const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };
  return `${machineKey({ threads: availableParallelism(), device: 'auto' })}, Node ${process.versions.node}, tunesmith ${version}`;
}

const mine = {
  model_type: 't5',
  vocab_size: 100,
  d_model: 64,
  d_kv: 16,
  d_ff: 128,
  num_layers: 2,
  num_heads: 4,
  decoder_start_token_id: 0,
};
const p = sharedProject({
  'mine/config.json': JSON.stringify(mine),
  'reviews.csv': csv(400),
  'more.csv': csv(4000),
  'other.csv': 'body\nfirst\nsecond\n',
  'caches/tunesmith/training-speed.json': JSON.stringify({ [thisMachine()]: SPEED }),
});
p.env.XDG_CACHE_HOME = p.path('caches');

const listed = async (...args: string[]) => JSON.parse((await p.run('models', '--json', ...args)).stdout);

const named = ({ models }: { models: { model: string; seconds: number; memory_bytes: number }[] }, name: string) =>
  models.find(({ model }) => model === name)!;

test('it lists the models of the package and of the hub with all facts, and uses the speed that is kept', async () => {
  const { code, stdout, stderr } = await p.run('models', '--json');
  expect([code, stderr]).toEqual([0, '']);
  const found = JSON.parse(stdout);
  for (const one of found.models) {
    const words = { family: expect.stringMatching(/./), languages: expect.stringMatching(/./), licence: expect.stringMatching(/./) };
    expect(one).toMatchObject(words);
    expect(one.tasks).toContain(one.task);
    for (const figure of ['parameters', 'memory_bytes', 'seconds', 'max_length']) expect(one[figure], figure).toBeGreaterThan(0);
  }
  expect(named(found, 'bert-tiny')).toMatchObject({ source: 'package', task: 'text-classification' });
  expect(named(found, 'google-t5/t5-small')).toMatchObject({ source: 'hub', tasks: ['seq2seq'] });
  const [bert, half] = ['google-bert/bert-base-uncased', 'distilbert/distilbert-base-uncased'].map((name) => named(found, name));
  expect(bert!.memory_bytes).toBeGreaterThan(half!.memory_bytes);
  expect(bert!.seconds).toBeGreaterThan(1.5 * half!.seconds);
});

test('the table fits into 80 columns, explains its notes and ends with a recommendation', async () => {
  const { stdout } = await p.run('models', '--task', 'causal-lm', '--max-length', '64', '--max-time', '100h');
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  expect(stdout).toMatch(/^gpt2-tiny +[\d.]+ MB +\S.* +yes +1/m);
  expect(stdout).toMatch(/^openai-community\/gpt2 +[\d.]+ GB +\S.* +(yes|no)/m);
  expect(stdout).not.toContain('t5-');
  expect(stdout).toMatch(/^note 1: has no weights: its training starts from random ones$/m);
  expect(stdout).toMatch(/^Estimates for causal-lm: 3 epochs over 1,000 texts of 64 tokens/m);
  expect(stdout).toMatch(/^recommended: openai-community\/gpt2: it is the largest of the 2/m);
});

test('with --data, the time is that of the data', async () => {
  const lm = (...args: string[]) => listed('--task', 'causal-lm', ...args);
  const [few, more] = [await lm('--data', 'reviews.csv'), await lm('--data', 'more.csv')];
  const note = 'tokens of models of the hub, such as openai-community/gpt2, were counted with the tokenizer of bert-tiny';
  expect(few).toMatchObject({ rows: { train: 320, validation: 40 }, notes: [note] });
  expect(more.rows).toEqual({ train: 3200, validation: 400 });
  const [before, after] = [few, more].map((found) => named(found, 'openai-community/gpt2'));
  // Loading and compiling take the same time for both.
  expect(after!.seconds / before!.seconds).toBeGreaterThan(3);
  expect(after!.seconds / before!.seconds).toBeLessThan(10.5);
  const once = await lm('--data', 'more.csv', '--epochs', '1', '--batch-size', '8');
  expect(once).toMatchObject({ epochs: 1, batch_size: 8 });
  expect(named(once, 'openai-community/gpt2').memory_bytes).toBeLessThan(after!.memory_bytes);
});

test('a model folder of the user is listed too; if no model trains in time, the fastest is recommended', async () => {
  const found = await listed('mine', '--task', 'seq2seq', '--max-time', '1s');
  expect(named(found, 'mine')).toMatchObject({ source: 'folder', family: 't5', note: expect.stringContaining('no weights') });
  expect(found.recommended.reason).toContain('it is the fastest');
});

test.each([
  [['--task', 'translation'], 'unknown task "translation"'],
  [['--data', 'missing.csv'], 'missing.csv does not exist'],
  [['--column', 'body'], '--column needs --data'],
  [['--data', 'other.csv', '--task', 'seq2seq'], 'the data have no column `text`'],
  [['--max-time', 'soon'], 'It must be a time such as 90s, 20m or 2h'],
  [['mine', '--task', 'text-classification'], 'a t5 model cannot be trained for text-classification'],
])('models %j is an error', async (args, message) => {
  const { code, stderr } = await p.run('models', ...args);
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(message);
});
