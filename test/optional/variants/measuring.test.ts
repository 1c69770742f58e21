/** When a training is evaluated, and which of its weights are kept: more cases. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OptionNotes } from '../../../engine/contract/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import step from '../../../steps/train/step.ts';
import { ranStep, table, temporary } from '../../steps/rig.ts';
import { type MaxSteps, maxSteps, sameAsTrainer, trained } from '../../steps/train/measured.ts';
import { smallT5 } from '../../steps/writers.ts';

test.each<MaxSteps>(maxSteps.slice(1))('$options: steps, learning rates and evaluations are those of Trainer', sameAsTrainer);

test('early stopping by steps stops within an epoch', async () => {
  const early_stopping = { metric: 'f1', patience: 3, min_delta: 0 };
  const { record, log } = await trained({ epochs: 20, eval_strategy: 'steps', eval_steps: 5, early_stopping });
  expect(record.kept_step).toBe(record.steps - 15);
  expect(log).toContain(`stopped early: f1 has not improved since step ${record.kept_step}`);
  // Of 36 steps: evaluated after 16, 32 and the last.
  const last = { early_stopping: { metric: 'loss', patience: 2, min_delta: 100 }, eval_strategy: 'steps', eval_steps: 16 };
  expect((await trained(last)).log).toContain('stopped early: loss has not improved since step 16');
});

test('load_best_model_at_end trains to the end and keeps the best evaluated weights, by any metric', async () => {
  const options = { epochs: 6, learning_rate: 0.05, eval_strategy: 'steps', eval_steps: 4, load_best_model_at_end: true };
  const { measured, record, metrics, log } = await trained({ ...options, metric_for_best_model: 'recall' });
  expect(record.steps).toBe(6 * 18);
  const recalls = measured.map(({ validation_recall }) => validation_recall);
  const best = measured[recalls.indexOf(Math.max(...recalls))];
  expect(record.kept_step).toBe(best.step);
  expect(metrics.validation_recall).toBe(best.validation_recall);
  expect(record.kept_step).toBeLessThan(record.steps);
  expect(log).toContain(`kept the weights of step ${record.kept_step}, the best by recall`);
});

test('a metric of generated texts equals that of evaluate', async () => {
  const model = temporary();
  const words = ['red', 'green', 'blue', 'dark', 'light'];
  smallT5(model, words);
  const made = Array.from({ length: 60 }, (_, i) => {
    const target = words[i % 3]!;
    return { id: `r${100 + i}`, text: `${words[3 + (i % 2)]} ${target}`, target, split: i < 40 ? 'train' : 'validation' };
  });
  const { outputs: tokenized } = await ranStep(tokenize, { task: 'seq2seq', max_length: 8 }, { data: await table(made), model });
  const tokens = tokenized.tokens!;
  const options = { epochs: 6, batch_size: 8, learning_rate: 0.01, runtime: 'onnx', seed: 1 };
  const { outputs, metrics } = await ranStep(step, { ...options, early_stopping: { metric: 'rougeL', patience: 3 } }, { model, tokens });
  const again = await ranStep(evaluate, { split: 'validation', metrics: ['rougeL'] }, { model: outputs.model!, tokens });
  expect(metrics.validation_rougeL).toBeGreaterThan(0);
  expect(metrics.validation_rougeL).toBe(again.metrics.rougeL);
  await expect(ranStep(step, { ...options, early_stopping: { metric: 'f1' } }, { model, tokens })).rejects.toMatchObject({
    message: 'seq2seq has no metric f1',
    hint: expect.stringMatching(/rougeL.*perplexity/),
  });
});

test('options outside the fingerprint change no byte of any output', async () => {
  const unmarked = Object.entries(step.options!).filter(([, schema]) => (schema as OptionNotes).fingerprint !== false);
  const files = (outputs: Record<string, string>) =>
    Object.values(outputs).flatMap((output) =>
      readdirSync(output.replace(/history$/, ''), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.parentPath.includes('checkpoints'))
        .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name)).toString('base64')]),
    );
  const { outputs, record } = await trained({ epochs: 1 });
  expect(Object.keys(record.options).filter((name) => !unmarked.some(([known]) => known === name))).toEqual([]);
  const others = await trained({ epochs: 1, logging_steps: 7, tensorboard: true, save_steps: 3, save_minutes: 0.001 });
  expect(files(others.outputs)).toEqual(files(outputs));
});

const defaults = Object.fromEntries(
  Object.entries(step.options!).map(([name, schema]) => [name, (schema as { default?: unknown }).default]),
);

test.each([
  [{ eval_steps: 5 }, 'eval_steps', '`eval_steps` needs `eval_strategy: steps`, not epoch'],
  [{ eval_strategy: 'steps' }, 'eval_strategy', '`eval_strategy: steps` needs `eval_steps`'],
  [{ metric_for_best_model: 'f1' }, 'metric_for_best_model', '`metric_for_best_model` needs `load_best_model_at_end`'],
  [{ load_best_model_at_end: true, early_stopping: {} }, 'load_best_model_at_end', '`early_stopping` already keeps the best weights'],
  [
    { load_best_model_at_end: true, eval_strategy: 'no' },
    'eval_strategy',
    /^`load_best_model_at_end` needs evaluations: set `eval_strategy` to epoch or steps$/,
  ],
  [{ load_best_model_at_end: true, epochs: 1 }, 'load_best_model_at_end', /needs more than one epoch, or `eval_strategy: steps`$/],
  [{ load_best_model_at_end: true, save_optimizer: true }, 'save_optimizer', /may keep the weights of an earlier step$/],
])('%j is rejected', (options, option, message) => {
  const problems = step.check!({ ...defaults, ...options } as never);
  expect(problems).toEqual([{ option, message: typeof message === 'string' ? message : expect.stringMatching(message) }]);
});
