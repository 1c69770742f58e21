import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSafetensors, toInt32, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { explainMemory, inWords, refuseTooMuch } from '../../../steps/train/memory.ts';
import step from '../../../steps/train/step.ts';
import { ranStep } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

const memory = { weights: 440e6, gradients: 440e6, moments: 880e6, activations: 700e6, best: 0, teacher: 0 };
const SHAPE = '32 × 128 tokens';

test('the estimate lists its parts, and is an error if it exceeds the memory of the machine', () => {
  const words =
    "memory: about 2.5 GB: weights 440 MB, gradients 440 MB, the optimizer's state 880 MB, activations of 32 × 128 tokens 700 MB";
  expect(inWords(memory, SHAPE)).toBe(words);
  expect(() => refuseTooMuch(memory, SHAPE, 4e9)).not.toThrow();
  const refused = () => refuseTooMuch(memory, SHAPE, 2e9);
  expect(refused).toThrow(`this training needs more memory than the 2.0 GB available. ${words}`);
  expect(refused).toThrow(expect.objectContaining({ name: 'StepError', hint: expect.stringMatching(/^Lower `batch_size`/) }));
});

test.each([
  'std::bad_alloc',
  'Non-zero status code returned while running MatMul node. Failed to allocate memory for requested buffer of size 9663676416',
  'Array buffer allocation failed',
  'WebAssembly.Memory(): could not allocate memory',
  'OOM when allocating tensor with shape[32,12,512,512]',
])('%s: the error says what to lower', (message) => {
  expect(explainMemory(new Error(message), SHAPE)).toMatchObject({
    name: 'StepError',
    message: `out of memory, with batches of up to 32 × 128 tokens: ${message}`,
    hint: expect.stringMatching(/batch_size.*gradient_accumulation_steps.*max_length/),
    option: ['batch_size'],
  });
});

test('any other error is unchanged', () => {
  const error = new Error('The input labels was not given.');
  expect(explainMemory(error, SHAPE)).toBe(error);
});

test('a training reports its memory: less for adapters than for a whole model', async () => {
  const model = smallModel();
  const inputs = { model, tokens: await smallTokens(model) };
  const quick = { epochs: 1, batch_size: 8, runtime: 'eager' };
  const said = ({ log }: { log: string[] }) => log.find((line) => line.startsWith('memory: '));
  expect(said(await ranStep(step, quick, inputs))).toMatch(
    /^memory: about \d+ MB: weights \d MB, gradients 1 MB, the optimizer's state 1 MB, activations of 8 × \d+ tokens \d+ MB$/,
  );
  expect(said(await ranStep(step, { ...quick, optim: 'sgd' }, inputs))).not.toContain("optimizer's state");
});

test('a label that the model has no output for is reported before the training', async () => {
  const model = smallModel();
  const tokens = await smallTokens(model);
  const file = join(tokens, 'train-00000.safetensors');
  const tensors = await readSafetensors(file);
  toInt32(tensors.labels!)[5] = 2;
  await writeSafetensors(file, tensors);
  await expect(ranStep(step, { epochs: 1, runtime: 'eager' }, { model, tokens })).rejects.toMatchObject({
    message: 'sequence 5 of the tokens has the label 2, which must be between 0 and 1',
    hint: expect.stringMatching(/tokenize again/),
  });
});
