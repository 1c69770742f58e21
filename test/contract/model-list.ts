/** What `tunesmith models` prints for a project with a model and data. */
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import type { Speed } from '../../steps/choose/calibration.ts';
import { machineKey } from '../../steps/ml/device/open.ts';
import { sharedProject } from '../rig.ts';

export const text = (i: number) => `${'a parcel that arrived late '.repeat(1 + (i % 9))}and was fine`;

export const csv = (rows: number) =>
  ['text,label', ...Array.from({ length: rows }, (_, i) => `${text(i)},${i % 2 ? 'good' : 'bad'}`)].join('\n');

/** As if this machine had been measured, which takes long: test/optional/package.test.ts measures it. */
export const SPEED: Speed = {
  runtime: { name: 'onnx', description: 'onnxruntime', device: 'cpu' },
  startup: 1,
  compile: 0.003,
  step: { elements: 4e-10, products: 3e-11, weights: 4e-9, operations: 6e-6 },
  overhead: 3e8,
};

/** The key of the speed in the file. */
export function thisMachine(): string {
  const { version } = createRequire(import.meta.url)('tunesmith/package.json') as { version: string };
  return `${machineKey({ threads: availableParallelism(), device: 'auto' })}, Node ${process.versions.node}, tunesmith ${version}`;
}

export const mine = {
  model_type: 't5',
  vocab_size: 100,
  d_model: 64,
  d_kv: 16,
  d_ff: 128,
  num_layers: 2,
  num_heads: 4,
  decoder_start_token_id: 0,
};

export const p = sharedProject({
  'mine/config.json': JSON.stringify(mine),
  'reviews.csv': csv(400),
  'more.csv': csv(4000),
  'other.csv': 'body\nfirst\nsecond\n',
  'caches/tunesmith/training-speed.json': JSON.stringify({ [thisMachine()]: SPEED }),
});

export const listed = async (...args: string[]) => JSON.parse((await p.run('models', '--json', ...args)).stdout);

export const named = ({ models }: { models: { model: string; seconds: number; memory_bytes: number }[] }, name: string) =>
  models.find(({ model }) => model === name)!;
