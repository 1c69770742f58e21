/** The model families against transformers: test/golden/make.py made the checkpoints and the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { modelOnnx } from '../../../../steps/ml/models/family.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';
import type { HostTensor } from '../../../../steps/ml/runtime/runtime.ts';
import { COMPILED } from '../runtime/options.ts';
import { FAMILIES, sameFromMasked, TASKS, taskTests, trainingTests } from './family-golden.ts';
import { difference, int32 } from './golden.ts';

describe.each(FAMILIES)('%s', (family) => {
  logitsTests(family);
  trainingTests(family, [['eager'], [COMPILED]]);
});

/** Its logits, by each runtime and as an ONNX model. */
function logitsTests(family: string): void {
  const golden = join(import.meta.dirname, '../../../golden', family);
  const values = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8'));
  const inputs = { input_ids: int32(values.input_ids), attention_mask: int32(values.attention_mask) };

  for (const name of ['eager', COMPILED] as const) {
    test(`${name}: logits equal those of transformers, with and without token types`, async () => {
      const model = await loadModel(join(golden, 'checkpoint'), 'text-classification');
      const inference = (await openRuntime(name, { threads: 1 })).inference(model.program, model.weights);
      const plain = await inference.run(inputs);
      expect(plain.logits!.shape).toEqual([4, 3]);
      expect(difference(plain.logits!.data, values.logits.flat())).toBeLessThan(1e-5);
      if (values.token_type_ids) {
        const typed = await inference.run({ ...inputs, token_type_ids: int32(values.token_type_ids) });
        expect(difference(typed.logits!.data, values.logits_with_types.flat())).toBeLessThan(1e-5);
      }
      await inference.dispose();
    });
  }

  test('its ONNX export computes the same', async () => {
    const session = await ort.InferenceSession.create(modelOnnx(await loadModel(join(golden, 'checkpoint'), 'text-classification')));
    const given: Record<string, HostTensor> = { ...inputs, token_type_ids: int32(values.token_type_ids ?? []) };
    const feeds = session.inputNames.map((input) => {
      const { data, shape } = given[input]!;
      return [input, new ort.Tensor('int64', BigInt64Array.from(data as Int32Array, BigInt), shape)] as const;
    });
    const { logits } = await session.run(Object.fromEntries(feeds));
    expect(session.inputNames.includes('token_type_ids')).toBe('token_type_ids' in values);
    expect(difference(logits!.data as Float32Array, (values.logits_with_types ?? values.logits).flat())).toBeLessThan(1e-5);
    await session.release();
  });
}

describe.each(TASKS)('bert for %s', (task) => taskTests('bert', task));

test('bert: predicting only masked tokens gives the same as predicting all', () => sameFromMasked('bert'));
