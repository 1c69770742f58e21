/** Model folders: which are read, which weights are randomly initialized, and which errors are reported. */
import { cpSync, mkdirSync, readFileSync, rmdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel, saveModel, startModel } from '../../../../steps/ml/models/model-folder.ts';
import { float32, readSafetensors, type StoredTensor, toFloat32, writeSafetensors } from '../../../../steps/ml/models/safetensors.ts';
import { temporary } from '../../rig.ts';

const golden = join(import.meta.dirname, '../../../golden/bert/checkpoint');
const labels = ['no', 'perhaps', 'yes'];
const task = 'text-classification';

function copy(): string {
  const folder = temporary();
  cpSync(golden, folder, { recursive: true });
  return folder;
}

/** The golden checkpoint with its weights changed. */
async function changed(change: (tensors: Record<string, StoredTensor>) => Record<string, StoredTensor>): Promise<string> {
  const folder = copy();
  await writeSafetensors(join(folder, 'model.safetensors'), change(await readSafetensors(join(golden, 'model.safetensors'))));
  return folder;
}

async function start(folder: string, { names = labels, seed = 1, dropout = undefined as number | undefined, replaceHead = false } = {}) {
  const said: string[] = [];
  const model = await startModel(folder, { task, labels: names, replaceHead, seed, dropout, say: (line) => said.push(line) });
  return { ...model, said };
}

function config(folder: string, change: object): string {
  const file = join(folder, 'config.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
  return folder;
}

const renamed = (tensors: Record<string, StoredTensor>, rename: (name: string) => string) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [rename(name), tensor]));

/** The upper halves of float32: truncated to bfloat16. */
const bfloat16 = (tensor: StoredTensor): StoredTensor => {
  const words = new Uint16Array(toFloat32(tensor)!.buffer);
  return {
    dtype: 'BF16',
    shape: tensor.shape,
    bytes: new Uint8Array(Uint16Array.from({ length: words.length / 2 }, (_, i) => words[2 * i + 1]!).buffer),
  };
};

test('a config without weights is initialized as in transformers, from the seed alone', async () => {
  const folder = copy();
  rmSync(join(folder, 'model.safetensors'));
  const { weights, said } = await start(folder);
  expect(said).toEqual(['no model.safetensors: all weights are randomly initialized']);
  const words = weights['bert.embeddings.word_embeddings.weight']!.data as Float32Array;
  expect(words.subarray(0, 32).every((x) => x === 0)).toBe(true);
  const rest = words.subarray(32);
  const deviation = Math.sqrt(rest.reduce((sum, x) => sum + x * x, 0) / rest.length);
  expect(deviation).toBeCloseTo(0.2, 1.5);
  expect(new Set(weights['bert.encoder.layer.1.output.LayerNorm.weight']!.data)).toEqual(new Set([1]));
  expect(new Set(weights['classifier.bias']!.data)).toEqual(new Set([0]));
  expect((await start(folder)).weights).toEqual(weights);
  const other = (await start(folder, { seed: 2 })).weights['bert.embeddings.word_embeddings.weight']!.data;
  expect(other).not.toEqual(words);
  // Another number of labels changes no weight but the classifier's.
  expect((await start(folder, { names: ['a', 'b'] })).weights['bert.embeddings.word_embeddings.weight']!.data).toEqual(words);
});

test('a size that no machine has memory for is reported before initialization', async () => {
  const folder = config(copy(), { vocab_size: 1e11 });
  rmSync(join(folder, 'model.safetensors'));
  await expect(start(folder)).rejects.toMatchObject({
    message: expect.stringMatching(/^config.json: a model of these sizes has 12801 GB of weights, but this machine has \d+ GB of memory$/),
    hint: expect.stringContaining('bert.embeddings.word_embeddings.weight [100000000000,32]'),
  });
});

test('sinusoidal_pos_embds: position embeddings of a DistilBERT are initialized as sines and cosines', async () => {
  const folder = temporary();
  const json = { model_type: 'distilbert', vocab_size: 7, max_position_embeddings: 3, n_layers: 1, n_heads: 1, dim: 4, hidden_dim: 4 };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...json, sinusoidal_pos_embds: true }));
  const { data } = (await start(folder)).weights['distilbert.embeddings.position_embeddings.weight']!;
  // The values of such a model in transformers 5.23.
  const expected = [
    [0, 1, 0, 1],
    [0.8414709848, 0.5403023059, 0.0099998333, 0.9999500004],
    [0.9092974268, -0.4161468365, 0.0199986667, 0.9998000067],
  ];
  for (const [i, x] of expected.flat().entries()) expect(data[i]).toBeCloseTo(x, 6);
  await expect(start(config(folder, { sinusoidal_pos_embds: 'yes' }))).rejects.toThrow(
    'sinusoidal_pos_embds is "yes", but must be true or false',
  );
});

test('weights are found by all names that the hub has used for them, in one file or in shards', async () => {
  const expected = (await start(golden)).weights;
  const old = await changed((tensors) => ({
    ...renamed(tensors, (name) => name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')),
    'bert.embeddings.position_ids': { dtype: 'I64', shape: [1, 2], bytes: new Uint8Array(16) },
  }));
  expect((await start(old)).weights).toEqual(expected);

  const bare = await changed((tensors) => renamed(tensors, (name) => name.replace(/^bert\./, '')));
  expect((await start(bare)).weights).toEqual(expected);

  const sharded = copy();
  const tensors = Object.entries(await readSafetensors(join(golden, 'model.safetensors')));
  const weight_map: Record<string, string> = {};
  for (const [i, half] of [tensors.slice(0, 9), tensors.slice(9)].entries()) {
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    await writeSafetensors(join(sharded, file), Object.fromEntries(half));
    for (const [name] of half) weight_map[name] = file;
  }
  writeFileSync(join(sharded, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map }));
  rmSync(join(sharded, 'model.safetensors'));
  expect((await start(sharded)).weights).toEqual(expected);
  const index = (change: Record<string, string>) =>
    writeFileSync(join(sharded, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { ...weight_map, ...change } }));
  const [name] = tensors[0]!;
  index({ [name]: 'model-00002-of-00002.safetensors' });
  await expect(start(sharded)).rejects.toThrow(
    `model.safetensors.index.json lists ${name} in model-00002-of-00002.safetensors, but it is in model-00001-of-00002.safetensors`,
  );
  index({ nobody: 'model-00001-of-00002.safetensors' });
  await expect(start(sharded)).rejects.toThrow('lists nobody in model-00001-of-00002.safetensors, but no shard contains it');
  index({});
  rmSync(join(sharded, 'model-00002-of-00002.safetensors'));
  await expect(start(sharded)).rejects.toThrow(/lacks model-00002-of-00002.safetensors, which model.safetensors.index.json lists/);
});

test('half precision is converted to float32', async () => {
  const full = (await start(golden)).weights;
  const half = (
    await start(await changed((tensors) => Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, bfloat16(t)]))))
  ).weights;
  for (const [name, { data }] of Object.entries(half)) {
    expect(data).toBeInstanceOf(Float32Array);
    for (const [i, x] of data.entries()) expect(Math.abs(x - full[name]!.data[i]!)).toBeLessThanOrEqual(Math.abs(x) / 128);
  }
  // 1, -2, the greatest, the smallest subnormal, infinity: IEEE 754 half precision.
  const bytes = new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00).buffer);
  expect([...toFloat32({ dtype: 'F16', shape: [5], bytes })!]).toEqual([1, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY]);
});

test('a classifier is kept for the labels that it was trained for, in any order, and replaced for others if the option says so', async () => {
  const same = await start(golden);
  expect(same.said).toEqual(['41 weights read from model.safetensors']);
  const turned = await start(golden, { names: ['yes', 'no', 'perhaps'] });
  const rows = (weights: typeof same.weights) => [0, 1, 2].map((k) => [...weights['classifier.weight']!.data.slice(32 * k, 32 * k + 32)]);
  const [no, perhaps, yes] = rows(same.weights);
  expect(rows(turned.weights)).toEqual([yes, no, perhaps]);

  await expect(start(golden, { names: ['ham', 'spam'] })).rejects.toThrow(
    "the model's head was trained for the labels no, perhaps, yes, but the tokens have ham, spam",
  );
  const others = await start(golden, { names: ['ham', 'spam'], replaceHead: true });
  expect(others.said).toEqual(['39 weights read from model.safetensors', 'randomly initialized: classifier.weight, classifier.bias']);
  expect(others.weights['classifier.weight']!.shape).toEqual([2, 32]);
});

test('missing, unexpected and misshapen weights of a checkpoint are reported by name', async () => {
  const pretrained = await changed(({ 'classifier.weight': _, 'classifier.bias': __, 'bert.pooler.dense.bias': bias, ...rest }) => {
    delete rest['bert.pooler.dense.weight'];
    return { ...rest, 'cls.predictions.bias': bias! };
  });
  expect((await start(pretrained)).said).toEqual([
    '37 weights read from model.safetensors',
    'randomly initialized: bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight, classifier.bias',
    'ignored, because a bert model for text-classification does not use them: cls.predictions.bias',
  ]);
  const lacking = await changed(({ 'bert.encoder.layer.1.output.dense.weight': _, ...rest }) => rest);
  await expect(start(lacking)).rejects.toThrow(
    'model.safetensors does not fit its config.json: it lacks bert.encoder.layer.1.output.dense.weight',
  );
  await expect(start(config(copy(), { vocab_size: 70 }))).rejects.toThrow(
    'bert.embeddings.word_embeddings.weight is [61,32] instead of [70,32]',
  );
  await expect(loadModel(lacking, task)).rejects.toThrow('it lacks bert.encoder.layer.1.output.dense.weight');
  // Without the error, a layer that config.json does not declare would be ignored, and the answers would be wrong.
  const deeper = await changed((tensors) => ({ ...tensors, 'bert.encoder.layer.2.output.dense.bias': tensors['classifier.bias']! }));
  for (const open of [() => start(deeper), () => loadModel(deeper, task)])
    await expect(open()).rejects.toThrow('it has unexpected weights: bert.encoder.layer.2.output.dense.bias');
});

test('truncated, inconsistent and foreign files are rejected with clear messages', async () => {
  const cut = copy();
  truncateSync(join(cut, 'model.safetensors'), 50_000);
  await expect(start(cut)).rejects.toThrow(/^model.safetensors is not a complete safetensors file: .* but the file ends at 50000$/);
  for (const [bytes, why] of [
    [Buffer.from('version https://git-lfs.github.com/spec/v1'), /its header claims \d+ bytes, but the file has 42/],
    [Buffer.alloc(3), /it has 3 bytes/],
    [header('nonsense'), /its header is not JSON/],
    [header('{"a":{"dtype":{"toString":1},"shape":[1],"data_offsets":[0,4]}}', 4), /has the type \{"toString":1\}, which is not supported/],
    [header('[]'), /not a JSON object/],
    [header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', 4), /"a" is F32 \[2\], 8 bytes, but its data_offsets span 4/],
    [header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', 8), /"a" begins at 4, but 0 was expected/],
    [header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', 4), /no valid shape/],
    [header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 9), /its tensors end at/],
    [header('{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', 1), /has the type "F8_E4M3", which is not supported/],
  ] as const) {
    writeFileSync(join(cut, 'model.safetensors'), bytes);
    await expect(start(cut)).rejects.toThrow(why);
  }
  rmSync(join(cut, 'model.safetensors'));
  mkdirSync(join(cut, 'model.safetensors'));
  await expect(start(cut)).rejects.toThrow('it is not a file');
  rmdirSync(join(cut, 'model.safetensors'));
  for (const shard of ['../x.safetensors', 7]) {
    writeFileSync(join(cut, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: shard } }));
    await expect(start(cut)).rejects.toThrow(`lists ${shard}, which is not a file of the folder`);
  }
  rmSync(join(cut, 'model.safetensors.index.json'));
  writeFileSync(join(cut, 'pytorch_model.bin'), '');
  await expect(start(cut)).rejects.toMatchObject({
    name: 'StepError',
    message: expect.stringContaining('has its weights in pytorch_model.bin, which is not supported'),
    hint: expect.stringContaining('torch.load("pytorch_model.bin", weights_only=True)'),
  });
  await expect(start(config(copy(), { model_type: 'mamba' }))).rejects.toMatchObject({
    message: 'model_type "mamba" is not supported',
    hint: 'Supported: bert, roberta, xlm-roberta, camembert, distilbert, albert, electra, modernbert, gpt2, t5.',
  });
  await expect(start(config(copy(), { hidden_act: 'xielu' }))).rejects.toThrow('config.json: hidden_act "xielu" is not supported');
  await expect(start(config(copy(), { position_embedding_type: 'relative_key' }))).rejects.toThrow(
    'position_embedding_type "relative_key"',
  );
  await expect(start(config(copy(), { num_attention_heads: 5 }))).rejects.toThrow(
    'hidden_size 32 is not a multiple of num_attention_heads 5',
  );
  await expect(start(config(copy(), { hidden_size: '32' }))).rejects.toThrow(
    'hidden_size is "32", but must be a whole number greater than 0',
  );
  await expect(start(config(copy(), { model_type: 'roberta', max_position_embeddings: 3, pad_token_id: 2 }))).rejects.toThrow(
    'config.json: max_position_embeddings 3 leaves no position for a token',
  );
  writeFileSync(join(cut, 'config.json'), '{');
  await expect(start(cut)).rejects.toThrow(/config.json of .* is not JSON/);
  await expect(start(temporary())).rejects.toThrow('has no config.json');
});

test('a saved model has the config that transformers reads, and loads unchanged', async () => {
  const model = await start(golden, { names: ['ham', 'spam'], dropout: 0.3, replaceHead: true });
  const [a, b] = [temporary(), temporary()];
  await saveModel(a, model);
  await saveModel(b, model);
  expect(readFileSync(join(a, 'model.safetensors'))).toEqual(readFileSync(join(b, 'model.safetensors')));
  expect(readFileSync(join(a, 'model.safetensors')).subarray(8, 48).toString()).toBe('{"__metadata__":{"format":"pt"},"bert.em');
  const saved = JSON.parse(readFileSync(join(a, 'config.json'), 'utf8'));
  expect(saved).toMatchObject({
    architectures: ['BertForSequenceClassification'],
    model_type: 'bert',
    id2label: { 0: 'ham', 1: 'spam' },
    label2id: { ham: 0, spam: 1 },
    problem_type: 'single_label_classification',
    hidden_dropout_prob: 0.3,
    classifier_dropout: 0.3,
    vocab_size: 61,
  });
  expect(saved).not.toHaveProperty('dtype');
  const back = await loadModel(a, task);
  expect(back.labels).toEqual(['ham', 'spam']);
  expect(back.weights).toEqual(model.weights);
  expect((await loadModel(config(a, { id2label: undefined }), task)).labels).toEqual(['LABEL_0', 'LABEL_1']);
  for (const id2label of [{ 0: 'x', 2: 'y' }, { 0: 'x', 1: 'x' }, { 0: 'x', 1: null }, { 0: 'x', 2: 'y', z: 'z' }, 'x'])
    await expect(loadModel(config(a, { id2label }), task)).rejects.toThrow('must name the labels 0, 1, 2 …, each once');
});

test('a masked language model whose decoder does not share the word embeddings is rejected', async () => {
  const folder = copy();
  config(folder, { architectures: ['BertForMaskedLM'], tie_word_embeddings: false });
  await expect(loadModel(folder)).rejects.toThrow('tie_word_embeddings false is not supported for masked-lm');
});

test('tensors of all sizes are aligned in a file', async () => {
  const file = join(temporary(), 'x.safetensors');
  const tensors = {
    b: { dtype: 'U8' as const, shape: [3], bytes: Uint8Array.of(1, 2, 3) },
    a: float32(Float32Array.of(1.5), [1]),
    none: float32(new Float32Array(0), [0, 4]),
  };
  await writeSafetensors(file, tensors);
  const back = await readSafetensors(file);
  expect(Object.keys(back)).toEqual(['a', 'none', 'b']);
  expect(toFloat32(back.a!)).toEqual(Float32Array.of(1.5));
  expect([...back.b!.bytes]).toEqual([1, 2, 3]);
});

/** A file with a header and this many zero bytes. */
function header(json: string, bytes = 0): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, Buffer.from(json), Buffer.alloc(bytes)]);
}
