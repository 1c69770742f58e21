/** Odd files in a model folder, with the real CLI. */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { STACK } from '../../contract/bad-input/rig.ts';
import { project, root } from '../../rig.ts';

async function model() {
  const p = project({ 'in.jsonl': '{"text":"hello"}\n' });
  cpSync(join(root, 'pipelines/models/bert-tiny'), p.path('model'), { recursive: true });
  const started = await startModel(p.path('model'), { task: 'text-classification', labels: ['a', 'b'], seed: 1, say: () => {} });
  await saveModel(p.path('model'), started);
  return p;
}

test.each(['config.json', 'tokenizer.json', 'model.safetensors'])('a folder instead of %s', async (name) => {
  const p = await model();
  rmSync(p.path(`model/${name}`));
  mkdirSync(p.path(`model/${name}`));
  const { code, stdout, screen } = await p.run('predict', 'model', 'in.jsonl');
  expect([code, stdout], screen).toEqual([2, '']);
  expect(screen).toContain(name);
  expect(screen).toMatch(/^error: .*(cannot be read|is not a file)/);
  expect(screen).not.toMatch(STACK);
});

test('two labels with the same name', async () => {
  const p = await model();
  p.write('model/config.json', JSON.stringify({ ...JSON.parse(p.read('model/config.json')), id2label: { 0: 'a', 1: 'a' } }));
  const { code, stdout, screen } = await p.run('predict', 'model', 'in.jsonl');
  expect([code, stdout], screen).toEqual([2, '']);
  expect(screen).toContain('id2label must name the labels 0, 1, 2 …, each once');
});
