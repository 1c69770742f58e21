/** The metrics of each task. This module is light, because it is loaded when a pipeline is parsed. */

import { type MetricDirection, StepError } from '../../../engine/step.ts';
import type { ProblemType, Task } from '../models/config.ts';
import { listed } from '../models/json.ts';
import { METRICS as ANSWERS } from './answers.ts';
import { METRICS as CLASSIFICATION } from './classification.ts';
import { METRICS as ENTITIES } from './entities.ts';
import { METRICS as GENERATED } from './generated.ts';
import { METRICS as MULTI_LABEL } from './multi-label.ts';
import { METRICS as REGRESSION } from './regression.ts';

/**
 * Metrics of language models: the exponential of the loss, and the share of tokens (mrequested ones or next ones) that
 * were predicted.
 */
export const LANGUAGE_METRICS = ['perplexity', 'accuracy'];

export const METRIC_NAMES = [
  ...new Set(
    [CLASSIFICATION, MULTI_LABEL, REGRESSION, ENTITIES, ANSWERS, GENERATED]
      .flatMap((metrics) => Object.keys(metrics))
      .concat(LANGUAGE_METRICS),
  ),
];

/** Metrics for which lower is better. */
const SMALLER_IS_BETTER = ['loss', 'log_loss', 'ece', 'hamming_loss', 'mse', 'rmse', 'mae', 'perplexity'];

export function betterOf(metric: string): MetricDirection {
  return SMALLER_IS_BETTER.includes(metric) ? 'lower' : 'higher';
}

export interface TaskMetrics {
  /** All metrics of the task. */
  known: readonly string[];
  /** The metrics by default. */
  usual: readonly string[];
}

/** `labels`: while they are unknown, `usual` has every metric that is usual for some number of labels. */
export function taskMetrics(task: Task, problem: ProblemType, labels?: readonly string[]): TaskMetrics {
  switch (task) {
    case 'text-classification':
      return classificationMetrics(problem, labels);
    case 'token-classification': {
      const ofEntities = ['precision', 'recall', 'f1'];
      return { known: Object.keys(ENTITIES), usual: [...(labels && !markEntities(labels) ? [] : ofEntities), 'accuracy'] };
    }
    case 'question-answering':
      return { known: Object.keys(ANSWERS), usual: ['exact_match', 'f1'] };
    default:
      return { known: LANGUAGE_METRICS, usual: LANGUAGE_METRICS };
  }
}

/**
 * Metrics of generated texts, for tasks that generate: evaluate computes them, and training if one of them decides
 * something.
 */
export function writtenMetrics(task: Task): TaskMetrics {
  return task === 'seq2seq'
    ? { known: Object.keys(GENERATED), usual: ['rouge1', 'rouge2', 'rougeL', 'bleu', 'exact_match'] }
    : { known: [], usual: [] };
}

/** Tags such as NOUN and VERB mark no entities. */
export const markEntities = (labels: readonly string[]): boolean => labels.every((label) => /^(O$|[BIES]-)/.test(label));

function classificationMetrics(problem: ProblemType, labels?: readonly string[]): TaskMetrics {
  if (problem === 'regression') return { known: Object.keys(REGRESSION), usual: ['mse', 'mae', 'r2'] };
  if (problem === 'multi_label_classification')
    return { known: Object.keys(MULTI_LABEL), usual: ['accuracy', 'micro_f1', 'macro_f1', 'hamming_loss'] };
  const [ofTwo, ofMore] = [
    ['precision', 'recall', 'f1'],
    ['macro_precision', 'macro_recall', 'macro_f1'],
  ];
  const usual = labels === undefined ? [...ofTwo, ...ofMore] : labels.length === 2 ? ofTwo : ofMore;
  return { known: Object.keys(CLASSIFICATION), usual: ['accuracy', ...usual] };
}

/** The requested metrics if the task has them; by default its usual ones. */
export function metricNames(task: Task, problem: ProblemType, labels: string[], requested: string[] | undefined): readonly string[] {
  const { known, usual } = taskMetrics(task, problem, labels);
  refuseUnknown(task, requested, known);
  return requested ?? usual;
}

/** The same for evaluate, whose metrics may also need generated texts; these are returned separately. */
export function evaluationMetrics(
  task: Task,
  problem: ProblemType,
  labels: string[],
  requested: string[] | undefined,
): { names: readonly string[]; ofTexts: readonly string[] } {
  const { known, usual } = taskMetrics(task, problem, labels);
  const written = writtenMetrics(task);
  refuseUnknown(task, requested, [...written.known, ...known]);
  if (!requested) return { names: usual, ofTexts: written.usual };
  return { names: requested.filter((name) => known.includes(name)), ofTexts: requested.filter((name) => !known.includes(name)) };
}

function refuseUnknown(task: Task, requested: string[] | undefined, known: readonly string[]): void {
  const unknown = requested?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) throw new StepError(`${task} has no metric ${listed(unknown)}`, `It has ${known.join(', ')}.`, ['metrics']);
}
