/**
 * Checks metrics before a model is trained, from the options of the steps above, and from the tokens once they exist.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nearest, type OptionProblem, type Upstream } from '../../../engine/step.ts';
import { binaryProblem, positiveProblem } from '../metrics/classification.ts';
import { taskMetrics, writtenMetrics } from '../metrics/registry.ts';
import { type ProblemType, TASK_NAMES, type Task, type TaskFacts, taskFacts } from '../models/config.ts';

export interface Ahead {
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

/**
 * Undefined if the metric is available, as far as is known. `beside`: further valid names that are not metrics of the
 * task.
 */
export function metricProblem(name: string, option: string, ahead: Ahead, beside: string[] = []): OptionProblem | undefined {
  const { task, problem, labels } = ahead;
  const known = [...beside, ...writtenMetrics(task).known, ...taskMetrics(task, problem, labels).known];
  if (!known.includes(name)) {
    const of = problem === 'single_label_classification' ? task : `${task} (${problem})`;
    return { option, message: `${of} has no metric ${name}`, hint: `It has ${known.join(', ')}.` };
  }
  const wrong = task === 'text-classification' && problem === 'single_label_classification' && labels && binaryProblem([name], labels);
  return wrong ? { option, ...wrong } : undefined;
}

/** Advice for a metric that the evaluate step `step` does not report. */
export function hintForMetric(name: string, reported: string[], step: string, ahead: Ahead): string {
  const { task, problem, labels } = ahead;
  const known = [...writtenMetrics(task).known, ...taskMetrics(task, problem, labels).known];
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
  if (task !== 'text-classification' || problem !== 'single_label_classification')
    return [{ option: 'positive', ...meansNothing(task, problem) }];
  const wrong = labels && positiveProblem(positive, labels);
  return wrong ? [{ option: 'positive', ...wrong }] : [];
}

export const meansNothing = (task: Task, problem: ProblemType | undefined) => ({
  message: `\`positive\` does not apply to ${task === 'text-classification' && problem ? problem : task}`,
  hint: 'It applies only to text-classification with two labels. Remove it.',
});

/* Checks options of a step that apply only to some tasks. */

export function optionsOfOtherTasks(options: Record<string, unknown> & { task: Task }, step: keyof TaskFacts['options']): OptionProblem[] {
  const optionsOf = (task: Task): readonly string[] => taskFacts(task).options[step];
  const wrong = [...new Set(TASK_NAMES.flatMap(optionsOf))].filter(
    (name) => options[name] !== undefined && !optionsOf(options.task).includes(name),
  );
  return wrong.map((option) => {
    const tasks = TASK_NAMES.filter((task) => optionsOf(task).includes(option));
    return { option, message: `\`${option}\` applies only to ${tasks.join(' and ')}, not to ${options.task}` };
  });
}
