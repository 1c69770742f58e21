/** Comparisons of a model family with transformers: test/golden/make.py made the checkpoints and the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { modelOnnx } from '../../../../steps/ml/models/family.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../../steps/ml/models/safetensors.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';
import type { HostTensor } from '../../../../steps/ml/runtime/runtime.ts';
import { KEY_BIAS, SHIFT_OF_ALL } from '../../../golden/zero.ts';
import { adamW, COMPILED, whole } from '../runtime/options.ts';
import { compareStep, difference, int32, withoutDropout } from './golden.ts';

export const FAMILIES = ['bert', 'roberta', 'distilbert', 'albert', 'xlm-roberta', 'camembert', 'electra', 'modernbert'];

/** A runtime, and whether it computes activations again. */
export type Way = [runtime: typeof COMPILED, checkpointing?: boolean];

/** A step of its training, in each of the ways. */
export function trainingTests(family: string, ways: Way[]): void {
  const golden = join(import.meta.dirname, '../../../golden', family);
  const values = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8'));
  const inputs = { input_ids: int32(values.input_ids), attention_mask: int32(values.attention_mask) };

  for (const [name, checkpointing] of ways) {
    const how = `${name}${checkpointing ? ' with gradient checkpointing' : ''}`;
    test(`${how}: loss, gradients and the weights after a step of AdamW equal those of PyTorch`, async () => {
      const model = await loadModel(join(golden, 'checkpoint'), 'text-classification');
      const training = (await openRuntime(name, { threads: 1 })).training(withoutDropout(model), model.weights, {
        ...OPTIMIZER(model),
        checkpointing: checkpointing ?? false,
      });
      const at = { seed: 0, epoch: 1, step: 0, learningRate: 1e-3 };
      const { loss, gradNorm } = await training.step(whole({ ...inputs, labels: int32(values.labels) }), at);
      expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
      expect(difference([gradNorm], [values.grad_norm])).toBeLessThan(1e-4);

      const weights = training.weights();
      const m = training.optimizerState().slots.m!; // after one step: a tenth of the clipped gradients
      const after = await readSafetensors(join(golden, 'after.safetensors'));
      const gradients = await readSafetensors(join(golden, 'gradients.safetensors'));
      expect(Object.keys(weights).sort()).toEqual(Object.keys(after).sort());
      for (const weight of Object.keys(after)) {
        const gradient = m[weight]!.map((x) => x / (1 - 0.9));
        if (KEY_BIAS.test(weight)) {
          // Softmax ignores it: its gradient is 0 except for rounding, from which Adam makes steps of any size.
          expect(Math.max(...gradient.map(Math.abs)), weight).toBeLessThan(1e-6);
          continue;
        }
        expect(difference(gradient, toFloat32(gradients[weight]!)!), weight).toBeLessThan(1e-4);
        expect(difference(weights[weight]!.data, toFloat32(after[weight]!)!), weight).toBeLessThan(1e-4);
      }
      await training.dispose();
    });
  }
}

export const TASKS = ['multi_label_classification', 'regression', 'token-classification', 'question-answering', 'masked-lm'] as const;

export type Task = (typeof TASKS)[number];

export function taskTests(family: string, task: Task): void {
  const golden = join(import.meta.dirname, '../../../golden', family, task);
  const values = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8'));
  const outputs = task === 'question-answering' ? ['start_logits', 'end_logits'] : ['logits'];
  const inputs = Object.fromEntries(
    ['input_ids', 'attention_mask', 'token_type_ids'].flatMap((name) => (name in values ? [[name, int32(values[name])]] : [])),
  );

  for (const name of ['eager', COMPILED] as const) {
    test(`${name}: logits, loss, gradients and the weights after a step of AdamW equal those of PyTorch`, async () => {
      const model = await loadModel(join(golden, 'checkpoint'));
      const runtime = await openRuntime(name, { threads: 1 });
      const inference = runtime.inference(model.program, model.weights, model.axes);
      const found = await inference.run(inputs);
      for (const output of outputs) expect(difference(found[output]!.data, values[output].flat(2)), output).toBeLessThan(1e-5);
      await inference.dispose();

      const training = runtime.training(withoutDropout(model), model.weights, {
        ...OPTIMIZER(model),
        // Here every token is predicted.
        axes: task === 'masked-lm' ? {} : model.axes,
      });
      const at = { seed: 0, epoch: 1, step: 0, learningRate: 1e-3 };
      const { loss, gradNorm } = await training.step(whole({ ...inputs, ...labelsOf(values, task) }), at);
      expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
      expect(difference([gradNorm], [values.grad_norm])).toBeLessThan(1e-4);
      const zero = task === 'question-answering' ? [KEY_BIAS, SHIFT_OF_ALL] : [KEY_BIAS];
      await compareStep(training, golden, Math.min(1, values.grad_norm), (weight) => zero.some((pattern) => pattern.test(weight)));
      await training.dispose();
    });
  }

  test('its ONNX export computes the same, for a batch of any shape', async () => {
    const model = await loadModel(join(golden, 'checkpoint'));
    const session = await ort.InferenceSession.create(modelOnnx(model));
    expect([...session.outputNames]).toEqual(outputs);
    const feeds = session.inputNames.map((input) => {
      const { data, shape } = inputs[input] ?? { data: inputs.input_ids!.data.map(() => 0), shape: inputs.input_ids!.shape };
      return [input, new ort.Tensor('int64', BigInt64Array.from(data as Int32Array, BigInt), shape)] as const;
    });
    const found = await session.run(Object.fromEntries(feeds));
    for (const output of outputs)
      expect(difference(found[output]!.data as Float32Array, values[output].flat(2)), output).toBeLessThan(1e-5);
    await session.release();
  });
}

export async function sameFromMasked(family: string): Promise<void> {
  const golden = join(import.meta.dirname, '../../../golden', family, 'masked-lm');
  const values = JSON.parse(readFileSync(join(golden, 'inputs.json'), 'utf8'));
  const model = await loadModel(join(golden, 'checkpoint'));
  const [batch, length] = [values.input_ids.length, values.input_ids[0].length];
  const flat: number[] = values.labels.flat();
  const places = flat.flatMap((label, i) => (label === -100 ? [] : [i]));
  const training = (await openRuntime(COMPILED, { threads: 1 })).training(withoutDropout(model), model.weights, OPTIMIZER(model));
  // One position too many, like a batch with fewer masked tokens than positions.
  const given = Object.fromEntries(
    ['input_ids', 'attention_mask', 'token_type_ids'].flatMap((name) => (name in values ? [[name, int32(values[name])]] : [])),
  );
  const { loss } = await training.step(
    whole({ ...given, label_positions: int32([...places, 0]), labels: int32([...places.map((i) => flat[i]!), -100]) }),
    { seed: 0, epoch: 1, step: 0, learningRate: 1e-3 },
  );
  expect(batch * length).toBe(flat.length);
  expect(difference([loss], [values.loss])).toBeLessThan(1e-5);
  await compareStep(training, golden, Math.min(1, values.grad_norm), (weight) => KEY_BIAS.test(weight));
  await training.dispose();
}

export const OPTIMIZER = (model: Model) => ({
  axes: model.axes,
  ...adamW(0.01, (weight) => !model.parameters[weight]!.decay),
  maxGradNorm: 1,
  paddingRows: paddingRows(model),
});

export function labelsOf(values: any, task: Task): Record<string, HostTensor> {
  if (task === 'question-answering') return { start_positions: int32(values.start_positions), end_positions: int32(values.end_positions) };
  if (task === 'masked-lm' || task === 'token-classification') return { labels: int32(values.labels) };
  const rows: number[] = values.labels.flat();
  return { labels: { dtype: 'float32', shape: [4, rows.length / 4], data: Float32Array.from(rows) } };
}

export type Model = Awaited<ReturnType<typeof loadModel>>;

export const paddingRows = ({ parameters }: Model): Record<string, number> =>
  Object.fromEntries(
    Object.entries(parameters).flatMap(([name, { paddingRow }]) => (paddingRow === undefined ? [] : [[name, paddingRow] as const])),
  );
