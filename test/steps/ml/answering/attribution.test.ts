/** Token attributions against Captum's: test/golden/attribution.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { attributionAxes, attributionProgram } from '../../../../steps/ml/answering/attribution.ts';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';
import { int32 } from '../models/golden.ts';
import { COMPILED } from '../runtime/options.ts';

const golden = join(import.meta.dirname, '../../../golden');
const stored: Record<string, { target: number[]; attributions: number[][] }> = JSON.parse(
  readFileSync(join(golden, 'attribution.json'), 'utf8'),
);

describe.each(Object.keys(stored))('%s', (folder) => {
  const { target, attributions } = stored[folder]!;
  const values = JSON.parse(readFileSync(join(golden, folder, 'inputs.json'), 'utf8'));

  test.each(['eager', COMPILED] as const)('%s: gradient × input of the word embeddings equals that of Captum', async (name) => {
    const model = await loadModel(join(golden, folder, 'checkpoint'), 'text-classification');
    const inference = (await openRuntime(name, { threads: 1 })).inference(attributionProgram(model), model.weights, attributionAxes(model));
    const labels = model.labels.length;
    const chosen = new Float32Array(target.length * labels);
    for (const [row, label] of target.entries()) chosen[row * labels + label] = 1;
    const inputs: HostTensors = { chosen: { dtype: 'float32', shape: [target.length, labels], data: chosen } };
    for (const column of ['input_ids', 'attention_mask', 'token_type_ids']) if (values[column]) inputs[column] = int32(values[column]);
    const found = await inference.run(inputs);
    expect(found.attributions!.shape).toEqual([attributions.length, attributions[0]!.length]);
    const largest = Math.max(...attributions.flat().map(Math.abs));
    for (const [i, expected] of attributions.flat().entries())
      expect(Math.abs(found.attributions!.data[i]! - expected) / largest, `token ${i}`).toBeLessThan(1e-4);
    await inference.dispose();
  });
});
