/** Impossible metrics are found before training, each reported at its position in the pipeline. */
import { cpSync } from 'node:fs';
import { expect, test } from 'vitest';
import { project, sharedProject } from '../rig.ts';
import { modelOf, wordsOf } from '../steps/small.ts';

interface Given {
  tokenize?: string;
  train?: string;
  evaluate?: string;
  select?: string;
}

/** The cache of all projects, so that equal steps run only once. */
const TUNESMITH_CACHE = sharedProject().path('cache');

/** A sweep over two seeds on texts with three labels. */
function sweep({ tokenize = '', train = '', evaluate = '', select = 'maximize: macro_f1' }: Given) {
  const rows = Array.from({ length: 60 }, (_, i) => `the text number ${i},${'abc'[i % 3]}`);
  const yaml = `
steps:
  collect: { uses: collect, with: { files: d.csv } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", stratify: label } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, max_length: 16, ${tokenize} } }
  train:
    uses: train
    resources: { cpu: 1 }
    matrix: { seed: [1, 2] }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, seed: "\${{ matrix.seed }}", epochs: 2, ${train} }
  measure: { uses: evaluate, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}", ${evaluate} } }
  best: { uses: select, with: { from: "\${{ steps.measure[*].metrics }}", pick: "\${{ steps.train[*].model }}", ${select} } }
`;
  const p = project({ 'd.csv': ['text,label', ...rows].join('\n'), 'p.yaml': yaml }, { TUNESMITH_CACHE });
  cpSync(modelOf(wordsOf(rows.join(' '))), p.path('model'), { recursive: true });
  return p;
}

test.each<[string, Given, string, string]>([
  ['a metric of another task', { evaluate: 'metrics: [accuracy, bleu]' }, 'text-classification has no metric bleu', '^^^^'],
  ['a metric of another kind of labels', { evaluate: 'metrics: [mse]' }, 'text-classification has no metric mse', '^^^'],
  [
    'what early stopping watches',
    { train: 'early_stopping: { metric: exact_match }' },
    'text-classification has no metric exact_match',
    '^^^^^^^^^^^',
  ],
  [
    'what decides which weights are kept',
    { train: 'load_best_model_at_end: true, metric_for_best_model: perplexity' },
    'text-classification has no metric perplexity',
    '^^^^^^^^^^',
  ],
  [
    'single labels where there are several',
    { tokenize: 'problem_type: multi_label_classification', train: 'early_stopping: { metric: f1 }', select: 'maximize: micro_f1' },
    'text-classification (multi_label_classification) has no metric f1',
    '^^',
  ],
  [
    'a choice by what is not measured',
    { evaluate: 'metrics: [accuracy]' },
    'measure[seed=1] does not report macro_f1: it reports accuracy',
    '^^^^^^^^',
  ],
  [
    'a choice by a misspelt metric',
    { evaluate: 'metrics: [accuracy, macro_f1]', select: 'maximize: macro_ff1' },
    'measure[seed=1] does not report macro_ff1: it reports accuracy, macro_f1',
    '^^^^^^^^^',
  ],
  [
    'a positive class where there are numbers',
    { tokenize: 'problem_type: regression', evaluate: 'positive: a', select: 'minimize: mse' },
    '`positive` does not apply to regression',
    '^',
  ],
  [
    'a choice by what the task does not have',
    { select: 'minimize: perplexity' },
    'measure[seed=1] does not report perplexity',
    '^^^^^^^^^^',
  ],
])('before anything runs: %s', async (_, given, message, caret) => {
  const { code, screen } = await sweep(given).run('validate', 'p.yaml');
  expect(screen).toContain(message);
  expect(screen.split('\n').some((line) => line.trim().replace(/^\| +/, '') === caret)).toBe(true);
  expect(code).toBe(2);
});

test.each<[string, Given, string, string]>([
  ['two labels', { evaluate: 'metrics: [accuracy, f1]', select: 'maximize: accuracy' }, 'f1 needs two labels, and there are 3', '^^'],
  [
    'a choice by f1 of three labels',
    { select: 'maximize: f1' },
    'measure[seed=1] does not report f1: it reports accuracy, macro_precision',
    '^^',
  ],
  ['early stopping by f1 of three labels', { train: 'early_stopping: { metric: f1 }' }, 'f1 needs two labels, and there are 3', '^^'],
  ['a positive class of three', { evaluate: 'positive: a' }, '`positive` needs two labels, and there are 3', '^'],
  ['a split that is not there', { evaluate: 'split: dev' }, 'the tokens have no split "dev"', '^^^'],
])('as soon as the tokens exist, before training: %s', async (_, given, message, caret) => {
  const p = sweep(given);
  expect((await p.run('validate', 'p.yaml')).code).toBe(0);
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(1);
  expect(run.screen).toContain(message);
  expect(
    run.screen.split('\n').some((line) => line.trim().replace(/^\| +/, '') === caret),
    run.screen,
  ).toBe(true);
  expect(run.screen).not.toContain('train[seed=1]: running');
  // Fresh cells do not prevent it.
  const again = await p.run('run', 'p.yaml', '--plain');
  expect(again.screen).toContain(message);
  expect(again.screen).not.toContain('train[seed=1]: running');
});

test('a sweep is evaluated on validation by default, a single model on test', async () => {
  const p = sweep({ evaluate: 'metrics: [macro_f1]' });
  const run = await p.states('p.yaml');
  expect(run.code, run.screen).toBe(0);
  const outputs = '.tunesmith/outputs/p';
  expect(JSON.parse(p.read(`${outputs}/measure[seed=1]/metrics`))).toMatchObject({ split: 'validation' });
  const plain = p.read('p.yaml').replace('matrix: { seed: [1, 2] }', '').replace('"${{ matrix.seed }}"', '1');
  p.write('p.yaml', plain.replace(/\n {2}best: .*/, ''));
  expect((await p.states('p.yaml')).code).toBe(0);
  expect(JSON.parse(p.read(`${outputs}/measure/metrics`))).toMatchObject({ split: 'test' });
});
