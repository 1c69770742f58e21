/** require: fails unless the metrics of a model meet their limits, and the model is better than another one. */
import type { FromSchema } from 'json-schema-to-ts';
import { aliasesOf, declareStep, type OptionProblem } from '../../engine/contract/step.ts';
import { LIMIT_PATTERN, LIMIT_TITLE } from '../ml/metrics/limits.ts';
import { METRIC_NAMES } from '../ml/tasks/metrics.ts';
import { comparisonProblems, limitProblems } from './foresee.ts';

/** The comparison with another model, a key of `limits`. */
const BETTER_THAN = {
  type: 'object',
  properties: {
    metric: {
      enum: METRIC_NAMES,
      description: 'The metric in which the model has to be better. Both models answer the same rows, as `predict` and `generate` do.',
    },
    p: {
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 1,
      default: 0.05,
      description:
        "The highest p-value of the paired test: McNemar's test for a metric that is the share of correct rows (accuracy, exact_match), otherwise the paired bootstrap.",
    },
    label: {
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true }],
      description:
        'The column of the true labels, or the columns of 0 and 1, as `label` of tokenize. Default: `label`; `tags` for token-classification, `answers` for question-answering, and `target` for seq2seq. For causal-lm, the column of completions; without it, the models predict the whole texts.',
    },
    positive: { type: 'string', description: 'The positive label if there are two labels, as in evaluate.' },
    resamples: {
      type: 'integer',
      minimum: 100,
      maximum: 1_000_000,
      default: 1000,
      description: 'The number of bootstrap samples, for the interval of the difference and the p-value.',
    },
  },
  required: ['metric'],
  additionalProperties: false,
  description: 'Another model, which the model has to surpass: both answer the rows of `data`, and a paired test compares them.',
} as const;

/** The option `limits`. */
export type RequiredLimits = { better_than?: FromSchema<typeof BETTER_THAN> } & Record<string, string>;

export default declareStep({
  name: 'require',
  version: 2,
  description: 'Fails unless the metrics of a model meet their limits, and unless the model is better than another one.',
  options: {
    limits: {
      type: 'object',
      properties: { better_than: BETTER_THAN },
      additionalProperties: { type: 'string', pattern: LIMIT_PATTERN, title: LIMIT_TITLE },
      minProperties: 1,
      description:
        'A limit for each metric, and the comparison `better_than`: `{ f1: ">= 0.95", gap.source: "<= 0.05", f1.lower: ">= 0.93", better_than: { model: production/bundle, metric: f1, p: 0.05 } }`. The operators are >=, >, <=, < and ==. If two files have a metric of the same name, write `STEP.METRIC`. An undefined metric misses its limit.',
    },
    split: {
      anyOf: [{ type: 'string', minLength: 1 }, { const: false }],
      default: 'test',
      defaultInMatrix: 'validation',
      description:
        'The split of `data` on which `better_than` compares the models. In a matrix the default is `validation`. `false`: the data have no column `split`, and all of their rows are compared. They must not contain training rows.',
    },
  },
  aliases: aliasesOf(
    {
      limits: 'thresholds threshold requirements minimum min assert conditions',
      metrics: 'metric files reports from',
      model: 'checkpoint',
      data: 'dataset table',
      split: 'dataset_split eval_split',
    },
    Object.fromEntries(['better_than', ...METRIC_NAMES].map((name) => [name, `limits: { ${name}: … }`])),
  ),
  inputs: {
    model: { kind: 'folder', named: true, description: 'The model, which the output `model` passes on.' },
    metrics: {
      kind: 'file',
      many: true,
      optional: true,
      named: true,
      description:
        'The metrics of evaluate, baseline, calibrate, behavior or check steps, the history of a train step, or your own JSON files, for `limits`.',
    },
    data: { kind: 'folder', optional: true, description: 'The rows on which `better_than` compares the models.' },
    'limits.better_than.model': { kind: 'folder', named: true, description: 'The model to surpass, such as the one in production.' },
  },
  outputs: {
    model: { kind: 'folder', description: 'A copy of the model. It exists only if all requirements are met.' },
    verdict: { kind: 'file', description: 'Each requirement, the measured value, and by how much it was missed, as JSON.' },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers', '@duckdb/node-api'],
  threads: 'all',
  foresee: {
    reads: ['metrics.tokens', 'model.tokens'],
    check({ limits }, inputs, paths, onlySteps) {
      const { better_than, ...others } = limits as RequiredLimits;
      const names = Object.keys(others);
      return [
        ...inputProblems(names, better_than, paths),
        ...(names.length > 0 && onlySteps.has('metrics') ? limitProblems(names, inputs.metrics ?? []) : []),
        ...(better_than ? comparisonProblems(better_than, inputs.model?.[0]) : []),
      ];
    },
  },
});

/** Inputs that a requirement needs, and inputs that have no effect. */
function inputProblems([first]: string[], better: object | undefined, paths: object): OptionProblem[] {
  const pairs = [
    [first, 'metrics', 'a limit on a metric', 'Give it the metrics of a step: `metrics: ${{ steps.evaluate.metrics }}`.'],
    [better && 'better_than', 'data', '`better_than`', 'Give it the data of a split or clean step: `data: ${{ steps.split.data }}`.'],
  ] as const;
  return pairs.flatMap(([name, input, what, hint]): OptionProblem[] => {
    const given = Object.hasOwn(paths, input);
    if (name !== undefined && !given) return [{ option: `limits.${name}`, message: `\`${name}\` needs the input \`${input}\``, hint }];
    if (name === undefined && given)
      return [{ option: input, message: `\`${input}\` has no effect without ${what} in \`limits\``, hint: 'Remove it.' }];
    return [];
  });
}
