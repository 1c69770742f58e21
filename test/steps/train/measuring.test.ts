/** When a training is evaluated, which of its weights are kept, and what it writes meanwhile. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { OptionNotes } from '../../../engine/contract/step.ts';
import evaluate from '../../../steps/evaluate/step.ts';
import { crc32c } from '../../../steps/ml/metrics/tensorboard.ts';
import { exportHistory, sparkline } from '../../../steps/preview/history.ts';
import { preview } from '../../../steps/preview/preview.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import step from '../../../steps/train/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';
import { smallT5 } from '../writers.ts';

/** 18 steps per epoch. */
const quick = { epochs: 2, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };

async function trained(options: object = {}, more: object = {}) {
  const model = smallModel();
  const ran = await ranStep(step, { ...quick, ...options }, { model, tokens: await smallTokens(model) }, {}, more);
  const history = readFileSync(ran.outputs.history!, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const record = JSON.parse(readFileSync(join(ran.outputs.model!, 'training.json'), 'utf8'));
  return { ...ran, history, record, measured: history.filter((line) => 'train_loss' in line) };
}

test('by steps it is evaluated within epochs, and at the last step whatever its number', async () => {
  const { measured, log, metrics } = await trained({ eval_strategy: 'steps', eval_steps: 10 });
  expect(measured.map(({ step, epoch }) => [step, epoch])).toEqual([
    [10, 1],
    [20, 2],
    [30, 2],
    [36, 2],
  ]);
  expect(metrics.validation_accuracy).toBe(measured.at(-1).validation_accuracy);
  expect(log).toContainEqual(expect.stringMatching(/^step 20, epoch 2: loss .*, validation accuracy .*/));
});

interface MaxSteps {
  options: { max_steps: number };
  steps: number;
  epochs: number;
  rates: number[];
  measured: number[];
}

/** The results of transformers' Trainer with as many rows and such batches; test/golden/max-steps.py wrote them. */
const maxSteps: MaxSteps[] = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/max-steps.json'), 'utf8'));

test.each<MaxSteps>(maxSteps)('$options: steps, learning rates and evaluations are those of Trainer', async (expected) => {
  const { history, measured, record } = await trained(expected.options);
  expect(record).toMatchObject({ steps: expected.steps, epochs: Number(expected.epochs.toFixed(4)) });
  expect(measured.map(({ step }) => step)).toEqual(expected.measured);
  const rates = history.flatMap(({ learning_rate }) => learning_rate ?? []);
  expect(rates).toHaveLength(expected.rates.length);
  for (const [step, rate] of expected.rates.entries()) expect(rates[step]).toBeCloseTo(rate, 12);
});

test('eval_strategy no makes no evaluation', async () => {
  const { measured, metrics, log } = await trained({ eval_strategy: 'no' });
  expect(measured).toHaveLength(2);
  expect(Object.keys(measured[0])).toEqual(['step', 'epoch', 'train_loss', 'padding']);
  expect(metrics).toEqual({ train_loss: measured.at(-1).train_loss });
  expect(log.join('\n')).not.toContain('validation');
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

test('early stopping by steps stops within an epoch', async () => {
  const early_stopping = { metric: 'f1', patience: 3, min_delta: 0 };
  const { record, log } = await trained({ epochs: 20, eval_strategy: 'steps', eval_steps: 5, early_stopping });
  expect(record.kept_step).toBe(record.steps - 15);
  expect(log).toContain(`stopped early: f1 has not improved since step ${record.kept_step}`);
  // Of 36 steps: evaluated after 16, 32 and the last.
  const last = { early_stopping: { metric: 'loss', patience: 2, min_delta: 100 }, eval_strategy: 'steps', eval_steps: 16 };
  expect((await trained(last)).log).toContain('stopped early: loss has not improved since step 16');
});

test('a point of the curves has all figures, for every step of a short training and for as many as requested', async () => {
  const curves: Record<string, number[]> = {};
  const metric = (name: string, value: number, step?: number) => {
    if (step !== undefined) curves[name] = [...(curves[name] ?? []), value];
  };
  const { history } = await trained({ epochs: 1 }, { metric });
  expect(history.filter((line) => 'loss' in line)).toHaveLength(18);
  expect(Object.keys(history[0])).toEqual(['step', 'epoch', 'loss', 'learning_rate', 'grad_norm', 'padding']);
  for (const name of ['loss', 'learning_rate', 'grad_norm', 'padding', 'tokens_per_second', 'memory_mb'])
    expect(curves[name], name).toHaveLength(18);
  for (const name of ['grad_norm', 'tokens_per_second', 'memory_mb']) expect(Math.min(...curves[name]!), name).toBeGreaterThan(0);
  for (const name of Object.keys(curves)) delete curves[name];
  const { history: same } = await trained({ epochs: 1, logging_steps: 6 }, { metric });
  expect(same).toEqual(history);
  for (const name of ['loss', 'grad_norm', 'tokens_per_second']) expect(curves[name], name).toHaveLength(3);
  const losses = history.slice(0, 6).map(({ loss }) => loss);
  expect(curves.loss![0]).toBeCloseTo(losses.reduce((a, b) => a + b) / 6, 6);
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

test('event files: records with their checksums', async () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283); // the polynomial's check value
  const { outputs, history } = await trained({ epochs: 1 });
  const [file] = readdirSync(outputs.tensorboard!);
  const bytes = readFileSync(join(outputs.tensorboard!, file!));
  let records = 0;
  for (let at = 0; at < bytes.length; records++) {
    const length = Number(bytes.readBigUInt64LE(at));
    const unmask = (offset: number) => {
      const rotated = (bytes.readUInt32LE(offset) - 0xa282ead8) >>> 0;
      return ((rotated >>> 17) | (rotated << 15)) >>> 0;
    };
    expect(unmask(at + 8)).toBe(crc32c(bytes.subarray(at, at + 8)));
    expect(unmask(at + 12 + length)).toBe(crc32c(bytes.subarray(at + 12, at + 12 + length)));
    at += 16 + length;
  }
  expect(records).toBe(1 + history.length);
  const again = await trained({ epochs: 1, tensorboard: true });
  expect(readFileSync(join(again.outputs.tensorboard!, file!)).equals(bytes)).toBe(true);
});

test('show: a history is a row per evaluation and a line per curve; its curves go to TensorBoard', async () => {
  const { outputs, measured, metrics } = await trained({ epochs: 2 });
  const [course, curves] = await preview(outputs.history!, 10);
  expect(course!.title).toBe('training history, 36 steps, 2 evaluations (* is the best)');
  expect(course!.table!.rows.map(([epoch, step]) => [epoch, step])).toEqual([
    ['1', '18'],
    ['2', '36'],
  ]);
  const column = course!.table!.header.findIndex((name) => name.trim() === 'val_loss');
  expect(measured.map(({ generalization_gap }) => generalization_gap)).toEqual(
    measured.map(({ train_loss, validation_loss }) => validation_loss - train_loss),
  );
  expect(metrics.generalization_gap).toBe(measured.at(-1).generalization_gap);
  expect(course!.table!.header.map((name) => name.trim())).toContain('gap');
  const losses = measured.map(({ validation_loss }) => validation_loss);
  expect(course!.table!.rows.map((row) => row[column]!.endsWith(' *'))).toEqual(losses.map((loss) => loss === Math.min(...losses)));
  expect(curves!.table!.rows.find(([name]) => name === 'loss')![1]).toMatch(/^[▁▂▃▄▅▆▇█]{20}$/);
  const folder = join(temporary(), 'board');
  expect(await exportHistory(outputs.history!, folder)).toBe(true);
  const [file] = readdirSync(folder);
  expect(readFileSync(join(folder, file!)).equals(readFileSync(join(outputs.tensorboard!, file!)))).toBe(true);
  expect(await exportHistory(join(outputs.model!, 'training.json'), folder)).toBe(false);
});

test('a sparkline: means of neighbours, with the lowest and the highest bar at the ends of the range', () => {
  expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 24)).toBe('▁▂▃▄▅▆▇█');
  expect(sparkline([0, 0, 7, 7], 2)).toBe('▁█');
  expect(sparkline([3, 3], 5)).toBe('▁▁');
  expect(sparkline([1, Number.NaN, 2], 5)).toBe('▁ █');
  expect(sparkline([], 5)).toBe('');
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
