/** When a training is evaluated, which of its weights are kept, and what it writes meanwhile. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { crc32c } from '../../../steps/ml/metrics/tensorboard.ts';
import { exportHistory, sparkline } from '../../../steps/preview/history.ts';
import { preview } from '../../../steps/preview/preview.ts';
import { temporary } from '../rig.ts';
import { type MaxSteps, maxSteps, sameAsTrainer, trained } from './measured.ts';

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

test.each<MaxSteps>(maxSteps.slice(0, 1))('$options: steps, learning rates and evaluations are those of Trainer', sameAsTrainer);

test('eval_strategy no makes no evaluation', async () => {
  const { measured, metrics, log } = await trained({ eval_strategy: 'no' });
  expect(measured).toHaveLength(2);
  expect(Object.keys(measured[0])).toEqual(['step', 'epoch', 'train_loss', 'padding']);
  expect(metrics).toEqual({ train_loss: measured.at(-1).train_loss });
  expect(log.join('\n')).not.toContain('validation');
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
