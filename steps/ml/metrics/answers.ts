/**
 * SQuAD's metrics (Rajpurkar et al. 2016 and 2018, https://rajpurkar.github.io/SQuAD-explorer), as in its evaluation
 * script: answers are compared in lower case without punctuation and articles, and the best match among several true
 * answers counts.
 */

import { computed, mean, splitAtSpace } from './counts.ts';

interface Answered {
  /** The true answers; empty, or an empty text, if the question has none. */
  truth: string[];
  /** An empty text means that there is no answer. */
  predicted: string;
}

/** All metrics by name; from 0 to 1. */
export const ANSWERS: Record<string, (all: Answered[]) => number> = {
  exact_match: (all) => mean(all.map((one) => best(one, (truth, predicted) => (truth === predicted ? 1 : 0)))),
  f1: (all) => mean(all.map((one) => best(one, overlap))),
};

/** The means over `all`, which is not empty; from 0 to 1. `names` are keys of ANSWERS. */
export const answerMetrics = (all: Answered[], names: readonly string[]): Record<string, number> => computed(ANSWERS, names, all);

function best({ truth, predicted }: Answered, score: (truth: string, predicted: string) => number): number {
  // As in the script, a true answer that consists of articles and punctuation counts as none.
  const real = truth.map(normalized).filter((answer) => answer !== '');
  return Math.max(...(real.length > 0 ? real : ['']).map((answer) => score(answer, normalized(predicted))));
}

/** F1 of the words; if an answer is empty, 1 if both are, otherwise 0. */
function overlap(truth: string, predicted: string): number {
  const [real, claimed] = [splitAtSpace(truth), splitAtSpace(predicted)];
  if (real.length === 0 || claimed.length === 0) return real.length === claimed.length ? 1 : 0;
  const left = new Map<string, number>();
  for (const word of real) left.set(word, (left.get(word) ?? 0) + 1);
  let common = 0;
  for (const word of claimed) {
    const count = left.get(word) ?? 0;
    if (count > 0) common++;
    left.set(word, count - 1);
  }
  return (2 * common) / (real.length + claimed.length);
}

/** Lower case, then without ASCII punctuation, then without articles, then with single spaces. */
function normalized(answer: string): string {
  return splitAtSpace(
    answer
      .toLowerCase()
      .replace(/[!-/:-@[-`{-~]/g, '')
      .replace(/(?<![\p{L}\p{N}_])(a|an|the)(?![\p{L}\p{N}_])/gu, ' '),
  ).join(' ');
}
