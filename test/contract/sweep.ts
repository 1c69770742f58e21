/** A sweep over two seeds, and failures that come before its trainings. */
import { cpSync } from 'node:fs';
import { expect } from 'vitest';
import { project, sharedProject } from '../rig.ts';
import { modelOf, wordsOf } from '../steps/small.ts';

export interface Given {
  tokenize?: string;
  train?: string;
  evaluate?: string;
  select?: string;
}

/** The cache of all projects, so that equal steps run only once. */
export const TUNESMITH_CACHE = sharedProject().path('cache');

/** A sweep over two seeds on texts with three labels. */
export function sweep({ tokenize = '', train = '', evaluate = '', select = 'maximize: macro_f1' }: Given) {
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

export async function failsBeforeTraining(_: string, given: Given, message: string, caret: string): Promise<void> {
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
}
