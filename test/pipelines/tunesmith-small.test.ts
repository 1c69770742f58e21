/** The pre-trained model in pipelines/models/tunesmith-small: its files agree, it predicts words, and training carries none of its papers. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import deploy from '../../steps/deploy/step.ts';
import { openRuntime } from '../../steps/ml/device/open.ts';
import { loadModel } from '../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../steps/ml/models/safetensors.ts';
import { openTokenizer } from '../../steps/ml/models/tokenizer.ts';
import reduce from '../../steps/reduce/step.ts';
import tokenize from '../../steps/tokenize/step.ts';
import train from '../../steps/train/step.ts';
import { ranStep, table } from '../steps/rig.ts';

const folder = join(import.meta.dirname, '../../pipelines/models/tunesmith-small');
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const card = read('README.md');

test('the folder has at most 24 MB', () => {
  const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(24e6);
});

test('config, tokenizer, weights and card have the same vocabulary, and the weights are finite and float16', async () => {
  const config = JSON.parse(read('config.json'));
  const tokenizer = await openTokenizer(folder, { maxLength: 512 });
  expect(config.vocab_size).toBe(13_285);
  expect(tokenizer.size).toBe(13_285);
  const tensors = Object.entries(await readSafetensors(join(folder, 'model.safetensors')));
  expect(Object.fromEntries(tensors)['bert.embeddings.word_embeddings.weight']!.shape).toEqual([13_285, config.hidden_size]);
  expect(new Set(tensors.map(([, { dtype }]) => dtype))).toEqual(new Set(['F16']));
  for (const [name, tensor] of tensors) expect(toFloat32(tensor)!.every(Number.isFinite), name).toBe(true);
  const parameters = tensors.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(card).toContain(`| parameters | ${parameters.toLocaleString('en-US')} |`);
});

test('the card has the results of the last line of the training history', () => {
  const last = JSON.parse(read('history.jsonl').trimEnd().split('\n').at(-1)!);
  expect(card).toContain(`| tunesmith-small | ${last.validation_perplexity.toFixed(1)} | ${last.validation_accuracy.toFixed(3)} |`);
  expect(card).toContain(`| steps | 250 | ${last.step.toLocaleString('en-US')} |`);
});

test.each([
  ['He was elected president of the United [MASK] of America.', 'states'],
  ['The constitution of the United [MASK] was written long ago.', 'states'],
])('it completes: %s', async (text, word) => {
  const tokenizer = await openTokenizer(folder, { maxLength: 512 });
  const [sequence] = await tokenizer.encode([text]);
  const { ids } = sequence!;
  const model = await loadModel(folder, 'masked-lm');
  const inference = (await openRuntime('onnx')).inference(model.program, model.weights, model.axes);
  const tensor = (data: Int32Array) => ({ dtype: 'int32' as const, shape: [1, ids.length], data });
  const { logits } = await inference.run({
    input_ids: tensor(Int32Array.from(ids)),
    attention_mask: tensor(new Int32Array(ids.length).fill(1)),
  });
  await inference.dispose();
  const start = ids.indexOf(tokenizer.idOf('[MASK]')!) * tokenizer.size;
  const scores = [...logits!.data.subarray(start, start + tokenizer.size)].map(Number);
  const best = scores.map((score, id) => ({ score, id })).sort((a, b) => b.score - a.score);
  expect(best.slice(0, 5).map(({ id }) => id)).toContain(tokenizer.idOf(word));
});

test('a model that is trained from it, and its bundle, have cards of their own and none of its history', async () => {
  const texts = ['good news for you', 'see the file', 'a good day', 'open the file'];
  const rows = texts.map((text, i) => ({ id: `${i}`, text, label: i % 2 ? 'tech' : 'other', split: i < 2 ? 'train' : 'validation' }));
  const data = await table(rows);
  // With the few tokens of these texts, the training takes a moment.
  const small = (await ranStep(reduce, { layers: [1] }, { model: folder, data: [data] })).outputs.model!;
  expect(readdirSync(small)).toEqual(expect.arrayContaining(PAPERS));
  const { outputs: tokens } = await ranStep(tokenize, { max_length: 8 }, { data, model: small });
  const { outputs: trained } = await ranStep(train, { max_steps: 1, batch_size: 2 }, { tokens: tokens.tokens!, model: small });
  const { outputs: deployed } = await ranStep(deploy, { name: 'mine' }, { model: trained.model! });
  expect(readdirSync(trained.model!).filter((name) => PAPERS.includes(name))).toEqual([]);
  expect(readdirSync(deployed.bundle!).filter((name) => PAPERS.includes(name))).toEqual(['README.md']);
  expect(readFileSync(join(deployed.bundle!, 'README.md'), 'utf8')).toContain('model_name: mine');
});

const PAPERS = ['README.md', 'data-card.md', 'history.jsonl'];
