/** Every task with a quantized bundle: its main metric, and evaluate on the bundle. */
import { mkdirSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import deploy from '../../../steps/deploy/step.ts';
import { entities, every, linesOf, type Options, questions, SMALL, steps } from '../../contract/task-steps.ts';
import { sharedProject } from '../../rig.ts';
import { quantizedTexts } from '../../steps/deploy/quantized-texts.ts';
import { spoilt } from '../../steps/deploy/spoilt.ts';
import { ranStep } from '../../steps/rig.ts';
import { modelOf, wordsOf } from '../../steps/small.ts';
import { smallGpt2, smallT5 } from '../../steps/writers.ts';

const moods = every(120, (name, _, i) => ({
  text: `the day of ${name} was ${i % 2 ? 'bad' : 'long'} ${i % 3 ? 'and wet' : 'and good'}`,
  moods: [...(i % 2 ? ['sad'] : []), ...(i % 3 ? [] : ['happy'])],
  label: i % 2 ? 'bad' : 'good',
  score: i % 2 ? 1.5 : -0.5,
  target: i % 2 ? 'the cat' : 'sat',
}));

const FAST = 'batch_size: 8, learning_rate: 0.01, epochs: 3';

interface Quantized extends Options {
  rows: object[];
  metric: string;
  quantize: 'int8' | 'fp16';
  model?: (folder: string) => void;
}

const TASKS: Record<string, Quantized> = {
  labels: { rows: moods, tokenize: 'label: label', train: FAST, metric: 'accuracy', quantize: 'int8' },
  lists: {
    rows: moods,
    tokenize: 'label: moods, problem_type: multi_label_classification',
    train: FAST,
    metric: 'accuracy',
    quantize: 'int8',
  },
  regression: { rows: moods, tokenize: 'label: score, problem_type: regression', train: FAST, metric: 'mse', quantize: 'int8' },
  entities: { rows: entities, tokenize: 'task: token-classification', train: FAST, metric: 'f1', quantize: 'int8' },
  questions: { rows: questions, tokenize: 'task: question-answering, stride: 4', train: FAST, metric: 'f1', quantize: 'int8' },
  masked: { rows: moods, tokenize: 'task: masked-lm', train: FAST, metric: 'perplexity', quantize: 'int8' },
  texts: { rows: moods, tokenize: 'task: causal-lm', train: FAST, metric: 'perplexity', quantize: 'int8', model: smallGpt2 },
  targets: {
    rows: moods,
    tokenize: 'task: seq2seq, target: target',
    train: FAST,
    metric: 'perplexity',
    quantize: 'int8',
    model: (folder) => smallT5(folder, ['the', 'cat', 'sat', 'day', 'of', 'was', 'bad']),
  },
};

const small = (name: string, quantize: string) => `
  small-${name}:
    uses: deploy
    resources: { cpu: 1 }
    with: { model: "\${{ steps.train-${name}.model }}", tokens: "\${{ steps.tokenize-${name}.tokens }}", quantize: ${quantize}, max_loss: 100 }
  again-${name}:
    uses: evaluate
    resources: { cpu: 1 }
    with: { model: "\${{ steps.small-${name}.bundle }}", tokens: "\${{ steps.tokenize-${name}.tokens }}", split: validation }
`;

const p = sharedProject();
let cells: Record<string, string> = {};

beforeAll(async () => {
  let yaml = 'steps:';
  for (const [name, { rows, quantize, model, ...options }] of Object.entries(TASKS)) {
    const lines = linesOf(rows);
    p.write(`${name}.jsonl`, lines);
    mkdirSync(p.path(`${name}-model`));
    if (model) model(p.path(`${name}-model`));
    else modelOf(wordsOf(lines), SMALL, p.path(`${name}-model`));
    yaml += steps(name, `${name}-model`, options) + small(name, quantize);
  }
  p.write('p.yaml', yaml);
  ({ cells } = await p.states('p.yaml', '--on-failure', 'continue'));
});

test.each(Object.entries(TASKS))('%s: the change of the main metric is that of evaluate on the bundle', (name, { metric }) => {
  expect(cells).toMatchObject({ [`train-${name}`]: 'ran', [`small-${name}`]: 'ran', [`again-${name}`]: 'ran' });
  const json = (file: string) => JSON.parse(p.read(`.tunesmith/outputs/p/${file}`));
  const { change } = json(`small-${name}/bundle/quantization.json`);
  const { metrics, rows } = json(`again-${name}/metrics`);
  expect(change.metric).toBe(metric);
  expect(change.rows).toBe(rows);
  for (const [key, value] of Object.entries(change.after)) expect(value, key).toBeCloseTo(metrics[key], 5);
  // The others count rows.
  if (['mse', 'perplexity'].includes(metric)) expect(change.before[metric]).not.toBe(change.after[metric]);
});

test('of a metric whose lower values are better, `max_loss` limits the rise', async () => {
  const outputs = p.path('.tunesmith/outputs/p');
  const inputs = { model: await spoilt(`${outputs}/train-regression/model`), tokens: `${outputs}/tokenize-regression/tokens` };
  await expect(ranStep(deploy, { quantize: 'int8', max_loss: 0.05 }, inputs)).rejects.toThrow(
    /^`quantize: int8` raises mse on validation from/,
  );
  const { log } = await ranStep(deploy, { quantize: 'int8', max_loss: 1e6 }, inputs);
  expect(log.join('\n')).toMatch(/int8: mse [\d.]+ → [\d.]+ \(\+[\d.]+\) on \d+ rows of validation/);
});

test('the quantized files of a seq2seq model, their perplexity, and texts from them', () => quantizedTexts('seq2seq'));
