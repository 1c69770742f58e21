/** The parts of `tunesmith models`: the table, the workload of a training, the calibration and the lengths of texts. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { secondsOf, speedOf } from '../../../steps/choose/calibration.ts';
import type { ProbeResult } from '../../../steps/choose/calibration-process.ts';
import { BOX_MODELS, HUB_MODELS } from '../../../steps/choose/hub-models.ts';
import { lengthsOf, readSample } from '../../../steps/choose/lengths.ts';
import { architectureOf, parametersOf, type Work, workloadOf } from '../../../steps/choose/workload.ts';
import type { ConfigFile, Task } from '../../../steps/ml/models/config.ts';
import { readConfig } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { openSplit, readTokensInfo } from '../../../steps/ml/models/token-dataset.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import golden from '../../golden/hub-models.json' with { type: 'json' };
import { ranStep, table } from '../rig.ts';
import { modelOf, wordsOf } from '../small.ts';

const TASK: Record<string, Task> = { gpt2: 'causal-lm', t5: 'seq2seq' };

test.each(HUB_MODELS)(
  '$name has as many parameters as in transformers, and as many as our architecture',
  ({ name, config, parameters }) => {
    expect(parameters).toBe((golden as Record<string, number>)[name]);
    const ours = parametersOf(architectureOf(config, TASK[config.model_type] ?? 'masked-lm'));
    // ELECTRA's own head detects replaced tokens: a dense layer and a score, instead of a dense layer, a norm and the biases of the tokens.
    const { hidden_size: H, embedding_size: E, vocab_size: V } = config as Record<string, number>;
    expect(ours).toBe(config.model_type === 'electra' ? parameters - (H! * H! + H! + H! + 1) + (H! * E! + E! + 2 * E! + V!) : parameters);
  },
);

test.each(HUB_MODELS)('$name: the page and the licence are known, and the file has the size of its weights', (model) => {
  expect(model.name).toMatch(/^[\w-]+\/[\w.-]+$/);
  expect(['Apache-2.0', 'MIT']).toContain(model.licence);
  // GPT-2 stores its masks too, and BERT the head for the next sentence.
  expect(model.bytes / (4 * model.parameters)).toBeGreaterThan(0.99);
  expect(model.bytes / (4 * model.parameters)).toBeLessThan(1.15);
});

test('the table of the package has its models, and the pre-trained one has the licence of its card and the parameters of its file', async () => {
  const models = join(import.meta.dirname, '../../../pipelines/models');
  const folders = readdirSync(models, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(Object.keys(BOX_MODELS).sort()).toEqual(folders.map(({ name }) => name).sort());
  const folder = join(models, 'tunesmith-small');
  const card = parse(readFileSync(join(folder, 'README.md'), 'utf8').split('---\n')[1]!);
  const { languages, licence } = BOX_MODELS['tunesmith-small']!;
  expect([languages, licence.toLowerCase()]).toEqual([card.language === 'en' ? 'English' : card.language, card.license]);
  const tensors = Object.entries(await readSafetensors(join(folder, 'model.safetensors')));
  // The pooler is for text-classification.
  const ofTask = tensors.filter(([name]) => !name.startsWith('bert.pooler.'));
  const stored = ofTask.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(parametersOf(architectureOf(await readConfig(folder), 'masked-lm'))).toBe(stored);
});

test.each([
  ['bert', { model_type: 'bert', num_hidden_layers: 7 }, 'text-classification'],
  [
    'albert',
    { model_type: 'albert', num_hidden_layers: 7, hidden_size: 64, num_attention_heads: 4, intermediate_size: 128 },
    'token-classification',
  ],
  ['modernbert', { model_type: 'modernbert', num_hidden_layers: 9, vocab_size: 50368 }, 'masked-lm'],
  ['gpt2', { model_type: 'gpt2', n_layer: 6 }, 'causal-lm'],
] as [string, ConfigFile, Task][])('%s: a few layers stand for all', (type, config, task) => {
  const shape = { sequences: 4, length: 32, targetLength: 0 };
  // An unknown number of layer types makes the tracing take all layers; ModernBERT reads them.
  const types = Array.from({ length: 9 }, (_, layer) => (layer % 3 === 0 ? 'full_attention' : 'sliding_attention'));
  const whole = workloadOf({ ...config, layer_types: type === 'modernbert' ? types : [] }, task, shape);
  const few = workloadOf(config, task, shape);
  for (const part of ['step', 'memory'] as const)
    for (const [name, value] of Object.entries(whole[part])) {
      if (value === 0) continue;
      expect((few[part] as unknown as Record<string, number>)[name]! / value, name).toBeCloseTo(1, 1);
    }
});

test('the cost of each kind of work is found from probes that mix them', () => {
  const cost: Work = { elements: 4e-11, products: 3e-12, weights: 4e-9, operations: 6e-6 };
  const memory = { weights: 8, gradients: 4, moments: 8, activations: 10, best: 0, teacher: 0 };
  const probe = (work: Work): ProbeResult => {
    const seconds = secondsOf(work, cost);
    return { workload: { step: work, memory, forward: 20 }, first: seconds + 0.003 * work.operations, seconds, peak: 1000 };
  };
  const speed = speedOf({
    runtime: { name: 'onnx', description: '', device: 'cpu' },
    startup: 1,
    probes: [
      probe({ elements: 1e5, products: 1e5, weights: 3e4, operations: 400 }),
      probe({ elements: 2e8, products: 2e9, weights: 2e5, operations: 200 }),
      probe({ elements: 1.5e8, products: 4e10, weights: 15e6, operations: 200 }),
      probe({ elements: 1e6, products: 1e6, weights: 13e6, operations: 150 }),
    ],
  });
  for (const [kind, value] of Object.entries(cost)) expect(speed.step[kind as keyof Work] / value, kind).toBeCloseTo(1, 3);
  expect(speed.compile).toBeCloseTo(0.003);
});

const TEXT = 'the quick brown fox jumps over the lazy dog. it was a sunny day and nobody wanted to work';
const words = TEXT.split(' ');
const rows = Array.from({ length: 40 }, (_, i) => ({
  id: String(i),
  text: words.slice(0, 1 + (i % words.length)).join(' '),
  label: i % 2 ? 'a' : 'b',
  split: 'train',
}));

test.each(['text-classification', 'masked-lm'] as Task[])('%s: the lengths are those of the tokens that tokenize writes', async (task) => {
  const model = modelOf(wordsOf(TEXT), { max_position_embeddings: 64 });
  const data = await table(rows);
  const { outputs } = await ranStep(tokenize, { task, max_length: 12 }, { data, model });
  const info = await readTokensInfo(outputs.tokens!);
  const split = await openSplit(outputs.tokens!, info, 'train');
  const lengths = await lengthsOf(await readSample(data, { task, column: undefined }), model, task, 12);
  const sorted = (one: { sequences: number; length(i: number): number }) =>
    Array.from({ length: one.sequences }, (_, i) => one.length(i)).sort((a, b) => a - b);
  expect(sorted(lengths)).toEqual(sorted(split));
  split.close();
});

test('without a column of splits, a tenth of the rows each is for validation and for the test', async () => {
  const data = await table(rows.map(({ split: _, ...row }) => row));
  expect(await readSample(data, { task: 'text-classification', column: undefined })).toMatchObject({ train: 32, validation: 4 });
  await expect(readSample(data, { task: 'seq2seq', column: undefined })).rejects.toThrow('the data have no column `target`');
  writeFileSync(join(data, 'card.json'), '{"text":"label"}');
  expect((await readSample(data, { task: 'text-classification', column: undefined })).texts.toSorted()[0]).toBe('a');
});
