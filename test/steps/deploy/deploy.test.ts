import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { checkOnnx } from '../../../steps/deploy/check-onnx.ts';
import step from '../../../steps/deploy/step.ts';
import { modelOnnx } from '../../../steps/ml/models/family.ts';
import { loadModel } from '../../../steps/ml/models/model-folder.ts';
import reduce from '../../../steps/reduce/step.ts';
import { ranStep, temporary } from '../rig.ts';
import { makeModel, remove } from '../serving/bundle.ts';

const report = {
  split: 'test',
  rows: 585,
  metrics: { accuracy: 0.98, f1: 0.9624 },
  labels: ['ham', 'spam'],
  positive: 'spam',
  confusion_matrix: [
    [390, 6],
    [9, 180],
  ],
};

async function model(labels?: string[]): Promise<string> {
  const folder = await makeModel(labels);
  onTestFinished(() => remove(folder));
  return folder;
}

function metricsFile(content: object): string {
  const file = join(temporary(), 'metrics.json');
  writeFileSync(file, JSON.stringify(content));
  return file;
}

test('a bundle contains everything that serving needs, and a card that describes it', async () => {
  const from = await model();
  const { outputs } = await ranStep(step, { name: 'mails', license: 'mit' }, { model: from, metrics: metricsFile(report) });
  const file = (name: string) => readFileSync(join(outputs.bundle!, name));
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json', 'onnx/model.onnx'])
    expect(file(name).length).toBeGreaterThan(0);
  expect(file('model.safetensors').equals(readFileSync(join(from, 'model.safetensors')))).toBe(true);
  expect(file('preprocessing.json').equals(readFileSync(join(from, 'preprocessing.json')))).toBe(true);
  expect(JSON.parse(file('training.json').toString())).toMatchObject({ name: 'mails', max_length: 24 });
  expect(JSON.parse(file('metrics.json').toString())).toEqual(report);

  const card = file('README.md').toString();
  expect(parse(card.split('---\n')[1]!)).toMatchObject({
    license: 'mit',
    library_name: 'transformers',
    pipeline_tag: 'text-classification',
    metrics: ['accuracy', 'f1'],
  });
  for (const words of ['# mails', '| f1 | 0.9624 |', '| **ham** | 390 | 6 |', 'removed: URLs', 'tunesmith serve', '| epochs | 3 |'])
    expect(card).toContain(words);
});

test('the bundle of a model in half precision stores the same numbers in the same type', async () => {
  const { outputs } = await ranStep(reduce, { dtype: 'float16' }, { model: await model() });
  const bundle = (await ranStep(step, {}, { model: outputs.model! })).outputs.bundle!;
  expect(readFileSync(join(bundle, 'model.safetensors')).equals(readFileSync(join(outputs.model!, 'model.safetensors')))).toBe(true);
  expect(JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')).dtype).toBe('float16');
});

test('the choice of select also provides the metrics; the card of a model without metrics says so', async () => {
  const from = await model();
  const chosen = await ranStep(step, {}, { model: from, metrics: metricsFile({ maximize: 'f1', value: 0.96, chosen: report }) });
  expect(JSON.parse(readFileSync(join(chosen.outputs.bundle!, 'metrics.json'), 'utf8'))).toEqual(report);
  const { outputs } = await ranStep(step, {}, { model: from });
  const card = readFileSync(join(outputs.bundle!, 'README.md'), 'utf8');
  expect(card).toContain('Not evaluated.');
  expect(card).not.toMatch(/license|undefined/);
  await expect(ranStep(step, {}, { model: from, metrics: metricsFile({ f1: 1 }) })).rejects.toThrow('was not written by evaluate');
});

test('labels with any name do not break the card', async () => {
  const { outputs } = await ranStep(step, {}, { model: await model(['a|b', 'c`d', '<i>']) });
  const card = readFileSync(join(outputs.bundle!, 'README.md'), 'utf8');
  expect(card).toContain('`` c`d ``');
});

test('the same model makes the same bytes', async () => {
  const from = await model();
  const [a, b] = [await ranStep(step, {}, { model: from }), await ranStep(step, {}, { model: from })];
  for (const name of ['onnx/model.onnx', 'model.safetensors', 'README.md', 'config.json'])
    expect(readFileSync(join(a.outputs.bundle!, name)).equals(readFileSync(join(b.outputs.bundle!, name)))).toBe(true);
});

test('an ONNX model that computes something else is not shipped', async () => {
  const loaded = await loadModel(await model(), 'text-classification');
  const onnx = modelOnnx(loaded);
  await checkOnnx(onnx, loaded, 1);
  const name = Object.keys(loaded.weights).find((weight) => weight.endsWith('value.weight'))!;
  const changed = { ...loaded.weights[name]!, data: loaded.weights[name]!.data.slice() };
  changed.data[0]! += 0.5;
  await expect(checkOnnx(onnx, { ...loaded, weights: { ...loaded.weights, [name]: changed } }, 1)).rejects.toThrow(
    'the ONNX export differs from the model: ',
  );
});
