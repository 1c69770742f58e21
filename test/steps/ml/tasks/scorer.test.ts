/** Answers are scored with the definitions of evaluate, for each task, and on rows that repeat. */
import { expect, test } from 'vitest';
import type { Json } from '../../../../engine/contract/step.ts';
import { isShareOfRows, openScorer, type ScoredAnswers } from '../../../../steps/ml/tasks/scorer.ts';

const text: ScoredAnswers = {
  task: 'text-classification',
  problem: 'single_label_classification',
  labels: ['ham', 'spam'],
  metrics: ['f1'],
  option: ['compare'],
};

function scored(given: Partial<ScoredAnswers>, rows: [Json, Json][], of = rows.map((_, i) => i)): number {
  const scorer = openScorer({ ...text, ...given });
  for (const [truth, answer] of rows) scorer.add(truth, answer);
  return Object.values(scorer.metrics(Int32Array.from(of)))[0]!;
}

const said = (label: string, p: number): Json => ({
  label,
  scores: { ham: label === 'ham' ? p : 1 - p, spam: label === 'spam' ? p : 1 - p },
});

const MAILS: [Json, Json][] = [
  ['spam', said('spam', 0.75)],
  ['ham', said('spam', 0.75)],
  ['ham', said('ham', 0.75)],
  ['spam', said('spam', 0.75)],
];

test.each<[string, Partial<ScoredAnswers>, [Json, Json][], number]>([
  ['f1', {}, MAILS, 0.8],
  ['f1', { positive: 'ham' }, MAILS, 2 / 3],
  ['accuracy', { metrics: ['accuracy'] }, MAILS, 0.75],
  ['log_loss', { metrics: ['log_loss'] }, MAILS, (-3 * Math.log(0.75) - Math.log(0.25)) / 4],
  ['roc_auc', { metrics: ['roc_auc'] }, MAILS.slice(0, 1), Number.NaN],
  [
    'macro_f1 with a label that one model does not know',
    { metrics: ['macro_f1'], labels: ['ham', 'spam', 'news'] },
    [...MAILS, ['news', said('ham', 0.75)]],
    (0.8 + 0.5 + 0) / 3,
  ],
  [
    'labels',
    { problem: 'multi_label_classification', labels: ['a', 'b'], metrics: ['hamming_loss'] },
    [
      [['a'], { labels: ['a', 'b'] }],
      [[], { labels: [] }],
    ],
    0.25,
  ],
  [
    'numbers',
    { problem: 'regression', labels: ['score'], metrics: ['mae'] },
    [
      [1, { score: 1.5 }],
      [2, { score: 1 }],
    ],
    0.75,
  ],
  [
    'tags',
    { task: 'token-classification', labels: ['B-PER', 'I-PER', 'O'], metrics: ['f1'] },
    [
      [['B-PER', 'I-PER', 'O'], { tags: ['B-PER', 'I-PER', null] }],
      [['B-PER', 'O'], { tags: ['O', 'O'] }],
    ],
    2 / 3,
  ],
  [
    'answers',
    { task: 'question-answering', labels: [], metrics: ['exact_match'] },
    [
      [['Ada', 'Ada Lovelace'], { answer: 'ada' }],
      [[], { answer: 'Ada' }],
    ],
    0.5,
  ],
])('%s of a model by its answers', (_, subject, rows, expected) => {
  expect(scored(subject, rows)).toEqual(Number.isNaN(expected) ? Number.NaN : expect.closeTo(expected, 12));
});

test('rows may repeat, as in a bootstrap sample', () => {
  expect(scored({ metrics: ['accuracy'] }, MAILS, [1, 1, 2])).toBeCloseTo(1 / 3, 12);
});

test('shares of correct rows get the test of McNemar', () => {
  expect(isShareOfRows(text, 'accuracy')).toBe(true);
  expect(isShareOfRows(text, 'micro_f1')).toBe(false);
  expect(isShareOfRows({ ...text, task: 'token-classification' }, 'accuracy')).toBe(false);
  expect(isShareOfRows({ ...text, task: 'question-answering' }, 'exact_match')).toBe(true);
});

test('several metrics of generated texts and of their tokens', () => {
  const scorer = openScorer({ ...text, task: 'seq2seq', metrics: ['exact_match', 'perplexity', 'accuracy'] });
  scorer.add(['a b'], { text: 'a b', tokens: 3, loss: 0.5, accuracy: 1 });
  scorer.add(['a'], { text: 'b', tokens: 1, loss: 2, accuracy: 0 });
  scorer.add([''], { text: '', tokens: 0, loss: null, accuracy: null });
  const { exact_match, perplexity, accuracy } = scorer.metrics(Int32Array.of(0, 1, 2));
  expect(exact_match).toBeCloseTo(2 / 3, 12);
  expect(perplexity).toBeCloseTo(Math.exp(3.5 / 4), 12);
  expect(accuracy).toBeCloseTo(3 / 4, 12);
});

test('a metric of two labels is an error with three, and names the labels', () => {
  expect(() => openScorer({ ...text, labels: ['ham', 'spam', 'news'] })).toThrow('f1 needs two labels, and there are 3');
});
