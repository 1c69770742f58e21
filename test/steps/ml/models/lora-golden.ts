/** Adapters, compared with PEFT. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { isGenerating, type Task } from '../../../../steps/ml/models/config.ts';
import { adapt } from '../../../../steps/ml/models/lora.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../../steps/ml/models/safetensors.ts';
import type { HostTensors } from '../../../../steps/ml/runtime/runtime.ts';
import { nextTokens } from '../../../../steps/ml/tasks/predicted-tokens.ts';
import { temporary } from '../../rig.ts';
import { gradientsAsMoments, whole } from '../runtime/options.ts';
import { int32, withoutDropout } from './golden.ts';

export const golden = join(import.meta.dirname, '../../../golden');

export const json = (file: string) => JSON.parse(readFileSync(file, 'utf8'));

export const PREFIX = 'base_model.model.';

/** `base`: the adapted checkpoint of test/golden. */
export function loraTests(family: string, base: string, task: Task): void {
  const folder = join(golden, 'lora', family);
  const values = json(join(folder, 'values.json'));
  const { input_ids, attention_mask, labels } = json(join(golden, base, 'inputs.json'));
  const given = { input_ids: int32(input_ids), attention_mask: int32(attention_mask), labels: int32(labels) };
  const learned: HostTensors = isGenerating(task) ? nextTokens(given, { task, pad_token_id: 0, decoder_start_token_id: 0 }) : given;
  const { labels: _, label_positions: __, ...inputs } = learned;

  /** The model with PEFT's adapters. */
  async function adapted() {
    const model = await loadModel(join(golden, base, 'checkpoint'), task);
    const adapted = adapt({ ...model, program: withoutDropout(model) }, [], { r: 3, alpha: 6, dropout: 0 }, 0);
    const stored = await readSafetensors(join(folder, 'adapter_model.safetensors'));
    expect([...adapted.trained].map((name) => PREFIX + name).sort()).toEqual(Object.keys(stored).sort());
    for (const name of adapted.trained) (adapted.weights[name]!.data as Float32Array).set(toFloat32(stored[PREFIX + name]!)!);
    return adapted;
  }

  test.each(['eager', 'onnx'] as const)('%s: logits, loss and gradients equal those of PEFT', async (name) => {
    const model = await adapted();
    const training = (await openRuntime(name, { threads: 1, backend: 'cpu' })).training(model.program, model.weights, {
      ...gradientsAsMoments,
      axes: model.axes,
      weight: (name) => (model.trained.has(name) ? { learningRateFactor: 1, weightDecay: 0 } : undefined),
    });
    expect(difference((await training.evaluate(inputs)).logits!.data, values.logits.flat(2))).toBeLessThan(1e-5);
    const at = { seed: 0, epoch: 1, step: 0, learningRate: 0 };
    const { loss } = await training.step(whole(learned), at);
    expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
    const gradients = await readSafetensors(join(folder, 'gradients.safetensors'));
    const { m } = training.optimizerState().slots;
    expect(Object.keys(m!).sort()).toEqual([...model.trained].sort());
    for (const name of model.trained) expect(difference(m![name]!, toFloat32(gradients[PREFIX + name]!)!), name).toBeLessThan(1e-4);
    await training.dispose();
  });

  test('the merged model computes the same without adapters', async () => {
    const model = await adapted();
    const plain = await loadModel(join(golden, base, 'checkpoint'), task);
    const inference = (await openRuntime('eager', { backend: 'cpu' })).inference(plain.program, model.merged(model.weights));
    expect(difference((await inference.run(inputs)).logits!.data, values.merged.flat(2))).toBeLessThan(1e-5);
  });

  test('it is saved in the format of PEFT', async () => {
    const model = await adapted();
    const saved = temporary();
    await model.save(saved, model.weights, 'owner/name');
    const stored = await readSafetensors(join(folder, 'adapter_model.safetensors'));
    const ours = await readSafetensors(join(saved, 'adapter_model.safetensors'));
    expect(ours).toEqual(stored);
    const { target_modules, modules_to_save, ...same } = json(join(folder, 'adapter_config.json'));
    const config = json(join(saved, 'adapter_config.json'));
    expect(config).toMatchObject({ ...same, base_model_name_or_path: 'owner/name' });
    // PEFT also lists `score`, the name of other families' heads.
    if (isGenerating(task)) expect([modules_to_save, config.modules_to_save]).toEqual([null, null]);
    else expect(modules_to_save).toEqual(expect.arrayContaining(config.modules_to_save));
    for (const module of config.target_modules) expect(target_modules).toContain(module.split('.').at(-1));
  });
}

/** ‖a − b‖ / ‖b‖; a gradient that is 0 except for rounding is compared as it is. */
export function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const norm = Math.hypot(...Array.from(b));
  return Math.hypot(...Array.from(b, (x, i) => a[i]! - x)) / Math.max(norm, 1e-3);
}
