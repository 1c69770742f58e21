/**
 * The estimates of `tunesmith models` against what runs then take: within 15% for the memory, and within 30% for the time. The time
 * needs a machine on which nothing else computes; BUSY=1 leaves it out.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { root, sharedProject } from '../rig.ts';

const WORDS = 'the order came late and the box was open so i asked for my money back but nobody at the shop ever answered'.split(' ');
const text = (row: number, words: number) =>
  Array.from({ length: words }, (_, i) => WORDS[(row * 7 + i * (1 + (row % 5))) % WORDS.length]).join(' ');
const rows = Array.from({ length: 3000 }, (_, i) => `${text(i, 10 + ((i * 37) % 140))},${i % 2 ? 'good' : 'bad'}`);

const pipeline = (model: string, batch: number) => `
name: proof
steps:
  collect: { uses: collect, with: { files: reviews.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}" } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: ${model}, max_length: 128 } }
  train: { uses: train, with: { tokens: "\${{ steps.tokenize.tokens }}", model: ${model}, epochs: 2, batch_size: ${batch} } }
`;

const p = sharedProject({ 'reviews.csv': ['text,label', ...rows].join('\n') });
p.env.XDG_CACHE_HOME = p.path('caches');

/** Of other sizes than the models of the calibration. */
const MODELS = {
  tiny: { batch: 32, config: { hidden_size: 128, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 512 } },
  small: { batch: 16, config: { hidden_size: 384, num_hidden_layers: 3, num_attention_heads: 12, intermediate_size: 1536 } },
};

beforeAll(() => {
  for (const [name, { config }] of Object.entries(MODELS)) {
    mkdirSync(p.path(name));
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      cpSync(join(root, 'pipelines/models/bert-tiny', file), p.path(`${name}/${file}`));
    writeFileSync(p.path(`${name}/config.json`), JSON.stringify({ model_type: 'bert', vocab_size: 30522, ...config }));
  }
});

test.each(Object.keys(MODELS) as (keyof typeof MODELS)[])('%s: the estimates are near to what a run takes', async (name) => {
  const { batch } = MODELS[name];
  const estimate = async () => {
    const args = ['models', name, '--task', 'text-classification', '--data', 'reviews.csv', '--epochs', '2', '--batch-size', String(batch)];
    const { models } = JSON.parse((await p.run(...args, '--calibrate', '--json')).stdout);
    return models.find(({ model }: { model: string }) => model === name) as { memory_bytes: number; seconds: number };
  };
  const before = await estimate();
  p.write(`${name}.yaml`, pipeline(name, batch));
  expect((await p.run('run', `${name}.yaml`, '--plain')).code).toBe(0);
  const after = await estimate();
  const { cells } = JSON.parse((await p.run('runs', 'show', 'latest', '--json')).stdout);
  const train = cells.find(({ cell }: { cell: string }) => cell === 'train') as { seconds: number; usage: { peakBytes: number } };
  // The machine may have changed its speed meanwhile.
  const seconds = (before.seconds + after.seconds) / 2;
  console.log(
    `${name}: memory ${(before.memory_bytes / 1e6).toFixed(0)} MB estimated, ${(train.usage.peakBytes / 1e6).toFixed(0)} MB taken; ` +
      `time ${before.seconds} s before, ${after.seconds} s after, ${train.seconds.toFixed(1)} s taken`,
  );
  expect(Math.abs(before.memory_bytes / train.usage.peakBytes - 1)).toBeLessThan(0.15);
  if (!process.env.BUSY) expect(Math.abs(seconds / train.seconds - 1)).toBeLessThan(0.3);
});
