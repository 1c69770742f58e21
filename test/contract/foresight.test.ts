/** Impossible metrics are found before training, each reported at its position in the pipeline. */
import { expect, test } from 'vitest';
import { failsBeforeTraining, type Given, sweep } from './sweep.ts';

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
  ['a split that is not there', { evaluate: 'split: dev' }, 'the tokens have no split "dev"', '^^^'],
])('as soon as the tokens exist, before training: %s', failsBeforeTraining);
