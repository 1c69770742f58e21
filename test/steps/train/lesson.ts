/** A student and its teacher, compared with a PyTorch loop: test/golden/distillation.py made the teachers and the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import type { Distillation } from '../../../steps/ml/models/distillation.ts';
import { programFor } from '../../../steps/ml/models/family.ts';
import { loadModel, type Model } from '../../../steps/ml/models/model-folder.ts';
import type { HostTensor, HostTensors, Part, RuntimeName } from '../../../steps/ml/runtime/runtime.ts';
import { lossSharesOf } from '../../../steps/train/loss-weights.ts';
import { teacherOf } from '../../../steps/train/teacher.ts';
import { KEY_BIAS } from '../../golden/zero.ts';
import { compareStep, difference, int32, withoutDropout } from '../ml/models/golden.ts';
import { adamW } from '../ml/runtime/options.ts';

export const golden = join(import.meta.dirname, '../../golden');

/** The student that a golden file is about, what it learns from, and the values of PyTorch. */
export async function lesson(family: string, task: string) {
  const values = JSON.parse(readFileSync(join(golden, 'distillation', `${family}-${task}.json`), 'utf8'));
  const folder = join(golden, family, task === 'text-classification' ? '' : task);
  const batch = JSON.parse(readFileSync(join(folder, 'inputs.json'), 'utf8'));
  const teacher = await loadModel(join(golden, 'distillation', task));
  const student = await loadModel(join(folder, 'checkpoint'), task === 'masked-lm' ? task : 'text-classification');
  const names = ['input_ids', 'attention_mask', ...(task !== 'text-classification' && 'token_type_ids' in batch ? ['token_type_ids'] : [])];
  const inputs: HostTensors = Object.fromEntries(names.map((name) => [name, int32(batch[name])]));
  return { values, teacher, student, inputs: { ...inputs, ...labelsOf(batch.labels, task) } };
}

/** As the tasks give them; for masked-lm with a position that does not count. */
export function labelsOf(labels: any, task: string): HostTensors {
  const float = (shape: number[]): HostTensor => ({ dtype: 'float32', shape, data: Float32Array.from(labels.flat()) });
  if (task === 'multi_label_classification') return { labels: float([labels.length, labels[0].length]) };
  if (task === 'regression') return { labels: float([labels.length, 1]) };
  if (task === 'text-classification') return { labels: int32(labels) };
  const flat: number[] = labels.flat();
  const positions = [...flat.keys()].filter((i) => flat[i] !== -100);
  return { label_positions: int32([...positions, 0]), labels: int32([...positions.map((i) => flat[i]!), -100]) };
}

export interface Lesson {
  student: Model;
  teacher: Model;
  distillation: Distillation;
  checkpointing?: boolean;
}

export async function stepOf(name: RuntimeName, { student, teacher, distillation, checkpointing = false }: Lesson, parts: HostTensors[]) {
  const runtime = await openRuntime(name, { threads: 1 });
  const taught = teacherOf(student, teacher, distillation);
  const lessons = taught.open(runtime);
  const { family, task, config, problem, parameters } = student;
  const program = programFor(family, task, config, problem, {}, distillation);
  const training = runtime.training(withoutDropout({ program }), student.weights, {
    ...adamW(0.01, (weight) => !parameters[weight]!.decay),
    maxGradNorm: 1,
    axes: { ...student.axes, ...taught.axes },
    checkpointing,
    paddingRows: Object.fromEntries(
      Object.entries(parameters).flatMap(([weight, { paddingRow }]) => (paddingRow === undefined ? [] : [[weight, paddingRow]])),
    ),
  });
  const given: Part[] = await lessons.teach(parts, lossSharesOf(parts, undefined));
  const done = await training.step(given, { seed: 0, epoch: 1, step: 0, learningRate: 1e-3 });
  await lessons.dispose();
  return { training, ...done };
}

/** A runtime, and whether it computes activations again. */
export type Way = [runtime: RuntimeName, checkpointing?: boolean];

export function taughtTests(task: string, ways: Way[]): void {
  for (const [name, checkpointing] of ways) {
    test(`${name}${checkpointing ? ' with gradient checkpointing' : ''}: losses, gradients and the weights after a step equal those of PyTorch`, async () => {
      const { values, inputs, ...models } = await lesson('bert', task);
      const { training, ...done } = await stepOf(name, { ...models, distillation: values.options, checkpointing: checkpointing ?? false }, [
        inputs,
      ]);
      expectLosses(done, values);
      await compareStep(training, join(golden, 'distillation', `bert-${task}`), Math.min(1, values.grad_norm), (weight) =>
        KEY_BIAS.test(weight),
      );
      await training.dispose();
    });
  }
}

export function expectLosses(done: { loss: number; gradNorm: number; terms: Record<string, number> }, values: any): void {
  const { alpha, hidden, pooled } = values.options;
  const weighted = { distill_loss: alpha, hidden_loss: hidden, pooled_loss: pooled };
  expect(Object.keys(done.terms)).toEqual(Object.entries(weighted).flatMap(([name, weight]) => (weight > 0 ? [name] : [])));
  expect(difference([done.loss], [values.loss])).toBeLessThan(1e-5);
  expect(difference([done.gradNorm], [values.grad_norm])).toBeLessThan(1e-4);
  for (const [name, value] of Object.entries(done.terms)) expect(difference([value], [values[name]]), name).toBeLessThan(1e-5);
}
