/** What the small model completes, and models that are trained from it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import deploy from '../../../steps/deploy/step.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { loadModel } from '../../../steps/ml/models/model-folder.ts';
import { openTokenizer } from '../../../steps/ml/models/tokenizer.ts';
import reduce from '../../../steps/reduce/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import train from '../../../steps/train/step.ts';
import { ranStep, table } from '../../steps/rig.ts';

const folder = join(import.meta.dirname, '../../../pipelines/models/tunesmith-small');

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

const PAPERS = ['README.md', 'data-card.md', 'history.jsonl', 'history-short.jsonl'];
