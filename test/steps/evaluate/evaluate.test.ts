import { cpSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import clean from '../../../steps/clean/step.ts';
import step from '../../../steps/evaluate/step.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import { preview } from '../../../steps/preview/preview.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, table } from '../rig.ts';
import { rows, smallModel, smallTokens } from '../small.ts';
import { evaluated, kept, trained } from './evaluated.ts';

afterAll(() => rmSync(kept, { recursive: true }));

test('metrics, confusion matrix and predictions agree with each other', async () => {
  const { report, predictions, metrics } = await evaluated(await trained());
  expect(report).toMatchObject({ split: 'test', rows: 20, labels: ['bad', 'good'], positive: 'good' });
  expect(Object.keys(report.metrics)).toEqual(['accuracy', 'precision', 'recall', 'f1']);
  expect(report.metrics.accuracy).toBeGreaterThan(0.9);
  expect(metrics).toEqual(report.metrics);
  expect(predictions.map(({ id }) => id)).toEqual(predictions.map((_, i) => `test-${String(i).padStart(4, '0')}`));
  const count = (label: string, predicted: string) => predictions.filter((p) => p.label === label && p.prediction === predicted).length;
  const matrix = ['bad', 'good'].map((label) => ['bad', 'good'].map((predicted) => count(label, predicted)));
  expect(report.confusion_matrix).toEqual(matrix);
  for (const { prediction, scores } of predictions) {
    expect(scores.bad + scores.good).toBeCloseTo(1, 6);
    expect(scores[prediction]).toBeGreaterThanOrEqual(0.5);
  }
});

test('each class has its scores, by name, with the predictions of its rows; `show` prints them as tables', async () => {
  const inputs = await trained();
  const { report, predictions, outputs, warnings } = await evaluated(inputs);
  expect(Object.keys(report.classes)).toEqual(['bad', 'good']);
  for (const [label, { precision, recall, support, predicted_as }] of Object.entries<any>(report.classes)) {
    const own = predictions.filter((row) => row.label === label);
    expect(support).toBe(own.length);
    expect(predicted_as).toEqual(
      Object.fromEntries(
        ['bad', 'good'].flatMap((name) => {
          const count = own.filter(({ prediction }) => prediction === name).length;
          return count > 0 ? [[name, count]] : [];
        }),
      ),
    );
    const hits = own.filter(({ prediction }) => prediction === label).length;
    expect(recall).toBeCloseTo(hits / own.length, 12);
    expect(precision).toBeCloseTo(hits / Math.max(1, predictions.filter(({ prediction }) => prediction === label).length), 12);
  }
  expect(warnings).toEqual([]);
  const shown = await preview(outputs.metrics!, 10);
  expect(shown.map(({ title }) => title)).toEqual([
    'metrics of the split test, 20 rows',
    'classes',
    'confusion matrix',
    expect.stringMatching(/^JSON/),
  ]);
  expect(shown[0]!.table!.header).toEqual(['metric', 'value', '95% interval']);
  expect(shown[2]!.table!.header).toEqual(['true \\ predicted', 'bad', 'good']);
  expect(shown[2]!.table!.rows.map(([, ...row]) => row.map(Number))).toEqual(report.confusion_matrix);
});

test('another positive label, other metrics, another split, another batch size', async () => {
  const inputs = await trained();
  const asked = await evaluated(inputs, { positive: 'bad', metrics: ['f1', 'mcc', 'roc_auc'], split: 'train', batch_size: 7 });
  expect(asked.report).toMatchObject({ split: 'train', rows: 70, positive: 'bad' });
  expect(Object.keys(asked.report.metrics)).toEqual(['f1', 'mcc', 'roc_auc']);
  const [a, b] = [await evaluated(inputs, { batch_size: 3 }), await evaluated(inputs, { runtime: 'onnx' })];
  for (const [i, { scores }] of a.predictions.entries()) expect(b.predictions[i].scores.good).toBeCloseTo(scores.good, 5);
});

test('a positive label that no metric uses is rejected', () => {
  const options = { split: 'test', batch_size: 32, runtime: 'auto', device: 'auto', positive: 'bad' } as const;
  expect(step.check!({ ...options, metrics: ['accuracy', 'mcc'] } as never)).toEqual([
    {
      option: 'positive',
      message: '`positive` applies to precision, recall, f1, roc_auc, average_precision, and `metrics` has none of them',
    },
  ]);
  const fairness = { group: 'author' };
  expect(step.check!({ ...options, metrics: ['accuracy'], fairness: { ...fairness, positive: 'good' } } as never)).toHaveLength(1);
  for (const more of [{}, { metrics: ['mcc', 'roc_auc'] }, { metrics: ['accuracy'], fairness }])
    expect(step.check!({ ...options, ...more } as never)).toEqual([]);
});

test('labels are matched by name, not by number', async () => {
  const { model, tokens } = await trained(['bad', 'good', 'odd']);
  // In these tokens `good` is 0 and `odd` is 1; in the model they are 1 and 2.
  const { report } = await evaluated({ model, tokens: await smallTokens(model, ['good', 'odd']) });
  expect(report.labels).toEqual(['bad', 'good', 'odd']);
  expect(report.confusion_matrix[0]).toEqual([0, 0, 0]);
  const two = await trained();
  await expect(evaluated({ model: two.model, tokens })).rejects.toMatchObject({
    message: 'the model does not know the label odd, which the tokens have',
    hint: 'Its labels are bad, good.',
  });
});

test('unusable inputs are rejected', async () => {
  const { model, tokens } = await trained();
  await expect(evaluated({ model, tokens }, { split: 'dev' })).rejects.toMatchObject({
    message: 'the tokens have no split "dev"',
    hint: 'They have test (20 rows), train (70 rows), validation (20 rows).',
  });
  await expect(evaluated({ model, tokens }, { positive: 'great' })).rejects.toThrow('no label is "great"');
  await expect(evaluated({ model: smallModel(), tokens })).rejects.toThrow('contains a BertModel, which has no head for a task');

  writeFileSync(join(model, 'tokenizer.json'), '{}');
  await expect(evaluated({ model, tokens })).rejects.toThrow("not made with the model's tokenizer");
  rmSync(join(model, 'tokenizer.json'));

  const file = join(model, 'model.safetensors');
  const tensors = await readSafetensors(file);
  toFloat32(tensors['bert.embeddings.LayerNorm.weight']!)!.fill(3e38); // their sums overflow
  await writeSafetensors(file, tensors);
  await expect(evaluated({ model, tokens })).rejects.toThrow('the model outputs scores that are not numbers');
  rmSync(file);
  await expect(evaluated({ model, tokens })).rejects.toThrow('has no model.safetensors');
});

test('a warning reports tokens that differ from the training; rows without a training split are encoded as in training by default', async () => {
  const { model, tokens } = await trained();
  expect((await evaluated({ model, tokens })).warnings).toEqual([]);
  const data = await table(rows({ test: 6 }));
  const outside = async (options: object, from = data) => (await ranStep(tokenize, options, { data: from, model })).outputs.tokens!;
  const same = await evaluated({ model, tokens: await outside({}) });
  expect([same.report.rows, same.warnings]).toEqual([6, []]);
  const cleaned = (await ranStep(clean, { lowercase: true }, { data })).outputs.data!;
  const other = await evaluated({ model, tokens: await outside({ max_length: 16 }, cleaned) });
  expect(other.warnings).toEqual([
    'these tokens were encoded differently from the training, and from what predict, generate and serve do: max_length was 24 and is 16; `text` was not cleaned and is cleaned (remove the clean step)',
  ]);
});

describe('intervals', () => {
  /** Rows of which every seventh has another label than its text says; five authors wrote them. */
  async function noisy() {
    const { model } = await trained();
    const made = join(kept, 'noisy');
    if (!existsSync(made)) {
      const some = rows({ train: 2, test: 70 }).map((row, i) => ({
        ...row,
        label: i % 7 === 3 ? (row.label === 'bad' ? 'good' : 'bad') : row.label!,
        author: `author ${i % 5}`,
      }));
      const data = await table(some);
      cpSync((await ranStep(tokenize, { max_length: 24 }, { data, model })).outputs.tokens!, join(made, 'tokens'), { recursive: true });
      cpSync(data, join(made, 'data'), { recursive: true });
    }
    return { model, data: join(made, 'data'), tokens: join(made, 'tokens') };
  }

  test('every metric has one, in the metrics file and for the terminal', async () => {
    const { report, notes } = await evaluated(await noisy());
    expect(report.interval).toEqual({ level: 0.95, method: 'bca', resamples: 1000, unit: 'examples', stratified: true, seed: 0 });
    expect(Object.keys(report.intervals)).toEqual(Object.keys(report.metrics));
    for (const [name, value] of Object.entries<number>(report.metrics)) {
      const { low, high } = report.intervals[name];
      expect(low).toBeGreaterThan(value - 0.2);
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
      expect(high).toBeLessThanOrEqual(1);
      expect(notes[name]).toEqual({ better: 'higher', low, high });
    }
    expect(report.undefined).toBeUndefined();
  });

  test('other options; the same seed gives the same interval', async () => {
    const intervals = { resamples: 200, level: 0.8, method: 'percentile', stratify: false, seed: 7 };
    const [first, second] = [
      await evaluated(await noisy(), { metrics: ['accuracy'], intervals }),
      await evaluated(await noisy(), { metrics: ['accuracy'], intervals }),
    ];
    const { stratify: stratified, ...same } = intervals;
    expect(first.report.interval).toEqual({ ...same, unit: 'examples', stratified });
    expect(first.report.intervals).toEqual(second.report.intervals);
    const { low, high } = first.report.intervals.accuracy;
    expect(high - low).toBeLessThan(0.13);
    const shown = await preview(first.outputs.metrics!, 10);
    const value = first.report.metrics.accuracy.toFixed(4);
    expect(shown[0]!.table!.header).toEqual(['metric', 'value', '80% interval']);
    expect(shown[0]!.table!.rows).toEqual([['accuracy', value, `${low.toFixed(4)} to ${high.toFixed(4)}`]]);
  });

  test('groups are drawn instead of examples', async () => {
    const inputs = await noisy();
    const { report } = await evaluated(inputs, { metrics: ['accuracy'], intervals: { group: 'author' } });
    expect(report.interval).toMatchObject({ unit: 'groups of author', stratified: false });
    // Each author has the same share of changed labels.
    const { low, high } = report.intervals.accuracy ?? {};
    expect(high - low || 0).toBeLessThan(0.1);
    await expect(evaluated(inputs, { intervals: { group: 'writer' } })).rejects.toThrow('the data have no column `writer`');
    const { data: _, ...without } = inputs;
    await expect(evaluated(without, { intervals: { group: 'author' } })).rejects.toThrow('needs the input `data`');
  });

  test('without them, and if they are undefined', async () => {
    const off = await evaluated(await noisy(), { intervals: false });
    expect(off.report).not.toHaveProperty('intervals');
    expect(off.report).not.toHaveProperty('interval');
    expect(off.notes.accuracy).toEqual({ better: 'higher' });
    const perfect = await evaluated(await trained());
    const why = 'all bootstrap samples have the same value, so they do not show how far it may be from the true one';
    expect(perfect.report.metrics.accuracy).toBe(1);
    expect(perfect.report.intervals.accuracy).toEqual({ low: null, high: null });
    expect(perfect.report.undefined).toMatchObject({ 'accuracy.lower': why, 'accuracy.upper': why });
    expect(perfect.log).toContain(`no interval of accuracy, precision, recall, f1: ${why}`);
    expect(perfect.notes.accuracy).toEqual({ better: 'higher' });
  });
});
