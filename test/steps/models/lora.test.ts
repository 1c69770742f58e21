/** LoRA against PEFT: test/golden/lora.py made the adapters and the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadModel } from '../../../steps/models/checkpoint.ts';
import { adapt } from '../../../steps/models/lora.ts';
import { readSafetensors, toFloat32 } from '../../../steps/models/safetensors.ts';
import { openRuntime } from '../../../steps/runtime/open.ts';
import { temporary } from '../rig.ts';
import { gradientsAsMoments, whole } from '../runtime/options.ts';

const golden = join(import.meta.dirname, '../../golden');
const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
const PREFIX = 'base_model.model.';

describe.each(['bert', 'roberta', 'distilbert', 'albert'])('%s', (family) => {
  const folder = join(golden, 'lora', family);
  const values = json(join(folder, 'values.json'));
  const { input_ids, attention_mask, labels } = json(join(golden, family, 'inputs.json'));
  const inputs = { input_ids: int32(input_ids), attention_mask: int32(attention_mask) };

  /** The model with PEFT's adapters. */
  async function adapted() {
    const model = withoutDropout(await loadModel(join(golden, family, 'checkpoint'), 'text-classification'));
    const adapted = adapt(model, [], { r: 3, alpha: 6, dropout: 0 }, 0);
    const stored = await readSafetensors(join(folder, 'adapter_model.safetensors'));
    expect([...adapted.trained].map((name) => PREFIX + name).sort()).toEqual(Object.keys(stored).sort());
    for (const name of adapted.trained) (adapted.weights[name]!.data as Float32Array).set(toFloat32(stored[PREFIX + name]!)!);
    return adapted;
  }

  test.each(['eager', 'onnx'] as const)('%s: logits, loss and gradients are those of PEFT', async (name) => {
    const model = await adapted();
    const training = (await openRuntime(name, { threads: 1, backend: 'cpu' })).training(model.program, model.weights, {
      ...gradientsAsMoments,
      axes: model.axes,
      weight: (name) => (model.trained.has(name) ? { learningRateFactor: 1, weightDecay: 0 } : undefined),
    });
    expect(difference((await training.evaluate(inputs)).logits!.data, values.logits.flat())).toBeLessThan(1e-5);
    const at = { seed: 0, epoch: 1, step: 0, learningRate: 0 };
    const { loss } = await training.step(whole({ ...inputs, labels: int32(labels) }), at);
    expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
    const gradients = await readSafetensors(join(folder, 'gradients.safetensors'));
    const { m } = training.optimizerState().slots;
    expect(Object.keys(m!).sort()).toEqual([...model.trained].sort());
    for (const name of model.trained) expect(difference(m![name]!, toFloat32(gradients[PREFIX + name]!)!), name).toBeLessThan(1e-4);
    await training.dispose();
  });

  test('merged, it computes the same without adapters', async () => {
    const model = await adapted();
    const base = await loadModel(join(golden, family, 'checkpoint'), 'text-classification');
    const inference = (await openRuntime('eager', { backend: 'cpu' })).inference(base.program, model.merged(model.weights));
    expect(difference((await inference.run(inputs)).logits!.data, values.merged.flat())).toBeLessThan(1e-5);
  });

  test('it is saved as PEFT saves it', async () => {
    const model = await adapted();
    const saved = temporary();
    await model.save(saved, model.weights, 'owner/name');
    const stored = await readSafetensors(join(folder, 'adapter_model.safetensors'));
    const ours = await readSafetensors(join(saved, 'adapter_model.safetensors'));
    expect(ours).toEqual(stored);
    const { target_modules, modules_to_save, ...same } = json(join(folder, 'adapter_config.json'));
    const config = json(join(saved, 'adapter_config.json'));
    expect(config).toMatchObject({ ...same, base_model_name_or_path: 'owner/name' });
    // PEFT names `score`, too, which other families' heads are called.
    expect(modules_to_save).toEqual(expect.arrayContaining(config.modules_to_save));
    for (const module of config.target_modules) expect(target_modules).toContain(module.split('.').at(-1));
  });
});

test('A starts even over ±1/√in, B at 0: the model starts as it was', async () => {
  const model = await loadModel(join(golden, 'bert/checkpoint'), 'text-classification');
  const { weights, merged } = adapt(model, [], { r: 8, alpha: 16, dropout: 0 }, 3);
  const name = 'bert.encoder.layer.0.attention.self.query';
  const a = weights[`${name}.lora_A.weight`]!;
  expect(a.shape).toEqual([8, 32]);
  expect(Math.max(...a.data)).toBeGreaterThan(0.9 / Math.sqrt(32));
  expect(Math.max(...a.data)).toBeLessThan(1 / Math.sqrt(32));
  expect(Math.min(...a.data)).toBeLessThan(-0.9 / Math.sqrt(32));
  expect(merged(weights)).toEqual(model.weights);
  const again = adapt(model, [], { r: 8, alpha: 16, dropout: 0 }, 4);
  expect(again.weights[`${name}.lora_A.weight`]!.data).not.toEqual(a.data);
});

test('targets by their endings; what no layer is called, and what would stay random, is refused', async () => {
  const model = await loadModel(join(golden, 'bert/checkpoint'), 'text-classification');
  const options = { r: 2, alpha: 2, dropout: 0 };
  const { trained } = adapt(model, [], { ...options, targets: ['attention.output.dense', 'bert.encoder.layer.1.intermediate.dense'] }, 0);
  expect([...trained].filter((name) => name.includes('lora_A'))).toEqual([
    'bert.encoder.layer.0.attention.output.dense.lora_A.weight',
    'bert.encoder.layer.1.attention.output.dense.lora_A.weight',
    'bert.encoder.layer.1.intermediate.dense.lora_A.weight',
  ]);
  expect(() => adapt(model, [], { ...options, targets: ['q_lin'] }, 0)).toThrow('lora.targets: no linear layer is called "q_lin"');
  expect(() => adapt(model, Object.keys(model.weights), options, 0)).toThrow(/^lora leaves .* as they are, and they start at random$/);
  expect(() => adapt(model, ['classifier.weight'], options, 0)).not.toThrow();
});

function withoutDropout<T extends { program: (...args: any[]) => any }>(model: T): T {
  const { program } = model;
  return { ...model, program: (weights: unknown, inputs: unknown) => program(weights, inputs, (x: unknown) => x) };
}

function int32(rows: number[] | number[][]) {
  const shape = Array.isArray(rows[0]) ? [rows.length, rows[0].length] : [rows.length];
  return { dtype: 'int32' as const, shape, data: Int32Array.from(rows.flat()) };
}

/** ‖a − b‖ / ‖b‖; a gradient that is 0 but for rounding is compared as it is. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const norm = Math.hypot(...Array.from(b));
  return Math.hypot(...Array.from(b, (x, i) => a[i]! - x)) / Math.max(norm, 1e-3);
}
