/** ELECTRA and ModernBERT folders like those on the hub: other heads, older fields of config.json, names without a prefix. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel, type ModelStart, saveModel, startModel } from '../../../../steps/ml/models/model-folder.ts';
import { modernBert } from '../../../../steps/ml/models/modernbert.ts';
import { readSafetensors, type StoredTensor, writeSafetensors } from '../../../../steps/ml/models/safetensors.ts';
import { temporary } from '../../rig.ts';

const golden = join(import.meta.dirname, '../../../golden');

/** A model to be trained, and the log messages of its start. */
async function start(folder: string, options: Partial<ModelStart> = {}) {
  const said: string[] = [];
  const labels = ['no', 'perhaps', 'yes'];
  const model = await startModel(folder, { task: 'text-classification', labels, seed: 1, say: (text) => void said.push(text), ...options });
  return { ...model, said };
}

/** A golden checkpoint with other weights. */
async function changed(name: string, change: (tensors: Record<string, StoredTensor>) => Record<string, StoredTensor>): Promise<string> {
  const folder = temporary();
  cpSync(join(golden, name, 'checkpoint'), folder, { recursive: true });
  await writeSafetensors(join(folder, 'model.safetensors'), change(await readSafetensors(join(folder, 'model.safetensors'))));
  return folder;
}

const without = (part: string, tensors: Record<string, StoredTensor>) =>
  Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith(part)));

test('the head of an ELECTRA discriminator is ignored, and a classifier is randomly initialized', async () => {
  const folder = await changed('electra', (tensors) => ({
    ...without('classifier', tensors),
    'discriminator_predictions.dense.bias': tensors['classifier.dense.bias']!,
  }));
  expect((await start(folder)).said).toEqual([
    '39 weights read from model.safetensors',
    'randomly initialized: classifier.dense.weight, classifier.dense.bias, classifier.out_proj.weight, classifier.out_proj.bias',
    'ignored, because an electra model for text-classification does not use them: discriminator_predictions.dense.bias',
  ]);
});

test('an ELECTRA generator can have a copy of the embeddings, which must be equal', async () => {
  const copied = await changed('electra/masked-lm', (tensors) => ({
    ...tensors,
    'generator_lm_head.weight': tensors['electra.embeddings.word_embeddings.weight']!,
  }));
  expect((await loadModel(copied)).weights).toEqual((await loadModel(join(golden, 'electra/masked-lm/checkpoint'))).weights);
  const other = await changed('electra/masked-lm', (tensors) => ({
    ...tensors,
    'generator_lm_head.weight': { ...tensors['electra.embeddings.word_embeddings.weight']!, bytes: new Uint8Array(41 * 8 * 4) },
  }));
  await expect(loadModel(other)).rejects.toThrow('generator_lm_head.weight differs from electra.embeddings.word_embeddings.weight');
});

test("a classifier takes its dense layer from ModernBERT's masked language model", async () => {
  const folder = await changed('modernbert/masked-lm', (tensors) => tensors);
  const { said, weights } = await start(folder);
  expect(said).toEqual([
    '22 weights read from model.safetensors',
    'randomly initialized: classifier.weight, classifier.bias',
    'ignored, because a modernbert model for text-classification does not use them: decoder.bias',
  ]);
  expect(weights['head.dense.weight']).toEqual((await loadModel(folder)).weights['head.dense.weight']);
});

test("question-answering does not use ModernBERT's classifiers of other tasks, whatever their name and size", async () => {
  const answering: Partial<ModelStart> = { task: 'question-answering', labels: [] };
  const fresh = 'randomly initialized: classifier.weight, classifier.bias';
  for (const [change, outputs] of [
    ['modernbert', 3],
    ['modernbert/token-classification', 2],
  ] as const) {
    const folder = await changed(change, (tensors) => {
      const rows = (name: string, width: number) => ({ ...tensors[name]!, bytes: tensors[name]!.bytes.slice(0, 4 * outputs * width) });
      const width = tensors['classifier.weight']!.shape[1]!;
      return {
        ...tensors,
        'classifier.weight': { ...rows('classifier.weight', width), shape: [outputs, width] },
        'classifier.bias': { ...rows('classifier.bias', 1), shape: [outputs] },
      };
    });
    expect((await start(folder, answering)).said).toContain(fresh);
  }
  const kept = await start(join(golden, 'modernbert/question-answering/checkpoint'), answering);
  expect(kept.said).toHaveLength(1);
  const { weights } = await loadModel(join(golden, 'modernbert/question-answering/checkpoint'));
  expect(kept.weights).toEqual(weights);
  await expect(start(join(golden, 'modernbert/question-answering/checkpoint'))).rejects.toThrow('trained for the labels LABEL_0, LABEL_1');
});

test('a base ModernBERT has no prefix; a layer beyond those of config.json is an error with and without it', async () => {
  const bare = (tensors: Record<string, StoredTensor>) =>
    Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name.replace(/^model\./, ''), tensor]));
  const { weights } = await start(await changed('modernbert', bare));
  expect(weights).toEqual((await start(join(golden, 'modernbert/checkpoint'))).weights);
  for (const prefix of ['', 'model.']) {
    const name = `${prefix}layers.3.mlp_norm.weight`;
    const deeper = await changed('modernbert', (tensors) => {
      const own = prefix === '' ? bare(tensors) : tensors;
      return { ...own, [name]: tensors['model.final_norm.weight']! };
    });
    await expect(start(deeper)).rejects.toThrow(`it has unexpected weights: ${name}`);
  }
});

test('older fields of a ModernBERT config mean the same as those of transformers 5', () => {
  const older = {
    num_hidden_layers: 5,
    global_attn_every_n_layers: 3,
    global_rope_theta: 80000,
    local_rope_theta: 500,
    rope_scaling: null,
  };
  const newer = {
    num_hidden_layers: 5,
    layer_types: ['full_attention', 'sliding_attention', 'sliding_attention', 'full_attention', 'sliding_attention'],
    rope_parameters: {
      full_attention: { rope_type: 'default', rope_theta: 80000 },
      sliding_attention: { rope_type: 'default', rope_theta: 500 },
    },
  };
  expect(modernBert.configure(older)).toEqual(modernBert.configure(newer));
  // Fields that affect only how transformers computes change nothing.
  const same = { reference_compile: true, deterministic_flash_attn: true, sparse_prediction: true, position_embedding_type: 'absolute' };
  expect(modernBert.configure({ ...older, ...same })).toEqual(modernBert.configure(older));
  expect(modernBert.configure({}).layer_types.filter((type: string) => type === 'full_attention')).toHaveLength(8);
  expect(modernBert.configure({}).rope_theta).toEqual({ full_attention: 160000, sliding_attention: 10000 });
});

test.each([
  [{ rope_parameters: { full_attention: { rope_type: 'yarn', factor: 4 } } }, 'rope_parameters.full_attention.rope_type "yarn" is not'],
  [{ rope_parameters: { rope_type: 'default', rope_theta: 1e4 } }, 'rope_parameters {"rope_type":"default","rope_theta":10000} is not'],
  [{ rope_parameters: { sliding_attention: { rope_theta: 0 } } }, 'rope_parameters.sliding_attention.rope_theta is 0, but must be'],
  [{ rope_scaling: { type: 'linear', factor: 2 } }, 'rope_scaling {"type":"linear","factor":2} is not supported'],
  [{ local_rope_theta: null }, 'local_rope_theta null is not supported'],
  [{ layer_types: ['full_attention'] }, 'layer_types is ["full_attention"], but must contain a type for each of the 22 layers'],
  [{ num_hidden_layers: 1, layer_types: ['chunked_attention'] }, 'layer_types is ["chunked_attention"]'],
  [{ global_attn_every_n_layers: 0 }, 'global_attn_every_n_layers is 0, but must be a whole number greater than 0'],
  [{ classifier_pooling: 'max' }, 'classifier_pooling "max" is not supported'],
  [{ head_dim: 32 }, 'head_dim 32 is not supported'],
  [{ hidden_size: 36, num_attention_heads: 12 }, 'hidden_size 36 gives 12 attention heads a width of 3'],
  [{ initializer_cutoff_factor: 0.01 }, 'initializer_cutoff_factor is 0.01, but must be at least 0.1'],
  [{ norm_bias: 'no' }, 'norm_bias is "no", but must be true or false'],
  [{ vocab_size: 100 }, 'pad_token_id 50283 is not in a vocabulary of 100'],
])('an unsupported ModernBERT config is an error that names the field: %j', (fields, message) => {
  expect(() => modernBert.configure(fields)).toThrow(`config.json: ${message}`);
});

test('ModernBERT is initialized as in transformers: outputs of layers are smaller, and no weight exceeds the cutoff', async () => {
  const folder = temporary();
  const sizes = { vocab_size: 300, hidden_size: 64, num_hidden_layers: 8, num_attention_heads: 4, intermediate_size: 96, pad_token_id: 0 };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ model_type: 'modernbert', ...sizes }));
  const { weights } = await start(folder);
  // Truncation at two deviations reduces the deviation of a normal distribution to 0.8796 of its value.
  for (const [name, deviation] of [
    ['model.embeddings.tok_embeddings.weight', 0.02],
    ['model.layers.3.attn.Wqkv.weight', 0.02],
    ['model.layers.3.attn.Wo.weight', 0.005],
    ['model.layers.3.mlp.Wo.weight', 0.005],
    ['head.dense.weight', 0.005],
    ['classifier.weight', 0.125],
  ] as const) {
    const values = Array.from(weights[name]!.data);
    expect(Math.max(...values.map(Math.abs)), name).toBeLessThanOrEqual(2 * deviation);
    const found = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(Math.abs(found / (0.8796 * deviation) - 1), name).toBeLessThan(name === 'classifier.weight' ? 0.15 : 0.03);
  }
});

test('a ModernBERT without decoder_bias has no such weight, and can be loaded and saved', async () => {
  const folder = await changed('modernbert/masked-lm', ({ 'decoder.bias': _, ...tensors }) => tensors);
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, decoder_bias: false }));
  const model = await loadModel(folder);
  expect(model.weights).not.toHaveProperty(['decoder.bias']);
  const saved = temporary();
  await saveModel(saved, model);
  expect((await loadModel(saved)).weights).toEqual(model.weights);
  // transformers does not accept whole numbers here.
  const text = readFileSync(join(saved, 'config.json'), 'utf8');
  expect(text).toContain('"initializer_cutoff_factor": 2.0');
  expect(text).toContain('"rope_theta": 20.0');
});
