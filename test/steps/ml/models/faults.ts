/** Possible faults of the weights and the config.json of a model folder, each applied to an intact one. */
import { mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { saveModel, startModel } from '../../../../steps/ml/models/model-folder.ts';
import { float32, int64, readSafetensors, type StoredTensor, writeSafetensors } from '../../../../steps/ml/models/safetensors.ts';
import { smallModel } from '../../small.ts';

/** A small BERT with weights, which classifies texts as bad or good. */
export async function soundModel(): Promise<string> {
  const folder = smallModel();
  await saveModel(folder, await startModel(folder, { task: 'text-classification', labels: ['bad', 'good'], seed: 1, say: () => {} }));
  return folder;
}

type Tensors = Record<string, StoredTensor>;
export type Fault = (folder: string) => void | Promise<void>;

const weightsOf = (folder: string) => join(folder, 'model.safetensors');

const tensors =
  (change: (tensors: Tensors) => Tensors): Fault =>
  async (folder) =>
    writeSafetensors(weightsOf(folder), change(await readSafetensors(weightsOf(folder))), { format: 'pt' });

const bytes =
  (change: (whole: Buffer) => Buffer): Fault =>
  (folder) =>
    writeFileSync(weightsOf(folder), change(readFileSync(weightsOf(folder))));

export const json =
  (name: string, change: (value: any) => void): Fault =>
  (folder) => {
    const value = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    change(value);
    writeFileSync(join(folder, name), JSON.stringify(value));
  };

export const config = (change: object): Fault => json('config.json', (value) => Object.assign(value, change));

export const text =
  (name: string, content: string): Fault =>
  (folder) =>
    writeFileSync(join(folder, name), content);

/** Two shards and their index, changed. */
const shards =
  (change: (map: Record<string, string>) => unknown): Fault =>
  async (folder) => {
    const all = Object.entries(await readSafetensors(weightsOf(folder)));
    const map: Record<string, string> = {};
    for (const [i, half] of [all.slice(0, 9), all.slice(9)].entries()) {
      const file = `model-0000${i + 1}-of-00002.safetensors`;
      await writeSafetensors(join(folder, file), Object.fromEntries(half));
      for (const [name] of half) map[name] = file;
    }
    rmSync(weightsOf(folder));
    change(map);
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }));
  };

const FFN = 'bert.encoder.layer.0.output.dense.weight';

export const FAULTS: Record<string, Fault> = {
  missing: tensors(({ [FFN]: _, ...rest }) => rest),
  misshapen: tensors((all) => ({ ...all, [FFN]: float32(new Float32Array(8), [2, 4]) })),
  scalar: tensors((all) => ({ ...all, [FFN]: float32(new Float32Array(1), []) })),
  empty: tensors((all) => ({ ...all, [FFN]: float32(new Float32Array(), [0, 32]) })),
  integers: tensors((all) => ({ ...all, 'classifier.bias': int64(BigInt64Array.of(0n, 1n), [2]) })),
  nan: tensors((all) => ({ ...all, 'classifier.bias': float32(Float32Array.of(0, Number.NaN), [2]) })),
  twice: tensors((all) => ({ ...all, 'embeddings.LayerNorm.gamma': all['bert.embeddings.LayerNorm.weight']! })),
  truncated: (folder) => truncateSync(weightsOf(folder), 5000),
  'zero-bytes': (folder) => truncateSync(weightsOf(folder), 0),
  'long-header': bytes((whole) => {
    whole.writeBigUInt64LE(1n << 40n);
    return whole;
  }),
  'lying-offsets': bytes((whole) => Buffer.from(whole.toString('latin1').replace('"data_offsets":[0,', '"data_offsets":[4,'), 'latin1')),
  'trailing-bytes': bytes((whole) => Buffer.concat([whole, Buffer.alloc(8)])),
  'lfs-pointer': text('model.safetensors', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'),
  quantised: bytes((whole) => Buffer.from(whole.toString('latin1').replace('"dtype":"F32"', '"dtype":"Q_4"'), 'latin1')),
  'weights-are-a-folder': (folder) => {
    rmSync(weightsOf(folder));
    mkdirSync(weightsOf(folder));
  },
  pickled: (folder) => renameSync(weightsOf(folder), join(folder, 'pytorch_model.bin')),
  tensorflow: (folder) => renameSync(weightsOf(folder), join(folder, 'tf_model.h5')),
  'shard-missing': shards((map) => Object.assign(map, { [FFN]: 'model-00003-of-00003.safetensors' })),
  'tensor-not-in-its-shard': shards((map) => Object.assign(map, { 'bert.embeddings.other': 'model-00001-of-00002.safetensors' })),
  'tensor-in-another-shard': shards((map) => Object.assign(map, { [FFN]: 'model-00001-of-00002.safetensors' })),
  'tensor-not-in-the-index': shards((map) => Reflect.deleteProperty(map, FFN)),
  'index-of-nothing': shards((map) => Object.keys(map).map((name) => Reflect.deleteProperty(map, name))),
  'config-missing': (folder) => rmSync(join(folder, 'config.json')),
  'config-no-json': text('config.json', '{"model_type": "bert",'),
  'config-a-list': text('config.json', '[]'),
  'config-empty': text('config.json', '{}'),
  'unknown-family': config({ model_type: 'mamba' }),
  'type-no-text': config({ model_type: ['bert'] }),
  'heads-do-not-divide': config({ num_attention_heads: 3 }),
  'size-is-text': config({ hidden_size: '16' }),
  'size-is-negative': config({ num_hidden_layers: -1 }),
  'layers-without-end': config({ num_hidden_layers: 1e9 }),
  narrower: config({ intermediate_size: 48 }),
  'more-layers': config({ num_hidden_layers: 2 }),
  'padding-outside': config({ pad_token_id: 99 }),
  'no-places': config({ model_type: 'roberta', max_position_embeddings: 2, pad_token_id: 1 }),
  relative: config({ position_embedding_type: 'relative_key' }),
  'labels-with-gaps': config({ id2label: { 0: 'bad', 2: 'good' } }),
  'labels-no-object': config({ id2label: 'bad, good' }),
  'more-labels': config({ id2label: { 0: 'bad', 1: 'good', 2: 'odd' } }),
  'other-labels': config({ id2label: { 0: 'ham', 1: 'spam' } }),
  'same-labels': config({ id2label: { 0: 'good', 1: 'good' } }),
  'problem-unknown': config({ problem_type: 'ranking' }),
  'problem-differs': config({ problem_type: 'multi_label_classification' }),
};
