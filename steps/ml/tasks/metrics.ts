/**
 * The metrics of each task, and checks of metrics before a model is trained: from the options of the steps before, and
 * from the tokens once they exist. Pipelines load this module when they are parsed, so it needs no tensor library.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MetricDirection, nearest, type OptionProblem, StepError, type Upstream } from '../../../engine/contract/step.ts';
import { ANSWERS } from '../metrics/answers.ts';
import { ENTITIES } from '../metrics/entities.ts';
import { GENERATED } from '../metrics/generated.ts';
import { MULTI_LABEL } from '../metrics/multi-label.ts';
import { binaryProblem, CLASSIFICATION, positiveProblem, REGRESSION } from '../metrics/text-classification.ts';
import { oneLabel, type ProblemType, type Task, taskFacts } from '../models/config.ts';
import { listed } from '../models/json.ts';

/** Metrics of language models: the exponential of the loss, and the share of tokens that were predicted correctly. */
export const LANGUAGE_METRICS = ['perplexity', 'accuracy'];

export const METRIC_NAMES = [
  ...new Set([...CLASSIFICATION, ...[REGRESSION, ENTITIES, ANSWERS, GENERATED].flatMap(Object.keys), ...MULTI_LABEL, ...LANGUAGE_METRICS]),
];

const SMALLER_IS_BETTER = ['loss', 'log_loss', 'brier_score', 'ece', 'hamming_loss', 'mse', 'rmse', 'mae', 'perplexity'];

export const betterOf = (metric: string): MetricDirection => (SMALLER_IS_BETTER.includes(metric) ? 'lower' : 'higher');

interface TaskMetrics {
  /** All metrics of the task. */
  known: readonly string[];
  /** The metrics by default. */
  usual: readonly string[];
}

/** `labels`: while they are unknown, `usual` has every metric that is usual for some number of labels. */
export const taskMetrics = (task: Task, problem: ProblemType, labels?: readonly string[]): TaskMetrics =>
  OF_TASK[task]?.(problem, labels) ?? { known: LANGUAGE_METRICS, usual: LANGUAGE_METRICS };

/** The metric that stands for the others: F1 of entities and answers, otherwise the first one, such as accuracy. */
export function mainMetric(task: Task, problem: ProblemType, labels: readonly string[]): string {
  const { usual } = taskMetrics(task, problem, labels);
  return task !== 'text-classification' && usual.includes('f1') ? 'f1' : usual[0]!;
}

/** The tasks whose metrics are not those of language models. */
const OF_TASK: { [T in Task]?: (problem: ProblemType, labels?: readonly string[]) => TaskMetrics } = {
  'text-classification'(problem, labels) {
    if (problem === 'regression') return { known: Object.keys(REGRESSION), usual: ['mse', 'mae', 'r2'] };
    if (problem === 'multi_label_classification')
      return { known: MULTI_LABEL, usual: ['accuracy', 'micro_f1', 'macro_f1', 'hamming_loss'] };
    const ofTwo = labels === undefined || labels.length === 2 ? ['precision', 'recall', 'f1'] : [];
    const ofMore = labels?.length === 2 ? [] : ['macro_precision', 'macro_recall', 'macro_f1'];
    return { known: CLASSIFICATION, usual: ['accuracy', ...ofTwo, ...ofMore] };
  },
  'token-classification'(_, labels) {
    const ofEntities = labels && !markEntities(labels) ? [] : ['precision', 'recall', 'f1'];
    return { known: Object.keys(ENTITIES), usual: [...ofEntities, 'accuracy'] };
  },
  'question-answering': () => ({ known: Object.keys(ANSWERS), usual: ['exact_match', 'f1'] }),
};

/** Tags such as NOUN and VERB mark no entities. */
export const markEntities = (labels: readonly string[]): boolean => labels.every((label) => /^(O$|[BIES]-)/.test(label));

/** Metrics of generated texts: evaluate computes them, and training if one of them decides something. */
export const writtenMetrics = (task: Task): TaskMetrics =>
  task === 'seq2seq'
    ? { known: Object.keys(GENERATED), usual: ['rouge1', 'rouge2', 'rougeL', 'bleu', 'exact_match'] }
    : { known: [], usual: [] };

/** All that evaluate can report. */
export function reportedMetrics(task: Task, problem: ProblemType, labels?: readonly string[]): TaskMetrics {
  const [written, own] = [writtenMetrics(task), taskMetrics(task, problem, labels)];
  return { known: [...written.known, ...own.known], usual: [...written.usual, ...own.usual] };
}

/** The requested metrics if the task has them; by default its usual ones. */
export function metricNames(task: Task, problem: ProblemType, labels: string[], requested: string[] | undefined): readonly string[] {
  const { known, usual } = taskMetrics(task, problem, labels);
  refuseUnknown(task, requested, known);
  return requested ?? usual;
}

/** The same for evaluate; metrics that need generated texts are returned separately. */
export function evaluationMetrics(
  task: Task,
  problem: ProblemType,
  labels: string[],
  requested: string[] | undefined,
): { names: readonly string[]; ofTexts: readonly string[] } {
  const { known, usual } = taskMetrics(task, problem, labels);
  refuseUnknown(task, requested, reportedMetrics(task, problem, labels).known);
  if (!requested) return { names: usual, ofTexts: writtenMetrics(task).usual };
  return { names: requested.filter((name) => known.includes(name)), ofTexts: requested.filter((name) => !known.includes(name)) };
}

function refuseUnknown(task: Task, requested: string[] | undefined, known: readonly string[]): void {
  const unknown = requested?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) throw new StepError(`${task} has no metric ${listed(unknown)}`, `It has ${known.join(', ')}.`, ['metrics']);
}

/* Checks before a model is trained. */

/** What is known of the tokens. */
interface Ahead {
  task: Task;
  problem: ProblemType;
  /** Known once the tokens exist. */
  labels?: string[];
  splits?: string[];
}

/** For the input `tokens`; undefined if it does not come from a tokenize step. */
export function tokensAhead([tokens]: Upstream[] = []): Ahead | undefined {
  if (tokens?.uses !== 'tokenize') return undefined;
  const { task, problem_type = 'single_label_classification' } = tokens.options as { task: Task; problem_type?: ProblemType };
  const file = tokens.path && join(tokens.path, 'tokens.json');
  if (!file || !existsSync(file)) return { task, problem: problem_type };
  const { labels, splits } = JSON.parse(readFileSync(file, 'utf8')) as { labels: string[]; splits: Record<string, { rows: number }> };
  return { task, problem: problem_type, labels, splits: Object.keys(splits).filter((name) => splits[name]!.rows > 0) };
}

/** Undefined if the metric is available, as far as is known. `beside`: further valid names that are not metrics of the task. */
export function metricProblem(name: string, option: string, ahead: Ahead, beside: string[] = []): OptionProblem | undefined {
  const { task, problem, labels } = ahead;
  const known = [...beside, ...reportedMetrics(task, problem, labels).known];
  if (!known.includes(name)) {
    const of = problem === 'single_label_classification' ? task : `${task} (${problem})`;
    return { option, message: `${of} has no metric ${name}`, hint: `It has ${known.join(', ')}.` };
  }
  const wrong = oneLabel(task, problem) && labels && binaryProblem([name], labels);
  return wrong ? { option, ...wrong } : undefined;
}

/** Advice for a metric that the evaluate step `step` does not report. */
export function hintForMetric(name: string, reported: readonly string[], step: string, ahead: Ahead): string {
  const { known } = reportedMetrics(ahead.task, ahead.problem, ahead.labels);
  if (known.includes(name)) return metricProblem(name, '', ahead)?.hint ?? `Add it to \`metrics\` of ${step}.`;
  const meant = nearest(name, reported);
  if (meant !== undefined) return `Did you mean ${meant}?`;
  const possible = nearest(name, known);
  return possible === undefined
    ? `Use one of them, or set \`metrics\` of ${step}.`
    : `Did you mean ${possible}? Add it to \`metrics\` of ${step}.`;
}

/** The problem with the option `positive`, as far as is known. */
export function positiveAhead(positive: string | undefined, { task, problem, labels }: Ahead): OptionProblem[] {
  if (positive === undefined) return [];
  if (!oneLabel(task, problem)) return [{ option: 'positive', ...meansNothing(task, problem) }];
  const wrong = labels && positiveProblem(positive, labels);
  return wrong ? [{ option: 'positive', ...wrong }] : [];
}

export const meansNothing = (task: Task, problem: ProblemType | undefined) => ({
  message: `\`positive\` does not apply to ${taskFacts(task).problems && problem ? problem : task}`,
  hint: 'It applies only to text-classification with two labels. Remove it.',
});
