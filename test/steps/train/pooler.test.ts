/** The pooler of a masked language model: a teacher trains it, every training keeps it, and a classification starts from it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import evaluate from '../../../steps/evaluate/step.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { pooledTarget } from '../../../steps/ml/models/distillation.ts';
import { loadModel, type Model, startModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors } from '../../../steps/ml/models/safetensors.ts';
import type { Program } from '../../../steps/ml/runtime/runtime.ts';
import reduce from '../../../steps/reduce/step.ts';
import { teacherOf } from '../../../steps/train/teacher.ts';
import { soundModel } from '../ml/models/faults.ts';
import { ranStep } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';
import { lesson, masked, modelIn, POOLED, POOLER, poolerIn, trained } from './pooling.ts';

const IDENTITY = {
  [POOLER[0]!]: Array.from({ length: 256 }, (_, i) => (i % 17 === 0 ? 1 : 0)),
  [POOLER[1]!]: new Array<number>(16).fill(0),
};

test('a pooler learns, a further training keeps it, and a classification starts from it', async () => {
  const { 'distill.teacher': teacher, ...inputs } = await lesson();
  const first = await trained({ ...inputs, 'distill.teacher': teacher }, { epochs: 6, distill: POOLED });
  expect(first.log).toContain(`initialized as the identity: ${POOLER.join(', ')}`);
  const lines = readFileSync(first.outputs.history!, 'utf8').trim().split('\n');
  const losses = lines.map((line) => JSON.parse(line).pooled_loss).filter((loss) => loss !== undefined);
  expect(losses.at(-1)).toBeLessThan(0.5 * losses[0]);
  const pooler = await poolerIn(modelIn(first));
  expect(Object.keys(pooler)).toEqual(POOLER);
  expect(pooler).not.toEqual(IDENTITY);

  const further = await trained({ ...inputs, model: modelIn(first) });
  expect(further.log).toContain(`kept unchanged, because a later text-classification uses them: ${POOLER.join(', ')}`);
  expect(await poolerIn(modelIn(further))).toEqual(pooler);

  const tokens = await smallTokens(modelIn(further));
  const frozen = await trained({ tokens, model: modelIn(further) }, { freeze: ['bert'] });
  expect(frozen.log).toContain('randomly initialized: classifier.weight, classifier.bias');
  expect(await poolerIn(modelIn(frozen))).toEqual(pooler);
  const free = await trained({ tokens, model: modelIn(further) });
  expect(await poolerIn(modelIn(free))).not.toEqual(pooler);

  const { metrics } = await ranStep(evaluate, { split: 'test' }, { model: modelIn(further), tokens: inputs.tokens });
  expect(metrics.perplexity).toBeGreaterThan(1);
  expect((await ranStep(evaluate, { split: 'test' }, { model: modelIn(free), tokens })).metrics.accuracy).toBeGreaterThan(0);
});

test('a masked-lm training keeps the pooler of a classifier; from_scratch has none, lora and a narrow type keep it', async () => {
  const classifier = await soundModel();
  const tokens = await masked(classifier);
  const pooler = await poolerIn(classifier);
  const start = await trained({ tokens, model: classifier });
  expect(start.log).toContain('ignored, because a bert model for masked-lm does not use them: classifier.bias, classifier.weight');
  expect(await poolerIn(modelIn(start))).toEqual(pooler);

  const scratch = await trained({ tokens, model: modelIn(start) }, { from_scratch: true });
  expect(await poolerIn(modelIn(scratch))).toEqual({});

  const lora = { r: 2, alpha: 4, dropout: 0, merge: true };
  expect(await poolerIn(modelIn(await trained({ tokens, model: modelIn(start) }, { lora })))).toEqual(pooler);

  const half = modelIn(await ranStep(reduce, { dtype: 'float16' }, { model: modelIn(start) }));
  const rounded = await poolerIn(half);
  expect(rounded).not.toEqual(pooler);
  const fromHalf = await trained({ tokens, model: half });
  expect(await poolerIn(modelIn(fromHalf))).toEqual(rounded);
  expect((await readSafetensors(join(modelIn(fromHalf), 'model.safetensors')))[POOLER[0]!]!.dtype).toBe('F32');

  // Other tasks do not use it.
  expect((await startModel(modelIn(start), { task: 'token-classification', labels: ['a', 'b'], seed: 0, say: () => {} })).carried).toEqual(
    {},
  );
});

test('what a pooler learns has the same size for short and long texts, ignores padding, and is finite', async () => {
  const program: Program = (_, { states, mask }) => ({ pooled: pooledTarget(states!, mask!) });
  const runtime = await openRuntime('onnx', { threads: 1 });
  const inference = runtime.inference(program, {}, { states: ['batch', 'sequence', 2], mask: ['batch', 'sequence'] });
  // The means are (3, 4) · 0.001 of one token, (3, 4) of two tokens, 0 of two tokens that cancel each other, and 0 of padding alone.
  const states = [0.003, 0.004, 9, 9, 3, 8, 3, 0, 1, -1, -1, 1, 5, 5, 5, 5];
  const { pooled } = await inference.run({
    states: { dtype: 'float32', shape: [4, 2, 2], data: Float32Array.from(states) },
    mask: { dtype: 'int32', shape: [4, 2], data: Int32Array.of(1, 0, 1, 1, 1, 1, 0, 0) },
  });
  await inference.dispose();
  const [a, b] = [Math.tanh((3 * Math.SQRT2) / 5), Math.tanh((4 * Math.SQRT2) / 5)];
  for (const [i, value] of [a, b, a, b, 0, 0, 0, 0].entries()) expect(pooled!.data[i]).toBeCloseTo(value, 5);
});

test('a family without a pooler, another task and a teacher of another hidden size are refused', async () => {
  const golden = join(import.meta.dirname, '../../golden');
  const student = (family: string) => loadModel(join(golden, family, 'masked-lm/checkpoint'));
  const teacher = await loadModel(join(golden, 'distillation/masked-lm'));
  const refused = async (own: Model, other: Model) => {
    try {
      teacherOf(own, other, POOLED);
    } catch (error) {
      const { message, hint, option } = error as { message: string; hint: string; option: string[] };
      return { message, hint, option };
    }
    return undefined;
  };
  for (const family of ['bert', 'albert']) expect(await refused(await student(family), teacher), family).toBeUndefined();
  for (const family of ['roberta', 'xlm-roberta', 'camembert', 'distilbert', 'electra', 'modernbert'])
    expect(await refused(await student(family), teacher), family).toEqual({
      message: expect.stringMatching(`^\`pooled\` does not apply to an? ${family} model, whose text-classification reads no pooler$`),
      hint: 'It applies only to bert and albert. Remove it.',
      option: ['distill', 'pooled'],
    });
  const wider = await loadModel(join(golden, 'distillation/text-classification'));
  expect(await refused(await student('bert'), wider)).toEqual({
    message: 'the teacher has a hidden size of 32, but the student 16',
    hint: 'Hidden states can be compared only between equal sizes: remove `pooled`, or use another teacher.',
    option: ['distill', 'teacher'],
  });

  const model = smallModel();
  const inputs = { model, tokens: await smallTokens(model), 'distill.teacher': await soundModel() };
  await expect(trained(inputs, { distill: POOLED })).rejects.toMatchObject({
    message: '`pooled` does not apply to text-classification',
    hint: 'It applies only to masked-lm. Remove it.',
    option: ['distill', 'pooled'],
  });
});
