/** Metrics of a sweep: more that are impossible, and where a sweep is evaluated. */
import { expect, test } from 'vitest';
import { failsBeforeTraining, type Given, sweep } from '../../contract/sweep.ts';

test.each<[string, Given, string, string]>([
  [
    'a choice by f1 of three labels',
    { select: 'maximize: f1' },
    'measure[seed=1] does not report f1: it reports accuracy, macro_precision',
    '^^',
  ],
  ['early stopping by f1 of three labels', { train: 'early_stopping: { metric: f1 }' }, 'f1 needs two labels, and there are 3', '^^'],
  ['a positive class of three', { evaluate: 'positive: a' }, '`positive` needs two labels, and there are 3', '^'],
])('as soon as there are tokens, before training: %s', failsBeforeTraining);

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
