/** Short trainings, with their histories and records. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import step from '../../../steps/train/step.ts';
import { ranStep } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

/** 18 steps per epoch. */
export const quick = { epochs: 2, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };

export async function trained(options: object = {}, more: object = {}) {
  const model = smallModel();
  const ran = await ranStep(step, { ...quick, ...options }, { model, tokens: await smallTokens(model) }, {}, more);
  const history = readFileSync(ran.outputs.history!, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const record = JSON.parse(readFileSync(join(ran.outputs.model!, 'training.json'), 'utf8'));
  return { ...ran, history, record, measured: history.filter((line) => 'train_loss' in line) };
}

export interface MaxSteps {
  options: { max_steps: number };
  steps: number;
  epochs: number;
  rates: number[];
  measured: number[];
}

/** The results of transformers' Trainer with as many rows and such batches; test/golden/max-steps.py wrote them. */
export const maxSteps: MaxSteps[] = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/max-steps.json'), 'utf8'));

export async function sameAsTrainer(expected: MaxSteps): Promise<void> {
  const { history, measured, record } = await trained(expected.options);
  expect(record).toMatchObject({ steps: expected.steps, epochs: Number(expected.epochs.toFixed(4)) });
  expect(measured.map(({ step }) => step)).toEqual(expected.measured);
  const rates = history.flatMap(({ learning_rate }) => learning_rate ?? []);
  expect(rates).toHaveLength(expected.rates.length);
  for (const [step, rate] of expected.rates.entries()) expect(rates[step]).toBeCloseTo(rate, 12);
}
