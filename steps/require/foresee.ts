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
    const absences = metrics.map((upstream) => absenceOf(meantBy(name, upstream), upstream));
    const first = absences[0];
    if (first === undefined || absences.includes(undefined)) return [];
    const [best = first] = absences.filter((one) => one?.hint.startsWith('Did you mean') || one?.hint.startsWith('Add'));
    return [
      { option: `limits.${name}`, message: absences.length === 1 ? first.message : `no file of \`metrics\` has ${name}`, hint: best.hint },
    ];
  });
}

/** The name without that of the step or cell. Also the whole name, if figures of the step have names that begin with the step's. */
function meantBy(name: string, upstream: Upstream): string[] {
  const { cell } = upstream;
  const prefix = [cell, stepOf(cell)].find((own) => name.startsWith(`${own}.`));
  if (prefix === undefined) return [name];
  return [...(groupsOf(upstream).includes(prefix) ? [name] : []), name.slice(prefix.length + 1)];
}

const stepOf = (cell: string): string => cell.split('[', 1)[0]!;

/** What the names of figures begin with, before a dot. */
function groupsOf({ uses, options }: Upstream): readonly string[] {
  if (uses === 'evaluate') return ['gap', 'fairness', 'counterfactual', 'difference'];
  if (uses === 'baseline') return methodsOf(options);
  return uses === 'behavior' ? ['failures'] : [];
}

/** Undefined if the step may report a metric with one of these names. */
function absenceOf(names: string[], upstream: Upstream): Absence | undefined {
  const check = upstream.uses === undefined ? undefined : ABSENCES[upstream.uses];
  const absences = names.map((name) => check?.(name, upstream));
  return absences.includes(undefined) ? undefined : absences[0];
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
  check: notOfData,
  drift: notOfData,
};

/** For steps whose figures are about data, not about a model. */
function notOfData(name: string, { cell }: Upstream): Absence | undefined {
  return METRIC_NAMES.includes(name) ? { message: `${cell} does not report ${name}`, hint: FROM_EVALUATE } : undefined;
}

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
  const ahead = tokensAhead(inputs.tokens);
  if (group === 'difference' && rest.length > 0) return notCompared(rest.join('.'), options, ahead, { name, cell, step });
  if (end && options.intervals === false)
    return { message: `${cell} does not report ${name}: \`intervals\` is false`, hint: `Remove \`intervals: false\` of ${step}.` };
  if (rest.length > 0) return notOfGroups(group!, rest.join('.'), options, { name, cell, step });
  if (COUNTS.includes(base!)) return undefined;
  if (OF_TRAINING.includes(base!))
    return { message: `${cell} does not report ${base}`, hint: 'Add the `history` of the train step to `metrics`.' };
  if (!ahead) return undefined;
  const reported = reportedBy(options, ahead);
  if (reported.includes(base!)) return undefined;
  return {
    message: `${cell} does not report ${base}: it reports ${reported.join(', ')}`,
    hint: hintForMetric(base!, reported, step, ahead),
  };
}

const reportedBy = ({ metrics }: Upstream['options'], { task, problem, labels }: Ahead): readonly string[] =>
  (metrics as string[] | undefined) ?? reportedMetrics(task, problem, labels).usual;

/** For `difference.METRIC` and `difference.METRIC.p`, which depend on the metrics, but not on intervals. */
function notCompared(
  rest: string,
  options: Upstream['options'],
  ahead: Ahead | undefined,
  { name, cell, step }: { name: string; cell: string; step: string },
): Absence | undefined {
  if (!options.compare) return notAmong(name, [], cell, `Set \`compare\` of ${step}.`);
  const metric = rest.replace(/\.p$/, '');
  const compared = ahead && reportedBy(options, ahead);
  if (!compared || compared.includes(metric)) return undefined;
  return {
    message: `${cell} does not report ${name}: it compares ${compared.join(', ')}`,
    hint: hintForMetric(metric, compared, step, ahead),
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

const taskOf = (options: Upstream['options']): Task => (options.task ?? 'text-classification') as Task;

const methodsOf = (options: Upstream['options']): readonly string[] =>
  (options.methods as string[] | undefined) ?? taskFacts(taskOf(options)).baselines;

function notOfBaseline(name: string, { cell, options }: Upstream): Absence | undefined {
  const task = taskOf(options);
  const methods = methodsOf(options);
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

type Ahead = NonNullable<ReturnType<typeof tokensAhead>>;

/** The tokens that a model was trained with. */
function aheadOf(model: Upstream | undefined): Ahead | undefined {
  for (let at = model, depth = 0; at && depth < 10; at = at.inputs.model?.[0] ?? at.inputs.pick?.[0], depth++) {
    const ahead = tokensAhead(at.inputs.tokens);
    if (ahead) return ahead;
  }
  return undefined;
}
