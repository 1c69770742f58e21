/** The metrics of each task. This module is light, because it is loaded when a pipeline is parsed. */

import type { ProblemType, Task } from '../models/family.ts';
import { METRICS as ANSWERS, METRICS as answers } from './answers.ts';
import { METRICS as CLASSIFICATION, METRICS as classification } from './classification.ts';
import { METRICS as ENTITIES, METRICS as entities } from './entities.ts';
import { METRICS as GENERATED, METRICS as generated } from './generated.ts';
import { METRICS as MULTI_LABEL, METRICS as multiLabel } from './multi-label.ts';
import { METRICS as REGRESSION, METRICS as regression } from './regression.ts';

/* The names of all metrics of all tasks. */

/**
 * Metrics of language models: the exponential of the loss, and the share of tokens (masked ones or next ones) that
 * were predicted.
 */
export const LANGUAGE_METRICS = ['perplexity', 'accuracy'];

export const METRIC_NAMES = [
  ...new Set(
    [classification, multiLabel, regression, entities, answers, generated]
      .flatMap((metrics) => Object.keys(metrics))
      .concat(LANGUAGE_METRICS),
  ),
];

/** Metrics for which lower is better. */
export const SMALLER_IS_BETTER = ['loss', 'log_loss', 'ece', 'hamming_loss', 'mse', 'rmse', 'mae', 'perplexity'];

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
