import { aliasesOf, declareStep, type OptionProblem, type Upstream } from '../../engine/contract/step.ts';
import { hintForMetric, reportedMetrics, tokensAhead } from '../ml/tasks/metrics.ts';

/** The problem with selecting by a metric that an evaluate step will not report. */
function notReported(name: string, { uses, cell, options, inputs }: Upstream): Omit<OptionProblem, 'option'> | undefined {
  const ahead = uses === 'evaluate' ? tokensAhead(inputs.tokens) : undefined;
  if (!ahead || name.includes('.') || COUNTS.includes(name)) return undefined;
  const { task, problem, labels } = ahead;
  const reported = (options.metrics as string[] | undefined) ?? reportedMetrics(task, problem, labels).usual;
  if (reported.includes(name)) return undefined;
  return {
    message: `${cell} does not report ${name}: it reports ${reported.join(', ')}`,
    hint: hintForMetric(name, reported, cell.split('[')[0]!, ahead),
  };
}

/** Numbers in a report of evaluate that are not metrics. */
const COUNTS = ['rows', 'tokens', 'masks', 'block_length', 'unanswerable'];

export default declareStep({
  name: 'select',
  version: 4,
  description: 'Selects the cell of a matrix that has the best metric.',
  options: {
    maximize: {
      type: 'string',
      description: 'The metric to maximize, such as `f1`. Set either `maximize` or `minimize`. Write a nested field as `a.b`.',
    },
    minimize: {
      type: 'string',
      description: 'The metric to minimize, such as `perplexity`. Set either `maximize` or `minimize`. Write a nested field as `a.b`.',
    },
  },
  optional: ['maximize', 'minimize'],
  aliases: aliasesOf({
    maximize: 'metric_for_best_model metric max higher_is_better',
    minimize: 'min loss lower_is_better',
    from: 'metrics candidates',
    pick: 'model models',
  }),
  inputs: {
    from: { kind: 'file', many: true, description: 'The metrics of the candidates: `${{ steps.evaluate[*].metrics }}`.' },
    pick: { kind: 'any', many: true, description: 'The outputs to select from: `${{ steps.train[*].model }}`.' },
  },
  outputs: {
    pick: { kind: 'any', description: 'A copy of the selected output.' },
    choice: {
      kind: 'file',
      description: 'The best cell and its metrics, all cells with an equally good metric, and all candidates, as JSON.',
    },
  },
  reusableProcess: true,
  check({ maximize, minimize }) {
    if (maximize !== undefined && minimize !== undefined)
      return [{ option: 'minimize', message: '`maximize` and `minimize` exclude each other' }];
    if (maximize === undefined && minimize === undefined) return [{ option: '', message: 'select needs either `maximize` or `minimize`' }];
    return [];
  },
  foresee: {
    reads: ['from.tokens'],
    check(options, { from = [] }) {
      const option = options.maximize === undefined ? 'minimize' : 'maximize';
      const name = options[option]!.replace(/^metrics\./, '');
      const problem = from.map((one) => notReported(name, one)).find((one) => one !== undefined);
      return problem ? [{ option, ...problem }] : [];
    },
  },
});
