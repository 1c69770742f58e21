/** Compares the answers of a model with the true values, and computes one metric of any rows. */

import { type Json, StepError } from '../../engine/contract/step.ts';
import { answerMetrics } from '../ml/metrics/answers.ts';
import { computed } from '../ml/metrics/counts.ts';
import { ENTITIES, EntityCounts } from '../ml/metrics/entities.ts';
import { MULTI_LABEL_PROBABILITY_METRICS, multiLabelOf } from '../ml/metrics/multi-label.ts';
import { PerExample } from '../ml/metrics/per-example.ts';
import {
  binaryProblem,
  classificationOf,
  PROBABILITY_METRICS,
  positiveClass,
  positiveProblem,
  regressionMetrics,
} from '../ml/metrics/text-classification.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';

/** What is compared. */
export interface Subject {
  task: Task;
  problem: ProblemType;
  /** Those of both models and of the rows. */
  labels: string[];
  metric: string;
  positive?: string | undefined;
}

export interface Scorer {
  /** Adds the next row. */
  add(truth: Json, answer: Json): void;
  /** Of these rows, which may repeat. NaN if it is undefined. */
  value(rows: Int32Array): number;
}

/** Whether the metric is the share of rows that are answered correctly. */
export const isShareOfRows = ({ task, problem, metric }: Subject): boolean =>
  task === 'question-answering'
    ? metric === 'exact_match'
    : task === 'text-classification' && problem !== 'regression' && metric === 'accuracy';

export function openScorer(subject: Subject): Scorer {
  if (subject.task === 'question-answering') return scoreAnswers(subject);
  if (subject.task === 'token-classification') return scoreTags(subject);
  if (subject.problem === 'regression') return scoreNumbers(subject);
  return subject.problem === 'multi_label_classification' ? scoreSets(subject) : scoreLabels(subject);
}

function scoreLabels({ labels, metric, positive }: Subject): Scorer {
  const classes = new Map(labels.map((label, k) => [label, k]));
  const rows = new PerExample(2, Int32Array);
  const keepsScores = PROBABILITY_METRICS.includes(metric);
  const scores = new PerExample(labels.length);
  const of = positiveOf(labels, metric, positive);
  // Made when all rows are added.
  let metricsOf: ReturnType<typeof classificationOf> | undefined;
  return {
    add(truth, answer) {
      const given = answer as { label: string; scores: Record<string, number> };
      rows.add([classes.get(truth as string)!, classes.get(given.label)!]);
      // A model that does not know a label gives it no probability.
      if (keepsScores) scores.add(labels.map((label) => given.scores[label] ?? 0));
    },
    value(own) {
      metricsOf ??= classificationOf(
        {
          classes: labels.length,
          truth: rows.column(0),
          predicted: rows.column(1),
          ...(keepsScores && { scores: scores.each() }),
          ...(of !== undefined && { positive: of }),
        },
        [metric],
      );
      return metricsOf(own)[metric]!;
    },
  };
}

/** The index of the positive label of two. */
function positiveOf(labels: string[], metric: string, positive: string | undefined): number | undefined {
  const binary = binaryProblem([metric], labels);
  if (binary)
    throw new StepError(binary.message, `${binary.hint} The labels are those of both models: ${labels.join(', ')}.`, [
      'limits',
      'better_than',
      'metric',
    ]);
  const wrong = positive === undefined ? undefined : positiveProblem(positive, labels);
  if (wrong) throw new StepError(wrong.message, wrong.hint, ['limits', 'better_than', 'positive']);
  return positiveClass(labels, positive, [metric]);
}

function scoreSets({ labels, metric }: Subject): Scorer {
  const [truths, given] = [new PerExample(labels.length, Uint8Array), new PerExample(labels.length, Uint8Array)];
  const keepsScores = MULTI_LABEL_PROBABILITY_METRICS.includes(metric);
  const scores = new PerExample(labels.length);
  const flags = (own: string[]) => labels.map((label) => Number(own.includes(label)));
  let metricsOf: ReturnType<typeof multiLabelOf> | undefined;
  return {
    add(truth, answer) {
      const predicted = answer as { labels: string[]; scores: Record<string, number> };
      truths.add(flags(truth as string[]));
      given.add(flags(predicted.labels));
      if (keepsScores) scores.add(labels.map((label) => predicted.scores[label] ?? 0));
    },
    value(rows) {
      metricsOf ??= multiLabelOf({ truth: truths.each(), predicted: given.each(), ...(keepsScores && { scores: scores.each() }) }, [
        metric,
      ]);
      return metricsOf(rows)[metric]!;
    },
  };
}

function scoreNumbers({ metric }: Subject): Scorer {
  const rows = new PerExample(2);
  return {
    add: (truth, answer) => rows.add([truth as number, (answer as { score: number }).score]),
    value: (own) => regressionMetrics([...rows.column(0, own)], [...rows.column(1, own)], [metric])[metric]!,
  };
}

/** A word without a token has no tag, which counts as no entity, as in evaluate. */
function scoreTags({ labels, metric }: Subject): Scorer {
  const nothing = labels.includes('O') ? 'O' : '';
  const entities = new EntityCounts();
  return {
    add(truth, answer) {
      const { tags } = answer as { tags: (string | null)[] };
      entities.add(
        truth as string[],
        tags.map((tag) => tag ?? nothing),
      );
    },
    value: (rows) => computed(ENTITIES, [metric], entities.counted(rows))[metric]!,
  };
}

/** The metrics are means over the rows. */
function scoreAnswers({ metric }: Subject): Scorer {
  const values = new PerExample(1);
  return {
    add(truth, answer) {
      const predicted = (answer as { answer: string }).answer;
      values.add([answerMetrics([{ truth: truth as string[], predicted }], [metric])[metric]!]);
    },
    value: (rows) => values.sums(rows)[0]! / rows.length,
  };
}
