/** A student whose training is interrupted. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSafetensors } from '../../../steps/ml/models/safetensors.ts';
import train from '../../../steps/train/step.ts';
import { soundModel } from '../../steps/ml/models/faults.ts';
import { ranStep, temporary } from '../../steps/rig.ts';
import { smallModel, smallTokens } from '../../steps/small.ts';

test('a student is trained, interrupted and resumed: the same bytes as without an interruption, with the terms of the loss', async () => {
  const model = smallModel();
  const teacher = await soundModel();
  const inputs = { model, tokens: await smallTokens(model), 'distill.teacher': teacher };
  const options = {
    ...{
      epochs: 2,
      batch_size: 4,
      gradient_accumulation_steps: 2,
      runtime: 'onnx',
      learning_rate: 0.01,
      dropout: 0.1,
      save_steps: 2,
      logging_steps: 1,
    },
    distill: { temperature: 2, alpha: 0.5, hidden: 1 },
  };
  const whole = await ranStep(train, options, inputs);
  const history = readFileSync(whole.outputs.history!, 'utf8');
  const [first, ...others] = history
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(Object.keys(first)).toEqual(['step', 'epoch', 'loss', 'distill_loss', 'hidden_loss', 'learning_rate', 'grad_norm', 'padding']);
  expect(others.at(-2).hidden_loss).toBeLessThan(first.hidden_loss);
  expect(whole.log.find((line) => line.startsWith('memory: '))).toMatch(/, the teacher \d+ MB$/);
  expect(Object.keys(await readSafetensors(join(whole.outputs.model!, 'model.safetensors')))).not.toContain(
    expect.stringMatching(/teacher/),
  );

  const stopping = new AbortController();
  const checkpoints = temporary();
  const interrupted = ranStep(
    train,
    options,
    inputs,
    {},
    {
      checkpoints,
      signal: stopping.signal,
      metric: (name, _, step) => void (name === 'loss' && step === 5 && stopping.abort(new Error('stopped'))),
    },
  );
  await expect(interrupted).rejects.toThrow('stopped');
  const resumed = await ranStep(train, options, inputs, {}, { checkpoints });
  expect(resumed.log.join('\n')).toContain('resumes at step 5 of 18');
  expect(readFileSync(resumed.outputs.history!, 'utf8')).toBe(history);
  const bytes = ({ outputs }: typeof whole) => readFileSync(join(outputs.model!, 'model.safetensors'));
  expect(bytes(resumed).equals(bytes(whole))).toBe(true);
});
