/** The pooler of a masked language model: a teacher trains it, every training keeps it, and a classification starts from it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import evaluate from '../../../steps/evaluate/step.ts';
import { openRuntime } from '../../../steps/ml/device/open.ts';
import { pooledTarget } from '../../../steps/ml/models/distillation.ts';
import { loadModel, type Model, saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32 } from '../../../steps/ml/models/safetensors.ts';
import type { Program } from '../../../steps/ml/runtime/runtime.ts';
import reduce from '../../../steps/reduce/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import step from '../../../steps/train/step.ts';
import { teacherOf } from '../../../steps/train/teacher.ts';
import { soundModel } from '../ml/models/faults.ts';
import { type Ran, ranStep, table, temporary } from '../rig.ts';
import { rows, smallModel, smallTokens } from '../small.ts';

const QUICK = { epochs: 1, batch_size: 8, learning_rate: 0.01, dropout: 0, runtime: 'onnx' };
const POOLED = { temperature: 1, alpha: 0, hidden: 0, pooled: 2 };
const POOLER = ['bert.pooler.dense.weight', 'bert.pooler.dense.bias'];
const IDENTITY = {
  [POOLER[0]!]: Array.from({ length: 256 }, (_, i) => (i % 17 === 0 ? 1 : 0)),
  [POOLER[1]!]: new Array<number>(16).fill(0),
};

async function trained(inputs: Record<string, string>, options: object = {}, ...more: unknown[]) {
  return ranStep(step, { ...QUICK, ...options }, inputs, {}, ...(more as []));
}

const masked = async (model: string) =>
  (
    await ranStep(
      tokenize,
      { task: 'masked-lm', max_length: 24 },
      { data: await table(rows({ train: 40, validation: 8, test: 8 })), model },
    )
  ).outputs.tokens!;

/** A student without weights, its tokens for masked-lm, and a teacher for masked-lm. */
async function lesson() {
  const model = smallModel({ num_hidden_layers: 2 });
  const teacher = smallModel({ num_hidden_layers: 3, initializer_range: 0.3 });
  await saveModel(teacher, await startModel(teacher, { task: 'masked-lm', labels: [], seed: 2, say: () => {} }));
  return { model, tokens: await masked(model), 'distill.teacher': teacher };
}

const modelIn = ({ outputs }: Ran) => outputs.model!;

/** The weights of the pooler in a folder, by name; empty if there are none. */
async function poolerIn(folder: string): Promise<Record<string, number[]>> {
  const all = await readSafetensors(join(folder, 'model.safetensors'));
  return Object.fromEntries(POOLER.flatMap((name) => (all[name] ? [[name, [...toFloat32(all[name])!]]] : [])));
}

const bytesIn = (ran: Ran) => readFileSync(join(modelIn(ran), 'model.safetensors'));

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

test('interrupted and resumed, or continued with more epochs, a pooler learns as in one training', async () => {
  const inputs = await lesson();
  const options = { distill: POOLED, dropout: 0.1, save_steps: 2, logging_steps: 1, lr_scheduler_type: 'constant', save_optimizer: true };
  const whole = await trained(inputs, { ...options, epochs: 2 });
  const checkpoints = join(temporary(), 'checkpoints');
  const stopping = new AbortController();
  const metric = (name: string, _: number, at: unknown) => void (name === 'loss' && at === 3 && stopping.abort(new Error('stopped')));
  await expect(trained(inputs, { ...options, epochs: 2 }, { checkpoints, signal: stopping.signal, metric })).rejects.toThrow('stopped');
  const resumed = await trained(inputs, { ...options, epochs: 2 }, { checkpoints });
  expect(resumed.log.join('\n')).toContain('resumes at step 3 of 10');
  expect(bytesIn(resumed).equals(bytesIn(whole))).toBe(true);

  const half = modelIn(await trained(inputs, options));
  const continued = await trained({ ...inputs, continue: half }, { ...options, epochs: 2 });
  expect(bytesIn(continued).equals(bytesIn(whole))).toBe(true);
  // Continued without the teacher, the pooler stays as it was, although `model` has none.
  const { 'distill.teacher': _, ...untaught } = inputs;
  const alone = await trained({ ...untaught, continue: half }, { ...options, distill: undefined, epochs: 2 });
  expect(await poolerIn(modelIn(alone))).toEqual(await poolerIn(half));
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
