/** Learning from a teacher against a PyTorch loop: test/golden/distillation.py made the teachers and the values. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Distillation } from '../../../steps/ml/models/distillation.ts';
import { type ModelStart, startModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import type { HostTensors, Training } from '../../../steps/ml/runtime/runtime.ts';
import train from '../../../steps/train/step.ts';
import { KEY_BIAS } from '../../golden/zero.ts';
import { soundModel } from '../ml/models/faults.ts';
import { compareStep, int32 } from '../ml/models/golden.ts';
import { COMPILED } from '../ml/runtime/options.ts';
import { ranStep, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';
import { expectLosses, golden, lesson, stepOf, taughtTests } from './lesson.ts';

/** A student for masked-lm whose pooler learns, too: from the identity, or from the weights that PyTorch started with. */
async function pooledLesson(name: string) {
  const values = JSON.parse(readFileSync(join(golden, 'distillation', `${name}.json`), 'utf8'));
  const { inputs, teacher } = await lesson(name.split('-')[0]!, 'masked-lm');
  const folder = temporary();
  cpSync(join(golden, name.split('-')[0]!, 'masked-lm/checkpoint'), folder, { recursive: true });
  if (values.options.start === 'given') {
    const file = join(folder, 'model.safetensors');
    const pooler = await readSafetensors(join(golden, 'distillation', `${name}.safetensors`));
    await writeSafetensors(file, { ...(await readSafetensors(file)), ...pooler });
  }
  const say: string[] = [];
  const distillation: Distillation = values.options;
  const start: ModelStart = { task: 'masked-lm', labels: [], seed: 0, distillation, say: (line) => void say.push(line) };
  const student = await startModel(folder, start);
  expect(say.some((line) => line.startsWith('initialized as the identity: '))).toBe(values.options.start === 'identity');
  return { values, inputs, student, teacher, distillation };
}

describe.each(['text-classification', 'masked-lm'])('for %s', (task) => taughtTests(task, [['eager'], [COMPILED]]));

describe.each(['bert-pooled-alone', 'bert-pooled-given'])('a pooler that learns, %s', (stored) => {
  for (const [name, checkpointing] of [['eager'], [COMPILED], [COMPILED, true]] as const) {
    test(`${name}${checkpointing ? ' with gradient checkpointing' : ''}: losses, gradients and the weights after a step equal those of PyTorch`, async () => {
      const { values, inputs, ...models } = await pooledLesson(stored);
      const { training, ...done } = await stepOf(name, { ...models, checkpointing: checkpointing ?? false }, [inputs]);
      expectLosses(done, values);
      await compareStep(training, join(golden, 'distillation', stored), Math.min(1, values.grad_norm), (weight) => KEY_BIAS.test(weight));
      await training.dispose();
    });
  }
});

test.each(['bert-pooled-hidden', 'bert-pooled-alpha', 'albert-pooled-given'])(
  'a pooler that learns, %s: losses and gradients are those of transformers',
  async (name) => {
    const { values, inputs, ...models } = await pooledLesson(name);
    const { training, ...done } = await stepOf(COMPILED, models, [inputs]);
    expectLosses(done, values);
    expectGradients(training, values);
    await training.dispose();
  },
);

test('a batch in parts has the loss of the pooler and the gradient of the whole batch', async () => {
  for (const name of ['bert-pooled-alone', 'bert-pooled-given']) {
    const { values, inputs, ...models } = await pooledLesson(name);
    const { training, ...done } = await stepOf(COMPILED, models, partsOf(inputs));
    expectLosses(done, values);
    expectGradients(training, values);
    await training.dispose();
  }
});

const OTHERS = ['distilbert', 'roberta', 'albert', 'xlm-roberta', 'camembert', 'electra', 'modernbert'];

test.each(OTHERS.flatMap((family) => ['text-classification', 'masked-lm'].map((task) => [family, task] as const)))(
  'the hidden states of %s for %s are those of transformers',
  async (family, task) => {
    const { values, inputs, ...models } = await lesson(family, task);
    const { training, ...done } = await stepOf(COMPILED, { ...models, distillation: values.options }, [inputs]);
    expectLosses(done, values);
    expectGradients(training, values);
    await training.dispose();
  },
);

test('a batch in parts with other shares of labels and of tokens has the losses and the gradient of the whole batch', async () => {
  for (const task of ['text-classification', 'masked-lm']) {
    const { values, inputs, ...models } = await lesson('bert', task);
    const { training, ...done } = await stepOf(COMPILED, { ...models, distillation: values.options }, partsOf(inputs));
    expectLosses(done, values);
    await training.dispose();
  }
});

/** The first row, and the others. */
function partsOf(inputs: HostTensors): HostTensors[] {
  const rows = inputs.input_ids!.shape[0]!;
  const length = inputs.input_ids!.shape[1]!;
  return [
    [0, 1],
    [1, rows],
  ].map(([from, to]) => {
    const cut = Object.entries(inputs).map(([name, { dtype, shape, data }]) => {
      if (!('label_positions' in inputs) || !['label_positions', 'labels'].includes(name)) {
        const width = data.length / rows;
        return [name, { dtype, shape: [to! - from!, ...shape.slice(1)], data: data.slice(from! * width, to! * width) }];
      }
      const positions = [...inputs.label_positions!.data];
      const own = [...positions.keys()].filter((i) => positions[i]! >= from! * length && positions[i]! < to! * length);
      return [name, int32(own.map((i) => (name === 'labels' ? inputs.labels!.data[i]! : positions[i]! - from! * length)))];
    });
    return Object.fromEntries(cut);
  });
}

test('a student that equals its teacher has nothing to learn from it', async () => {
  const { inputs, student } = await lesson('bert', 'masked-lm');
  const distillation = { temperature: 2, alpha: 1, hidden: 1, pooled: 0 };
  const { training, ...done } = await stepOf(COMPILED, { student, teacher: student, distillation }, [inputs]);
  expect(Math.abs(done.loss) + Math.abs(done.gradNorm)).toBeLessThan(1e-5);
  await training.dispose();
});

test('a model without a head teaches hidden states alone', async () => {
  const model = smallModel();
  const teacher = await soundModel();
  const tensors = Object.entries(await readSafetensors(join(teacher, 'model.safetensors')));
  const base = tensors.filter(([name]) => !/classifier|pooler/.test(name)).map(([name, tensor]) => [name.replace('bert.', ''), tensor]);
  await writeSafetensors(join(teacher, 'model.safetensors'), Object.fromEntries(base));
  const inputs = { model, tokens: await smallTokens(model), 'distill.teacher': teacher };
  const options = { epochs: 1, batch_size: 8, runtime: 'onnx' };
  const { outputs } = await ranStep(train, { ...options, distill: { temperature: 1, alpha: 0, hidden: 1 } }, inputs);
  const [first] = readFileSync(outputs.history!, 'utf8').split('\n');
  expect(Object.keys(JSON.parse(first!))).toEqual(['step', 'epoch', 'loss', 'hidden_loss', 'learning_rate', 'grad_norm', 'padding']);
  const withOutputs = ranStep(train, { ...options, distill: { temperature: 1, alpha: 0.5, hidden: 1 } }, inputs);
  await expect(withOutputs).rejects.toMatchObject({
    message: expect.stringMatching(/^the teacher cannot be used: /),
    option: ['distill', 'teacher'],
  });
});

/** The norm of the gradient of each weight. */
function expectGradients(training: Training, values: any): void {
  const m = training.optimizerState().slots.m!;
  const clipped = Math.min(1, 1 / (values.grad_norm + 1e-6));
  for (const [weight, norm] of Object.entries<number>(values.gradient_norms)) {
    const own = m[weight] && Math.hypot(...m[weight]) / 0.1 / clipped;
    if (own !== undefined) expect(Math.abs(own - norm), weight).toBeLessThan(1e-4 * Math.max(norm, 1e-2 * values.grad_norm));
  }
}
