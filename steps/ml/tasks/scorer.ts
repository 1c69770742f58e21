/**
 * Measures answers that were given somewhere else, of a model or in a table of predictions: compares them with the true values,
 * and computes metrics of any rows.
 */

import type { Json } from '../../../engine/contract/step.ts';
import { answerMetrics } from '../metrics/answers.ts';
import { computed } from '../metrics/counts.ts';
import { ENTITIES, EntityCounts, whyOfEntities } from '../metrics/entities.ts';
import { generatedMetrics } from '../metrics/generated.ts';
import { MULTI_LABEL_PROBABILITY_METRICS, multiLabelOf } from '../metrics/multi-label.ts';
import { PerExample } from '../metrics/per-example.ts';
import { classificationOf, PROBABILITY_METRICS, positiveClass, regressionOf, whyOfLabels } from '../metrics/text-classification.ts';
import { whyOfSets, whyUncorrelated } from '../metrics/undefined-metrics.ts';
import { oneLabel, type ProblemType, type Task } from '../models/config.ts';
import { LANGUAGE_METRICS } from './metrics.ts';

/** What is measured. */
export interface ScoredAnswers {
  task: Task;
  problem: ProblemType;
  /** Those of the answers and of the rows. */
  labels: string[];
  metrics: readonly string[];
  positive?: string | undefined;
  /** The option whose keys are `metric` and `positive`, for messages. */
  option?: string[];
}

export interface Scorer {
  /** Adds the next row. The answer is one of `predict`; for language models it has `tokens`, `loss` and `accuracy`. */
  add(truth: Json, answer: Json): void;
  /** Of these rows, which may repeat; default: of all. NaN if one is undefined. */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Why a metric is NaN, as in a measurement. */
  why?(metric: string): string | undefined;
}

/** Whether the metric is the share of rows that are answered correctly. */
export function isShareOfRows({ task, problem }: Pick<ScoredAnswers, 'task' | 'problem'>, metric: string): boolean {
  if (task === 'question-answering' || task === 'seq2seq') return metric === 'exact_match';
  return task === 'text-classification' && problem !== 'regression' && metric === 'accuracy';
}

/** Whether the metrics need the probability of each label. */
export const needsScores = ({ task, problem, metrics }: Pick<ScoredAnswers, 'task' | 'problem' | 'metrics'>): boolean =>
  task === 'text-classification' &&
  metrics.some((name) => (oneLabel(task, problem) ? PROBABILITY_METRICS : MULTI_LABEL_PROBABILITY_METRICS).includes(name));

export function openScorer(scored: ScoredAnswers): Scorer {
  const { task, problem } = scored;
  if (task === 'question-answering') return scoreAnswers(scored);
  if (task === 'token-classification') return scoreTags(scored);
  if (task === 'seq2seq') return scoreTexts(scored);
  if (task !== 'text-classification') return scoreTokens(scored);
  if (problem === 'regression') return scoreNumbers(scored);
  return problem === 'multi_label_classification' ? scoreSets(scored) : scoreLabels(scored);
}

function scoreLabels(scored: ScoredAnswers): Scorer {
  const { labels, metrics } = scored;
  const classes = new Map(labels.map((label, k) => [label, k]));
  const rows = new PerExample(2, Int32Array);
  const keepsScores = needsScores(scored);
  const scores = new PerExample(labels.length);
  const positive = positiveOf(scored);
  // Made when all rows are added.
  let metricsOf: ReturnType<typeof classificationOf> | undefined;
  return {
    add(truth, answer) {
      const given = answer as { label: string; scores: Record<string, number> };
      rows.add([classes.get(truth as string)!, classes.get(given.label)!]);
      // A model that does not know a label gives it no probability.
      if (keepsScores) scores.add(labels.map((label) => given.scores[label] ?? 0));
    },
    metrics(own) {
      metricsOf ??= classificationOf(
        {
          classes: labels.length,
          truth: rows.column(0),
          predicted: rows.column(1),
          ...(keepsScores && { scores: scores.each() }),
          ...(positive !== undefined && { positive }),
        },
        metrics,
      );
      return metricsOf(own);
    },
    why: (metric) =>
      whyOfLabels(metric, { truth: rows.column(0), predicted: rows.column(1), ...(positive !== undefined && { positive }) }, labels),
  };
}

/** The index of the positive label of two. */
function positiveOf({ labels, metrics, positive, option = [] }: ScoredAnswers): number | undefined {
  const note = ` The labels are those of both models: ${labels.join(', ')}.`;
  return positiveClass(labels, positive, metrics, { option: [...option, 'metric'], beside: option, note });
}

function scoreSets(scored: ScoredAnswers): Scorer {
  const { labels, metrics } = scored;
  const [truths, given] = [new PerExample(labels.length, Uint8Array), new PerExample(labels.length, Uint8Array)];
  const keepsScores = needsScores(scored);
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
    metrics(rows) {
      metricsOf ??= multiLabelOf({ truth: truths.each(), predicted: given.each(), ...(keepsScores && { scores: scores.each() }) }, metrics);
      return metricsOf(rows);
    },
    why: (metric) => whyOfSets(metric, { truth: truths, predicted: given, labels }),
  };
}

function scoreNumbers({ metrics }: ScoredAnswers): Scorer {
  const rows = new PerExample(2);
  // Made when all rows are added.
  let metricsOf: ReturnType<typeof regressionOf> | undefined;
  return {
    add: (truth, answer) => rows.add([truth as number, (answer as { score: number }).score]),
    metrics(own) {
      metricsOf ??= regressionOf(rows.column(0), rows.column(1), metrics);
      return metricsOf(own);
    },
    why: (metric) => whyUncorrelated(metric, rows.column(0), rows.column(1)),
  };
}

/** A word without a token has no tag, which counts as no entity, as in evaluate. */
function scoreTags({ labels, metrics }: ScoredAnswers): Scorer {
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
    metrics: (rows) => computed(ENTITIES, metrics, entities.counted(rows)),
    why: (metric) => whyOfEntities(metric, entities.counted()),
  };
}

/** The metrics are means over the rows. */
function scoreAnswers({ metrics }: ScoredAnswers): Scorer {
  const values = new PerExample(metrics.length);
  return {
    add(truth, answer) {
      const predicted = (answer as { answer: string }).answer;
      const own = answerMetrics([{ truth: truth as string[], predicted }], metrics);
      values.add(metrics.map((name) => own[name]!));
    },
    metrics(rows) {
      const sums = values.sums(rows);
      return Object.fromEntries(metrics.map((name, k) => [name, sums[k]! / (rows?.length ?? values.count)]));
    },
  };
}

/** Metrics of the texts, and of the tokens of the targets. The true values are the references. */
function scoreTexts(scored: ScoredAnswers): Scorer {
  const ofTokens = scored.metrics.filter((name) => LANGUAGE_METRICS.includes(name));
  const texts = generatedMetrics(scored.metrics.filter((name) => !ofTokens.includes(name)));
  const tokens = scoreTokens({ ...scored, metrics: ofTokens });
  return {
    add(truth, answer) {
      texts.add({ references: truth as string[], predicted: (answer as { text: string }).text });
      tokens.add(null, answer);
    },
    metrics: (rows) => ({ ...texts.metrics(rows), ...tokens.metrics(rows) }),
  };
}

/** Means over the predicted tokens: a row counts as often as it has tokens. */
function scoreTokens({ metrics }: ScoredAnswers): Scorer {
  const sums = new PerExample(3);
  return {
    add(_, answer) {
      const { tokens, loss, accuracy } = answer as { tokens: number; loss: number; accuracy: number };
      sums.add(tokens === 0 ? [0, 0, 0] : [tokens, tokens * loss, tokens * accuracy]);
    },
    metrics(rows) {
      const [tokens, loss, hits] = sums.sums(rows) as unknown as [number, number, number];
      const values: Record<string, number> = { perplexity: Math.exp(loss / tokens), accuracy: hits / tokens };
      return Object.fromEntries(metrics.map((name) => [name, values[name]!]));
    },
  };
}
