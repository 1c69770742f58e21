/** Metrics of generated texts: how evaluate generates and scores them, and the baselines of the tasks. */
import { expect, test } from 'vitest';
import { generatedMetrics } from '../../../steps/ml/metrics/generated.ts';
import { project, sharedProject } from '../../rig.ts';
import { smallGpt2, smallT5 } from '../../steps/writers.ts';
import { allRows } from '../../table.ts';

const COLOURS = ['black', 'white', 'red', 'green', 'blue', 'yellow'];
const THINGS = ['house', 'cat', 'boat', 'tree', 'stone', 'river', 'garden'];
const rows = Array.from({ length: 240 }, (_, i) => ({ colour: COLOURS[i % 6]!, thing: THINGS[(i * 3 + Math.floor(i / 6)) % 7]! }));

const SEQ2SEQ = rows.map(({ colour, thing }, i) => ({
  id: `${1000 + i}`,
  text: `the ${thing} is ${colour}`,
  target: `${colour} ${thing}`,
}));

/** The first words determine the last colour; the words before it do not. */
const CAUSAL = rows.map(({ colour, thing }, i) => ({
  id: `${1000 + i}`,
  prompt: `${colour} ${thing}:`,
  completion: ` a ${thing}, ${colour}`,
}));

type Steps = Record<'tokenize' | 'baseline' | 'train' | 'test', string>;

const pipeline = ({ tokenize, baseline, train, test }: Steps) => `
steps:
  collect: { uses: collect, with: { files: data.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", key: [id], ratios: [0.7, 0.1, 0.2] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 40, ${tokenize} } }
  baseline: { uses: baseline, with: { ${baseline} } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, batch_size: 8, seed: 1, ${train} }
  test: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", data: "\${{ steps.split.data }}", ${test} } }
`;

/** The cache of all projects, so that equal steps run only once. */
const TUNESMITH_CACHE = sharedProject().path('cache');

function made(task: 'causal-lm' | 'seq2seq', data: object[], steps: Steps) {
  const lines = data.map((row) => `${JSON.stringify(row)}\n`).join('');
  const p = project({ 'p.yaml': pipeline(steps), 'data.jsonl': lines }, { TUNESMITH_CACHE });
  if (task === 'seq2seq') smallT5(p.path('model'), ['the', 'is', ...COLOURS, ...THINGS]);
  else smallGpt2(p.path('model'));
  return p;
}

const DATA = 'data: "${{ steps.split.data }}"';
const TOKENS = 'tokens: "${{ steps.tokenize.tokens }}"';
const OUTPUTS = '.tunesmith/outputs/p';

test('seq2seq: the scores match the written texts and are better than the lead baseline', async () => {
  const metrics = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum', 'bleu', 'chrf', 'chrf++', 'exact_match'];
  const p = made('seq2seq', SEQ2SEQ, {
    tokenize: 'task: seq2seq, max_target_length: 6',
    baseline: `task: seq2seq, ${DATA}`,
    train: 'epochs: 12, learning_rate: 0.003',
    test: `metrics: [${metrics.map((name) => JSON.stringify(name)).join(', ')}, perplexity]`,
  });
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const measured = JSON.parse(p.read(`${OUTPUTS}/test/metrics`));
  const lines = await allRows(p.path(`${OUTPUTS}/test/predictions`));
  expect(lines).toHaveLength(measured.rows);
  const again = generatedMetrics(metrics);
  for (const { label, prediction } of lines) again.add({ references: [label], predicted: prediction });
  const { perplexity, ...scores } = measured.metrics;
  expect(scores).toEqual(again.metrics());
  expect(measured.details).toEqual(JSON.parse(JSON.stringify(again.details())));
  expect(measured.details.bleu.signature).toBe('nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp');
  expect(measured.generation).toEqual({ num_beams: 1, do_sample: false, max_new_tokens: 6 });
  expect(perplexity).toBeLessThan(5);
  expect(lines.map(({ id }: { id: string }) => id)).toEqual(lines.map(({ id }: { id: string }) => id).toSorted());

  const { methods } = JSON.parse(p.read(`${OUTPUTS}/baseline/metrics`));
  expect(Object.keys(methods)).toEqual(['commonest', 'copy', 'lead']);
  // Two words of four; then the first two, one of which is right.
  expect(methods.copy.metrics.rouge1).toBeCloseTo(2 / 3, 12);
  expect(methods.lead.metrics.rouge1).toBeCloseTo(0.5, 12);
  for (const method of Object.values<any>(methods)) expect(scores.rouge1).toBeGreaterThan(method.metrics.rouge1 + 0.2);

  // For a given model, the generation settings decide the text: one token is shorter than a target.
  p.write('p.yaml', p.read('p.yaml').replace('perplexity] }', 'perplexity], generation: { max_new_tokens: 1, num_beams: 2 } }'));
  const short = await p.run('run', 'p.yaml', '--plain');
  expect(short.code, short.screen).toBe(0);
  const cut = JSON.parse(p.read(`${OUTPUTS}/test/metrics`));
  expect(cut.generation).toEqual({ num_beams: 2, do_sample: false, max_new_tokens: 1 });
  expect(cut.metrics.exact_match).toBe(0);
  expect(cut.metrics.perplexity).toBe(perplexity);
});

test('causal-lm: the perplexity of the completions is below that of a bigram model', async () => {
  const p = made('causal-lm', CAUSAL, {
    tokenize: 'task: causal-lm, completion: completion',
    baseline: `task: causal-lm, ${TOKENS}`,
    train: 'epochs: 6, learning_rate: 0.003',
    test: 'metrics: [perplexity]',
  });
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const { metrics, block_length } = JSON.parse(p.read(`${OUTPUTS}/test/metrics`));
  const { perplexity } = metrics;
  expect(block_length).toBe(40);
  const { methods } = JSON.parse(p.read(`${OUTPUTS}/baseline/metrics`));
  expect(methods.bigram.metrics.perplexity).toBeLessThan(methods.unigram.metrics.perplexity / 2);
  expect(perplexity).toBeLessThan(methods.bigram.metrics.perplexity);
});

test.each([
  [
    'causal-lm',
    { baseline: `task: causal-lm, ${DATA}` },
    'the baselines of causal-lm are evaluated on the `tokens` of a tokenize step, but the step has no `tokens`',
  ],
  [
    'causal-lm',
    { baseline: `task: seq2seq, ${TOKENS}` },
    'the baselines of seq2seq are evaluated on the `data` of a split step, but the step has no `data`',
  ],
  [
    'causal-lm',
    { baseline: `task: causal-lm, metrics: [accuracy], ${TOKENS}` },
    'the baselines of causal-lm are evaluated by perplexity, not by accuracy',
  ],
  ['causal-lm', { test: 'metrics: [rouge1]' }, 'causal-lm has no metric rouge1'],
  ['causal-lm', { test: 'generation: { num_beams: 2 }' }, '`generation` has no effect: no metric needs generated texts'],
  [
    'seq2seq',
    { baseline: `task: seq2seq, metrics: [perplexity], ${DATA}` },
    'perplexity needs probabilities, and a baseline predicts texts',
  ],
  ['seq2seq', { test: 'generation: { beams: 2 }' }, 'beams'],
] as const)('%s with %j', async (task, wrong, message) => {
  const seq2seq = task === 'seq2seq';
  const p = made(task, (seq2seq ? SEQ2SEQ : CAUSAL).slice(0, 40), {
    tokenize: seq2seq ? 'task: seq2seq' : 'task: causal-lm, completion: completion',
    baseline: seq2seq ? `task: seq2seq, ${DATA}` : `task: causal-lm, ${TOKENS}`,
    train: 'epochs: 1',
    test: '',
    ...wrong,
  });
  const run = await p.run('run', 'p.yaml', '--plain', '--until', 'baseline' in wrong ? 'baseline' : 'test');
  expect(run.code).toBeGreaterThan(0);
  expect(run.screen).toContain(message);
  expect(run.screen).not.toMatch(/\n\s+at /);
});
