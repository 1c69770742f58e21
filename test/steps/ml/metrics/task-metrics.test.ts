/** Metrics of the tasks against scikit-learn, SciPy, seqeval and torchmetrics: test/golden/task-metrics.py made the values. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ANSWERS, answerMetrics } from '../../../../steps/ml/metrics/answers.ts';
import { ENTITIES, entityMetrics } from '../../../../steps/ml/metrics/entities.ts';
import { MULTI_LABEL, multiLabelMetrics } from '../../../../steps/ml/metrics/multi-label.ts';
import { REGRESSION, regressionMetrics } from '../../../../steps/ml/metrics/text-classification.ts';

const golden = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/task-metrics.json'), 'utf8'));

interface Case {
  truth: any;
  predicted: any;
  values: Record<string, number | null>;
}

test.each([
  ['label_sets', MULTI_LABEL, (c: Case, names: string[]) => multiLabelMetrics(c, names), 1e-12],
  ['numbers', REGRESSION, (c: Case, names: string[]) => regressionMetrics(c.truth, c.predicted, names), 1e-12],
  ['entities', ENTITIES, (c: Case, names: string[]) => entityMetrics(c, names), 1e-12],
  // torchmetrics counts in float32.
  ['answers', ANSWERS, (c: Case, names: string[]) => answerMetrics(answered(c), names), 1e-6],
] as const)('%s', (kind, known, metricsOf, tolerance) => {
  for (const [i, example] of (golden[kind] as Case[]).entries()) {
    const names = Array.isArray(known) ? known : Object.keys(known);
    expect(Object.keys(example.values).sort()).toEqual(names.toSorted());
    const found = metricsOf(example, names);
    for (const name of names) {
      const value = example.values[name];
      // A label that never applies has no ranking.
      if (value === null) expect(found[name], `${kind} ${i}: ${name}`).toBeNaN();
      else expect(Math.abs(found[name]! - value!), `${kind} ${i}: ${name}`).toBeLessThan(tolerance);
    }
  }
});

test('r2 of numbers that are all equal', () => {
  expect(golden.constants).toHaveLength(2);
  for (const { truth, predicted, r2 } of golden.constants) expect(regressionMetrics(truth, predicted, ['r2'])).toEqual({ r2 });
  expect(regressionMetrics([1], [2], ['r2'])).toEqual({ r2: Number.NaN });
});

/** test/golden/squad.py made the values, with the functions of SQuAD 2.0's script. */
test('answers with every kind of space, article and punctuation are compared as by SQuAD 2.0', () => {
  const cases = JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/squad.json'), 'utf8'));
  expect(cases.length).toBeGreaterThan(400);
  for (const { truth, predicted, values } of cases) {
    const found = answerMetrics([{ truth, predicted }], ['exact_match', 'f1']);
    for (const name of ['exact_match', 'f1']) expect(found[name], JSON.stringify({ truth, predicted, name })).toBeCloseTo(values[name], 12);
  }
});

/** As in SQuAD 2.0's script; torchmetrics supports only answerable questions. */
test('no answer is correct if there is none, and wrong if there is one', () => {
  const score = (truth: string[], predicted: string) => answerMetrics([{ truth, predicted }], ['exact_match', 'f1']);
  expect(score([], '')).toEqual({ exact_match: 1, f1: 1 });
  expect(score([], 'Paris')).toEqual({ exact_match: 0, f1: 0 });
  expect(score(['Paris'], '')).toEqual({ exact_match: 0, f1: 0 });
  expect(score(['the', 'a'], '')).toEqual({ exact_match: 1, f1: 1 });
});

const answered = ({ truth, predicted }: Case) => truth.map((real: string[], i: number) => ({ truth: real, predicted: predicted[i] }));
