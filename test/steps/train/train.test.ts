import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { loadModel } from '../../../steps/ml/models/model-folder.ts';
import { readSafetensors, toFloat32, writeSafetensors } from '../../../steps/ml/models/safetensors.ts';
import step from '../../../steps/train/step.ts';
import { ranStep } from '../rig.ts';
import { smallModel, smallTokens } from '../small.ts';

// `eager` needs no compilation, which would take longer here than all the steps.
const quick = { task: 'text-classification', epochs: 3, learning_rate: 0.02, batch_size: 4, runtime: 'eager' };

async function trained(options: object = {}, { model = smallModel(), tokens = '' } = {}) {
  const inputs = { model, tokens: tokens || (await smallTokens(model)) };
  const ran = await ranStep(step, { ...quick, ...options }, inputs);
  const history = readFileSync(ran.outputs.history!, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const record = JSON.parse(readFileSync(join(ran.outputs.model!, 'training.json'), 'utf8'));
  return { ...ran, inputs, history, record, weights: sha256(join(ran.outputs.model!, 'model.safetensors')) };
}

const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');

test('a model learns from random weights, and its folder is complete', async () => {
  const { metrics, history, record, outputs, log } = await trained({ runtime: 'auto' });
  expect(metrics.validation_accuracy).toBeGreaterThan(0.9);
  expect(metrics.validation_f1).toBeGreaterThan(0.9);
  expect(history).toHaveLength(54 + 3);
  expect(history[0]).toMatchObject({ step: 1, epoch: 1, learning_rate: 0.02 });
  expect(history.at(-1)).toMatchObject({ step: 54, epoch: 3, validation_accuracy: metrics.validation_accuracy });
  expect(history.at(-1).train_loss).toBeLessThan(history[0].loss);
  expect(record).toMatchObject({ max_length: 24, epochs: 3, steps: 54, kept_epoch: 3, runtime: { name: 'onnx' }, options: { seed: 0 } });
  const model = await loadModel(outputs.model!, 'text-classification');
  expect(model.labels).toEqual(['bad', 'good']);
  expect(readFileSync(join(outputs.model!, 'tokenizer.json'), 'utf8')).toContain('WordPiece');
  expect(log).toContainEqual(expect.stringMatching(/^epoch 3: loss .*, validation accuracy .*, \d+ tokens\/s, \d+\.\d% padding$/));
});

test('the same seed trains the same model bit for bit; another seed another one', async () => {
  const first = await trained({ epochs: 2, dropout: 0.2, runtime: 'onnx' });
  const again = await trained({ epochs: 2, dropout: 0.2, runtime: 'onnx' }, first.inputs);
  expect(again.weights).toBe(first.weights);
  expect(again.history).toEqual(first.history);
  const other = await trained({ epochs: 2, dropout: 0.2, runtime: 'onnx', seed: 1 }, first.inputs);
  expect(other.weights).not.toBe(first.weights);
});

test('eager and onnx train the same model', async () => {
  const options = { epochs: 1, learning_rate: 0.001 };
  const onnx = await trained({ ...options, runtime: 'onnx' });
  const eager = await trained({ ...options, runtime: 'eager' }, onnx.inputs);
  const [a, b] = await Promise.all([onnx, eager].map(({ outputs }) => readSafetensors(join(outputs.model!, 'model.safetensors'))));
  const all = (tensors: typeof a) => Object.keys(a!).flatMap((name) => [...toFloat32(tensors![name]!)!]);
  const [x, y] = [all(a), all(b)];
  const norm = (v: number[]) => Math.sqrt(v.reduce((sum, n) => sum + n * n, 0));
  expect(norm(x.map((n, i) => n - y[i]!)) / norm(x)).toBeLessThan(1e-3);
});

test('training starts from the weights of a folder; the classifier is replaced for new labels if the option says so', async () => {
  const first = await trained();
  const on = await trained({ epochs: 1, learning_rate: 1e-6 }, { ...first.inputs, model: first.outputs.model! });
  expect(on.log[0]).toMatch(/^\d+ weights read from model.safetensors$/);
  expect(on.metrics.validation_accuracy).toBeGreaterThan(0.9);
  const model = first.outputs.model!;
  const others = { model, tokens: await smallTokens(model, ['bad', 'good', 'odd']) };
  await expect(trained({ epochs: 5, learning_rate: 0.01 }, others)).rejects.toMatchObject({
    message: "the model's head was trained for the labels bad, good, but the tokens have bad, good, odd",
    hint: '`replace_head: true` initializes a new head.',
    option: ['replace_head'],
  });
  const three = await trained({ epochs: 5, learning_rate: 0.01, replace_head: true }, others);
  expect(three.log).toContain('randomly initialized: classifier.weight, classifier.bias');
  expect(three.metrics.validation_macro_f1).toBeGreaterThan(0.8);
});

test('from_scratch trains a folder that has weights as the same folder without them', async () => {
  const options = { epochs: 1, runtime: 'onnx' };
  const blank = await trained(options);
  const { log, weights } = await trained({ ...options, from_scratch: true }, { ...blank.inputs, model: blank.outputs.model! });
  expect(log[0]).toBe('from_scratch: all weights are randomly initialized');
  expect(weights).toBe(blank.weights);
});

test('early stopping ends a training that no longer improves, and keeps its best epoch', async () => {
  const { record, history, log, metrics } = await trained({
    epochs: 30,
    early_stopping: { metric: 'accuracy', patience: 2, min_delta: 0 },
  });
  const accuracies = history.filter((line) => 'train_loss' in line).map((line) => line.validation_accuracy);
  expect(record.epochs).toBe(accuracies.length);
  expect(record.epochs).toBeLessThan(30);
  expect(record.kept_epoch).toBe(accuracies.indexOf(Math.max(...accuracies)) + 1);
  expect(record.kept_epoch).toBe(record.epochs - 2);
  expect(metrics.validation_accuracy).toBe(Math.max(...accuracies));
  expect(log).toContain(`kept the weights of epoch ${record.kept_epoch}, the best by accuracy`);
});

test('tokens that do not fit the model, or the options, are rejected before training', async () => {
  const model = smallModel();
  const tokens = await smallTokens(model);
  await expect(trained({}, { model: smallModel({ vocab_size: 12 }), tokens })).rejects.toThrow(
    /have the id \d+, but the model's vocab_size is 12/,
  );
  await expect(trained({}, { model: smallModel({ max_position_embeddings: 16 }), tokens })).rejects.toThrow(
    'the tokens have a max_length of 24, but the model takes only 16 tokens',
  );
  const other = smallModel();
  writeFileSync(
    join(other, 'tokenizer.json'),
    readFileSync(join(other, 'tokenizer.json'), 'utf8').replace('"lowercase":true', '"lowercase":false'),
  );
  await expect(trained({}, { model: other, tokens })).rejects.toThrow("not made with the model's tokenizer");
  await expect(trained({ positive: 'great' }, { model, tokens })).rejects.toMatchObject({
    message: 'no label is "great"',
    hint: 'The labels are bad and good.',
  });
  const stopping = { early_stopping: { metric: 'f1', patience: 1, min_delta: 0 } };
  await expect(trained(stopping, { model, tokens: await smallTokens(model, ['bad', 'good'], { train: 16 }) })).rejects.toMatchObject({
    message: 'the tokens have no split "validation"',
    hint: 'They have train (16 rows).',
  });
  await expect(trained(stopping, { model, tokens: await smallTokens(model, ['bad', 'good', 'odd']) })).rejects.toThrow(
    'f1 needs two labels, and there are 3',
  );
  await expect(trained({}, { model, tokens: model })).rejects.toThrow('contains no tokens.json');
  rmSync(join(tokens, 'train-00000.safetensors'));
  await expect(trained({}, { model, tokens })).rejects.toThrow(/^train-00000.safetensors cannot be read: ENOENT/);
  writeFileSync(join(tokens, 'tokens.json'), '{');
  await expect(trained({}, { model, tokens })).rejects.toThrow(/^tokens.json of .* is not JSON/);
});

test('without a validation split it trains, and reports that it does not evaluate', async () => {
  const model = smallModel();
  const { log, metrics } = await trained({ epochs: 1 }, { model, tokens: await smallTokens(model, ['bad', 'good'], { train: 16 }) });
  expect(log).toContain('the tokens have no validation split: no evaluation between epochs');
  expect(Object.keys(metrics)).toEqual(['train_loss']);
});

test('a training that diverges reports where', async () => {
  const { outputs, inputs } = await trained({ epochs: 1 });
  const file = join(outputs.model!, 'model.safetensors');
  const tensors = await readSafetensors(file);
  toFloat32(tensors['classifier.weight']!)!.fill(3e38); // their sums overflow
  await writeSafetensors(file, tensors, { format: 'pt' });
  await expect(trained({}, { ...inputs, model: outputs.model! })).rejects.toMatchObject({
    name: 'StepError',
    message: 'the training diverged: the loss is NaN, not finite at step 1 (epoch 1)',
  });
});

test('Ctrl-C stops it between two steps', async () => {
  const model = smallModel();
  const tokens = await smallTokens(model);
  for (const runtime of ['eager', 'onnx']) {
    const stop = new AbortController();
    let done = 0;
    const more = {
      signal: stop.signal,
      metric: (name: string) => {
        if (name === 'loss') done++;
      },
    };
    setTimeout(() => stop.abort(), 500);
    const start = performance.now();
    await expect(ranStep(step, { ...quick, epochs: 1000, runtime }, { model, tokens }, {}, more)).rejects.toMatchObject({
      name: 'AbortError',
    });
    expect(performance.now() - start).toBeLessThan(20_000);
    expect(done).toBeLessThan(1000); // after as many epochs
  }
});

test('options without effect are rejected', () => {
  const defaults = Object.fromEntries(Object.entries<any>(step.options!).map(([name, schema]) => [name, schema.default]));
  const check = (options: object) =>
    step.check!({ ...defaults, ...quick, lr_scheduler_type: 'linear', warmup_steps: 0, ...options } as any);
  expect(check({})).toEqual([]);
  expect(check({ warmup_steps: 0.1 })).toEqual([]);
  expect(check({ warmup_steps: 100 })).toEqual([]);
  expect(check({ warmup_steps: 1.5 })).toMatchObject([{ option: 'warmup_steps' }]);
  expect(check({ lr_scheduler_type: 'constant', warmup_steps: 10 })).toMatchObject([{ option: 'warmup_steps' }]);
  expect(check({ epochs: 1, early_stopping: { metric: 'loss' } })).toMatchObject([{ option: 'early_stopping' }]);
});
