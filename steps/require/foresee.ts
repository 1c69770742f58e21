/** Which metrics the steps before will report, as far as their options say it, and the metrics that `better_than` can compare. */

import { nearest, type OptionProblem, type Upstream } from '../../engine/contract/step.ts';
import { FAIRNESS } from '../ml/metrics/fairness.ts';
import { type Task, taskFacts } from '../ml/models/config.ts';
import {
  hintForMetric,
  METRIC_NAMES,
  metricProblem,
  positiveAhead,
  reportedMetrics,
  taskMetrics,
  tokensAhead,
  writtenMetrics,
} from '../ml/tasks/metrics.ts';

/** Why a step does not report a metric, and how it can. */
interface Absence {
  message: string;
  hint: string;
}

/** `metrics`: all sources of the input. A source that is not understood may report any metric. */
export function limitProblems(names: string[], metrics: Upstream[]): OptionProblem[] {
  return names.flatMap((name): OptionProblem[] => {
    const absences = metrics.map((upstream) => absence(unqualified(name, upstream), upstream));
    const first = absences[0];
    if (first === undefined || absences.includes(undefined)) return [];
    const [best = first] = absences.filter((one) => one?.hint.startsWith('Did you mean') || one?.hint.startsWith('Add'));
    return [
      { option: `limits.${name}`, message: absences.length === 1 ? first.message : `no file of \`metrics\` has ${name}`, hint: best.hint },
    ];
  });
}

/** Without the name of the step or cell. */
function unqualified(name: string, { cell }: Upstream): string {
  const prefix = [cell, stepOf(cell)].find((own) => name.startsWith(`${own}.`));
  return prefix === undefined ? name : name.slice(prefix.length + 1);
}

const stepOf = (cell: string): string => cell.split('[', 1)[0]!;

/** Undefined if the step may report the metric. */
function absence(name: string, upstream: Upstream): Absence | undefined {
  const check = upstream.uses === undefined ? undefined : ABSENCES[upstream.uses];
  return check?.(name, upstream);
}

const ABSENCES: Record<string, (name: string, upstream: Upstream) => Absence | undefined> = {
  evaluate: notEvaluated,
  baseline: notOfBaseline,
  behavior(name, { cell, options }) {
    const tests = Object.keys(Object(options.tests)).map((test) => `failures.${test}`);
    return tests.includes(name.replace(/\.(lower|upper)$/, '')) || !/^failures\.|^[^.]*$/.test(name)
      ? undefined
      : notAmong(name, tests, cell, 'Its tests are in `tests`.');
  },
  train: notInHistory,
  check: (name, { cell }) =>
    METRIC_NAMES.includes(name) ? { message: `${cell} does not report ${name}`, hint: FROM_EVALUATE } : undefined,
};

/** Metrics of the validation split depend on the tokens and on options. */
function notInHistory(name: string, { cell, output }: Upstream): Absence | undefined {
  if (output !== 'history') return undefined;
  if (name.startsWith('validation_') || OF_TRAINING.includes(name) || /[.]/.test(name)) return undefined;
  return notAmong(name, OF_TRAINING, cell, FROM_EVALUATE);
}

const OF_TRAINING = ['train_loss', 'validation_loss', 'generalization_gap'];

const FROM_EVALUATE = 'Give `metrics` the metrics of an evaluate step.';

/** Numbers in the files that are not metrics. */
const COUNTS = ['rows', 'tokens', 'masks', 'block_length', 'unanswerable'];

function notAmong(name: string, names: readonly string[], cell: string, otherwise: string): Absence {
  const meant = nearest(name, names);
  return { message: `${cell} does not report ${name}`, hint: meant === undefined ? otherwise : `Did you mean ${meant}?` };
}

function notEvaluated(name: string, { cell, options, inputs }: Upstream): Absence | undefined {
  const [, base, end] = /^(.*?)(\.(?:lower|upper))?$/s.exec(name)!;
  const step = stepOf(cell);
  const [group, ...rest] = base!.split('.');
  if (rest.length > 0) return notOfGroups(group!, rest.join('.'), options, { name, cell, step });
  if (COUNTS.includes(base!)) return undefined;
  if (OF_TRAINING.includes(base!))
    return { message: `${cell} does not report ${base}`, hint: 'Add the `history` of the train step to `metrics`.' };
  if (end && options.intervals === false)
    return { message: `${cell} does not report ${name}: \`intervals\` is false`, hint: `Remove \`intervals: false\` of ${step}.` };
  const ahead = tokensAhead(inputs.tokens);
  if (!ahead) return undefined;
  const { task, problem, labels } = ahead;
  const reported = (options.metrics as string[] | undefined) ?? reportedMetrics(task, problem, labels).usual;
  if (reported.includes(base!)) return undefined;
  return {
    message: `${cell} does not report ${base}: it reports ${reported.join(', ')}`,
    hint: hintForMetric(base!, reported, step, ahead),
  };
}

/** For `gap.SLICE`, `fairness.METRIC` and `counterfactual.FIGURE`. */
function notOfGroups(
  group: string,
  rest: string,
  { slices, fairness, counterfactual }: Upstream['options'],
  { name, cell, step }: { name: string; cell: string; step: string },
): Absence | undefined {
  const known = {
    gap: { names: Object.keys(Object(slices)), add: `Add \`${rest}\` to \`slices\` of ${step}.` },
    fairness: { names: fairness ? Object.keys(FAIRNESS) : [], add: `Set \`fairness\` of ${step}.` },
    counterfactual: { names: counterfactual ? ['changed', 'mean_change', 'max_change'] : [], add: `Set \`counterfactual\` of ${step}.` },
  }[group];
  if (!known || known.names.includes(rest)) return undefined;
  return notAmong(
    name,
    known.names.map((one) => `${group}.${one}`),
    cell,
    known.names.length > 0 && group !== 'gap' ? `It reports ${known.names.map((one) => `${group}.${one}`).join(', ')}.` : known.add,
  );
}

function notOfBaseline(name: string, { cell, options }: Upstream): Absence | undefined {
  const task = (options.task ?? 'text-classification') as Task;
  const methods = (options.methods as string[] | undefined) ?? taskFacts(task).baselines;
  const written = writtenMetrics(task).usual;
  const usual = written.length > 0 ? written : taskMetrics(task, 'single_label_classification').usual;
  const metrics = (options.metrics as string[] | undefined) ?? usual;
  const names = methods.flatMap((method) => metrics.map((metric) => `${method}.${metric}`));
  const [method, ...rest] = name.replace(/\.(lower|upper)$/, '').split('.');
  if (COUNTS.includes(name) || (methods.includes(method!) && metrics.includes(rest.join('.')))) return undefined;
  if (rest.length > 1) return undefined;
  return notAmong(name, names, cell, `It reports ${names.join(', ')}.`);
}

/** The problems of `better_than`, if the task of the model is known. */
export function comparisonProblems(
  { metric, positive }: { metric: string; positive?: string },
  model: Upstream | undefined,
): OptionProblem[] {
  const ahead = aheadOf(model);
  if (!ahead) return [];
  const wrong = metricProblem(metric, 'limits.better_than.metric', ahead);
  if (wrong) return [wrong];
  return positiveAhead(positive, ahead).map((problem) => ({ ...problem, option: 'limits.better_than.positive' }));
}

/** The tokens that a model was trained with. */
function aheadOf(model: Upstream | undefined): ReturnType<typeof tokensAhead> {
  for (let at = model, depth = 0; at && depth < 10; at = at.inputs.model?.[0] ?? at.inputs.pick?.[0], depth++) {
    const ahead = tokensAhead(at.inputs.tokens);
    if (ahead) return ahead;
  }
  return undefined;
}
