/** The probabilities of n-gram models sum to one, and follow the formulas. */
import { expect, test } from 'vitest';
import { random } from '../../../steps/ml/models/random.ts';
import { bigram, type Pair, unigram } from '../../../steps/ml/tasks/causal-lm.ts';

const VOCABULARY = 12;
const uniform = random('pairs');
// Small ids are frequent; the last two never occur.
const draw = () => Math.floor(uniform() ** 3 * (VOCABULARY - 2));
const pairs: Pair[] = Array.from({ length: 200 }, () => [draw(), draw()]);
const tokens = Array.from({ length: VOCABULARY }, (_, token) => token);

test.each([unigram, bigram])('$name: the probabilities of all tokens sum to one, after each token, also after an unseen one', (model) => {
  const next = model(pairs, VOCABULARY);
  for (const before of tokens) {
    const all = tokens.map((token) => next(before, token));
    expect(Math.min(...all)).toBeGreaterThan(0);
    expect(all.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
  }
});

test('a small corpus computed by hand', () => {
  // 0→1 twice, 0→2 once, 1→0 once, of four tokens.
  const seen: Pair[] = [
    [0, 1],
    [0, 1],
    [0, 2],
    [1, 0],
  ];
  expect(unigram(seen, 4)(3, 1)).toBeCloseTo(3 / 8, 12);
  const next = bigram(seen, 4);
  // Two bigrams once, one twice: the discount is 2 / (2 + 2·1). Three different bigrams and four tokens: a token
  // after one other has 2/7.
  expect(next(0, 1)).toBeCloseTo((2 - 0.5) / 3 + ((0.5 * 2) / 3) * (2 / 7), 12);
  expect(next(0, 3)).toBeCloseTo(((0.5 * 2) / 3) * (1 / 7), 12);
  expect(next(3, 1)).toBeCloseTo(2 / 7, 12);
});
