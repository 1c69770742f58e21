/** A pooler that is reduced or frozen. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../steps/ml/models/safetensors.ts';
import reduce from '../../../steps/reduce/step.ts';
import { ranStep, table } from '../../steps/rig.ts';
import { rows } from '../../steps/small.ts';
import { bytesIn, lesson, modelIn, POOLED, POOLER, poolerIn, trained } from '../../steps/train/pooling.ts';

const IDENTITY = {
  [POOLER[0]!]: Array.from({ length: 256 }, (_, i) => (i % 17 === 0 ? 1 : 0)),
  [POOLER[1]!]: new Array<number>(16).fill(0),
};

test('reduce keeps the pooler, with fewer layers and fewer tokens', async () => {
  const inputs = await lesson();
  const model = modelIn(await trained(inputs, { distill: POOLED }));
  const data = await table(rows({ train: 10 }, ['bad']));
  const smaller = modelIn(await ranStep(reduce, { layers: [2] }, { model, data: [data] }));
  const [before, after] = [await loadModel(model, 'masked-lm'), await loadModel(smaller, 'masked-lm')];
  expect(after.config.vocab_size).toBeLessThan(before.config.vocab_size);
  expect(Object.keys(after.weights).length).toBeLessThan(Object.keys(before.weights).length);
  expect(await poolerIn(smaller)).toEqual(await poolerIn(model));
});

test('frozen parts: the pooler alone learns, or all other weights do', async () => {
  const inputs = await lesson();
  const model = modelIn(await trained(inputs));
  const before = await readSafetensors(join(model, 'model.safetensors'));
  const alone = modelIn(await trained({ ...inputs, model }, { distill: POOLED, freeze: ['embeddings', 'encoder', 'cls'] }));
  const { [POOLER[0]!]: weight, [POOLER[1]!]: bias, ...others } = await readSafetensors(join(alone, 'model.safetensors'));
  expect([weight, bias].map((tensor) => [...toFloat32(tensor!)!])).not.toEqual(Object.values(IDENTITY));
  expect(others).toEqual(before);
  const rest = await trained({ ...inputs, model }, { distill: POOLED, freeze: ['pooler'] });
  expect(await poolerIn(modelIn(rest))).toEqual(IDENTITY);
  expect(bytesIn(rest).equals(readFileSync(join(alone, 'model.safetensors')))).toBe(false);
});
