/** Chooses the score from which on a label is predicted. */

import { StepError } from '../../engine/contract/step.ts';
import { ratio, scoresOf } from '../ml/metrics/counts.ts';
import { ofTwoClasses } from '../ml/metrics/text-classification.ts';
import { requiredShare, type ThresholdOption } from './foresee.ts';

/** What a threshold must achieve. */
export type Aim = { maximize: string } | Requirement;

interface Requirement {
  least: 'precision' | 'recall';
  value: number;
}

export function aimOf({ maximize, precision, recall }: ThresholdOption): Aim {
  if (maximize !== undefined) return { maximize };
  const least = precision === undefined ? 'recall' : 'precision';
  return { least, value: requiredShare((precision ?? recall)!)! };
}

/** A threshold and what it achieves on the examples that it was chosen on. */
export interface Chosen {
  threshold: number;
  precision: number | null;
  recall: number;
  f1: number;
  /** The number of examples, and of those that have the label. */
  rows: number;
  positives: number;
}

/**
 * `scores`: calibrated probabilities of the label. `truth`: 1 for the examples that have it; both values must occur. `whom`: the
 * label and the group, for the error.
 * @throws StepError if no threshold fulfils the requirement
 */
export function chooseThreshold(scores: ArrayLike<number>, truth: ArrayLike<number>, aim: Aim, whom: string): Chosen {
  const candidates = candidatesOf(scores, truth);
  const rows = scores.length;
  const positives = candidates[0]!.hits;
  const chosen = 'maximize' in aim ? highest(candidates, aim.maximize, rows) : under(candidates, aim, whom);
  const { hits, claimed } = chosen;
  const { precision, recall, f1 } = scoresOf({ hits, claimed, support: positives });
  return { threshold: chosen.threshold, precision: claimed === 0 ? null : precision, recall, f1, rows, positives };
}

interface Candidate {
  threshold: number;
  /** Examples with at least this score, and those of them that have the label. */
  claimed: number;
  hits: number;
}

/**
 * In ascending order: midway between scores that follow each other, so that differences of rounding between runtimes change no
 * prediction. The first predicts the label for every example, the last for none.
 */
function candidatesOf(scores: ArrayLike<number>, truth: ArrayLike<number>): Candidate[] {
  const order = Int32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let claimed = order.length;
  let hits = order.reduce((sum, i) => sum + truth[i]!, 0);
  const candidates: Candidate[] = [{ threshold: scores[order[0]!]! / 2, claimed, hits }];
  for (const [rank, i] of order.entries()) {
    claimed--;
    hits -= truth[i]!;
    const [score, next] = [scores[i]!, rank + 1 < order.length ? scores[order[rank + 1]!]! : 1];
    if (isApart(score, next)) candidates.push({ threshold: score + (next - score) / 2, claimed, hits });
  }
  return candidates;
}

/** Whether the logits differ by more than float32 numbers of one text in different batches. */
const isApart = (score: number, next: number): boolean => next - score > 1e-5 * Math.min(next, 1 - score);

/** The first of equals, which is the lowest threshold, as in scikit-learn's TunedThresholdClassifierCV. */
function highest(candidates: Candidate[], metric: string, rows: number): Candidate {
  const positives = candidates[0]!.hits;
  const values = candidates.map(({ claimed, hits }) =>
    ofTwoClasses(metric, [
      { hits: rows - positives - (claimed - hits), claimed: rows - claimed, support: rows - positives },
      { hits, claimed, support: positives },
    ]),
  );
  return candidates[values.reduce((best, value, i) => (value > values[best]! ? i : best), 0)]!;
}

/** The highest recall with enough precision, or the highest precision with enough recall; among equals, the one with more of the other. */
function under(candidates: Candidate[], { least, value }: Requirement, whom: string): Candidate {
  const positives = candidates[0]!.hits;
  const figures = candidates
    // Without predictions, the precision is undefined.
    .filter(({ claimed }) => claimed > 0)
    .map((candidate) => {
      const [precision, recall] = [ratio(candidate.hits, candidate.claimed), ratio(candidate.hits, positives)];
      const [required, other] = least === 'precision' ? [precision, recall] : [recall, precision];
      return { candidate, required, other };
    });
  const most = figures.reduce((a, b) => (b.required > a.required || (b.required === a.required && b.other > a.other) ? b : a));
  const enough = figures.filter(({ required }) => required >= value);
  if (enough.length === 0)
    throw new StepError(
      `no threshold gives ${whom} a ${least} of at least ${value}: the highest is ${short(most.required)}, with a ${least === 'precision' ? 'recall' : 'precision'} of ${short(most.other)}`,
      'Require less, or train a better model.',
      ['threshold', least],
    );
  return enough.reduce((a, b) => (b.other > a.other || (b.other === a.other && b.required > a.required) ? b : a)).candidate;
}

const short = (value: number): string => String(Number(value.toPrecision(4)));
