/** Decides whether the answers to a case are as the test expects, with the definitions of CheckList's `Expect`. */

import { type Json, StepError } from '../../engine/contract/step.ts';
import { answerMetrics } from '../ml/metrics/answers.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';
import type { BehaviorCase, PreparedTest } from './cases.ts';
import { comparisonOf } from './model-checks.ts';
import type { Expectation, ScoreChange } from './options.ts';

/** An answer of `predict`, whatever the task. */
interface Answer {
  label?: string;
  labels?: string[];
  scores?: Record<string, number>;
  score?: number;
  answer?: string;
  entities?: { entity: string; text: string }[];
  tags?: (string | null)[];
}

export interface Judged extends BehaviorCase {
  expected?: string;
  answer: string;
  answerAfter?: string;
  /** The score that the test is about: see docs/behavior.md. */
  score?: number;
  scoreAfter?: number;
  failed: boolean;
  /** How wrong the answers are; only its order counts. */
  severity: number;
}

interface Judging {
  task: Task;
  problem: ProblemType;
}

/** Undefined for a case of a direction test that cannot fail. `after`: for a case with a change. */
export function judge(
  test: PreparedTest,
  one: BehaviorCase,
  answers: { before: Json; after?: Json },
  judging: Judging,
): Judged | undefined {
  const before = checked(answers.before);
  const answer = inWords(before, judging);
  if (one.after === undefined) return { ...one, answer, ...expected(before, one.expect!, test.options.tolerance, judging) };
  const after = checked(answers.after!);
  const changed = { ...one, answer, answerAfter: inWords(after, judging) };
  if (test.kind === 'invariance') return { ...changed, ...invariant(before, after, test.options.tolerance ?? 0, judging) };
  const moved = direction(before, after, test.options.score!);
  return moved && { ...changed, ...moved };
}

/** @throws StepError if a score is not a number */
function checked(answer: Json): Answer {
  const { score, scores = {} } = answer as Answer;
  if ([...(score === undefined ? [] : [score]), ...Object.values(scores)].every(Number.isFinite)) return answer as Answer;
  throw new StepError(
    'the model outputs scores that are not numbers',
    'Its training diverged: train it again with a lower learning_rate.',
    ['model'],
  );
}

function inWords(answer: Answer, { task, problem }: Judging): string {
  if (task === 'question-answering') return answer.answer!;
  if (task === 'token-classification') return answer.tags ? answer.tags.map((tag) => tag ?? '-').join(' ') : entityTexts(answer).join(', ');
  if (problem === 'regression') return String(answer.score);
  return problem === 'multi_label_classification' ? answer.labels!.join(', ') : answer.label!;
}

const entityTexts = ({ entities = [] }: Answer): string[] => entities.map(({ entity, text }) => `${entity}: ${text}`);

/* Minimum functionality. */

type Verdict = Pick<Judged, 'failed' | 'severity'> & Partial<Pick<Judged, 'expected' | 'score' | 'scoreAfter'>>;

function expected(answer: Answer, expect: Expectation, tolerance: number | undefined, { task, problem }: Judging): Verdict {
  if (task === 'question-answering') return expectedAnswer(answer, [expect].flat().map(String));
  if (task === 'token-classification') return expectedWords(answer, expect as string[] | Record<string, string | string[]>);
  if (problem === 'regression') return expectedNumber(answer.score!, expect as number | string, tolerance);
  if (problem === 'multi_label_classification') return expectedLabels(answer, expect);
  const labels = [expect].flat().map(String);
  const failed = !labels.includes(answer.label!);
  const score = Math.max(...labels.map((label) => answer.scores![label]!));
  return { expected: labels.join(' or '), score, failed, severity: failed ? 1 - score : 0 };
}

function expectedLabels({ labels, scores }: Answer, expect: Expectation): Verdict {
  if (!Array.isArray(expect)) {
    const label = String(expect);
    return { expected: label, score: scores![label]!, failed: !labels!.includes(label), severity: 1 - scores![label]! };
  }
  const wrong = [...expect.filter((label) => !labels!.includes(label)), ...labels!.filter((label) => !expect.includes(label))];
  return { expected: expect.join(', ') || 'no label', failed: wrong.length > 0, severity: wrong.length };
}

function expectedNumber(value: number, expect: number | string, tolerance = 0): Verdict {
  if (typeof expect === 'string') return { expected: expect, score: value, failed: !comparisonOf(expect)!(value), severity: 0 };
  const difference = Math.abs(value - expect);
  return { expected: `${expect} ± ${tolerance}`, score: value, failed: difference > tolerance, severity: difference };
}

/** SQuAD's exact match. */
function expectedAnswer({ answer, score }: Answer, truth: string[]): Verdict {
  const failed = !sameAnswer(truth, answer!);
  return { expected: truth.map((text) => text || 'no answer').join(' or '), score: score!, failed, severity: failed ? score! : 0 };
}

const sameAnswer = (truth: string[], predicted: string): boolean =>
  answerMetrics([{ truth: truth.filter((text) => text !== ''), predicted }], ['exact_match']).exact_match === 1;

function expectedWords(answer: Answer, expect: string[] | Record<string, string | string[]>): Verdict {
  const wanted = Array.isArray(expect)
    ? expect
    : Object.entries(expect).flatMap(([entity, texts]) => [texts].flat().map((text) => `${entity}: ${text}`));
  const found = Array.isArray(expect) ? answer.tags!.map((tag) => tag ?? '-') : entityTexts(answer);
  const [a, b] = Array.isArray(expect) ? [wanted, found] : [wanted.toSorted(), found.toSorted()];
  const wrong = a.filter((one, i) => one !== b[i]).length + Math.max(0, b.length - a.length);
  return { expected: wanted.join(Array.isArray(expect) ? ' ' : ', ') || 'no entity', failed: wrong > 0, severity: wrong };
}

/* Invariance: the same answer, or a score that changes by no more than the tolerance. */

function invariant(before: Answer, after: Answer, tolerance: number, { task, problem }: Judging): Verdict {
  if (task === 'question-answering') {
    const failed = !sameAnswer([before.answer!], after.answer!);
    return { score: before.score!, scoreAfter: after.score!, failed, severity: failed ? before.score! : 0 };
  }
  if (problem === 'regression') {
    const difference = Math.abs(after.score! - before.score!);
    return { score: before.score!, scoreAfter: after.score!, failed: difference > tolerance, severity: difference };
  }
  const moved = (label: string) => Math.abs(after.scores![label]! - before.scores![label]!);
  if (problem === 'multi_label_classification') {
    const changed = Object.keys(before.scores!).filter((label) => before.labels!.includes(label) !== after.labels!.includes(label));
    const severity = Math.max(0, ...changed.map(moved));
    return { failed: changed.length > 0 && !(tolerance > 0 && severity <= tolerance), severity };
  }
  const severity = moved(before.label!);
  const failed = before.label !== after.label && !(tolerance > 0 && severity <= tolerance);
  return { score: before.scores![before.label!]!, scoreAfter: after.scores![before.label!]!, failed, severity };
}

/* Direction: the score must not move the other way by more than the tolerance, or must move by a least amount. */

function direction(before: Answer, after: Answer, { label, change, tolerance = 0, at_least }: ScoreChange): Verdict | undefined {
  const [score, scoreAfter] = label === undefined ? [before.score!, after.score!] : [before.scores![label]!, after.scores![label]!];
  const up = change === 'up' ? 1 : -1;
  const moved = up * (scoreAfter - score);
  // As in CheckList, a probability that is too low to fall by more than the tolerance cannot fail. One that is too high to rise by
  // `at_least` cannot pass.
  if (label !== undefined) {
    const [room, back] = change === 'up' ? [1 - score, score] : [score, 1 - score];
    if (at_least === undefined ? back <= tolerance : room < at_least) return undefined;
  }
  const expected = at_least === undefined ? `${change}, tolerance ${tolerance}` : `${change} by ${at_least}`;
  const failed = at_least === undefined ? moved + tolerance < 0 : moved < at_least;
  return { expected, score, scoreAfter, failed, severity: -moved };
}
