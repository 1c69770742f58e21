/** calibrate: fits a temperature and thresholds on the validation split, and puts out the model with them. */
import { aliasesOf, declareStep, type OptionProblem } from '../../engine/contract/step.ts';
import { listed } from '../ml/models/json.ts';
import { runtimeOptions } from '../ml/runtime/runtime.ts';
import { positiveAhead, tokensAhead } from '../ml/tasks/metrics.ts';
import { thresholdProblems, tooManyLabels, unfitFor } from './foresee.ts';

const requirement = (what: string, other: string) =>
  ({
    type: 'string',
    description: `The least ${what}, such as \`">= 0.95"\`. Among the thresholds that reach it, the one with the highest ${other} is chosen.`,
  }) as const;

/** Why a split is refused. */
const REFUSED: Record<string, Omit<OptionProblem, 'option'>> = {
  test: {
    message: 'calibrate refuses the split test: a model that was fitted to these rows cannot be judged by them any more',
    hint: 'Use `split: validation`, the default.',
  },
  train: {
    message: 'calibrate refuses the split train: the model has learned these rows, so it is surer of them than of other texts',
    hint: 'Use `split: validation`, the default.',
  },
};

export default declareStep({
  name: 'calibrate',
  version: 2,
  description: 'Fits the temperature of a text classifier, and the thresholds from which on labels are predicted, on the validation split.',
  options: {
    split: {
      type: 'string',
      default: 'validation',
      description: 'The split to fit on. `train` and `test` are refused.',
    },
    temperature: {
      type: 'boolean',
      default: true,
      description:
        'Fits a temperature, by which all logits are divided, so that scores agree with how often they are right. It changes no prediction by itself.',
    },
    threshold: {
      type: 'object',
      properties: {
        maximize: {
          enum: ['f1', 'accuracy', 'balanced_accuracy', 'mcc'],
          description: 'The metric that the threshold maximizes. The lowest of equally good thresholds is chosen.',
        },
        precision: requirement('precision', 'recall'),
        recall: requirement('recall', 'precision'),
      },
      additionalProperties: false,
      minProperties: 1,
      description:
        'How to choose the score from which on a label is predicted: `{ maximize: f1 }`, `{ precision: ">= 0.95" }` or `{ recall: ">= 0.9" }`. With two labels it applies to the positive one; if a text has any number of labels, each label has its own. Default: no thresholds.',
    },
    positive: {
      type: 'string',
      description: 'The positive label if there are two labels. Default: the last label in sort order, as in evaluate.',
    },
    per_label: {
      type: 'boolean',
      default: true,
      description:
        'If a text has any number of labels: whether each label has its own threshold. `false` chooses one for all, by the decisions about all labels together.',
    },
    group: {
      type: 'string',
      minLength: 1,
      description:
        'A column of `data`. Each of its values gets thresholds of its own; other values have those of all rows. The column then is a field of every input of predict and serve.',
    },
    min_group_rows: {
      type: 'integer',
      minimum: 2,
      default: 20,
      description: 'Values of `group` with fewer rows in the split have the thresholds of all rows.',
    },
    batch_size: { type: 'integer', minimum: 1, default: 32, description: 'Number of sequences per forward pass.' },
    ...runtimeOptions,
  },
  optional: ['threshold', 'positive', 'group'],
  aliases: aliasesOf(
    {
      batch_size: 'per_device_eval_batch_size eval_batch_size bs',
      threshold: 'thresholds cutoff decision_threshold',
      positive: 'pos_label positive_class positive_label',
      group: 'groups sensitive_features group_column slice',
      split: 'dataset_split eval_split',
      model: 'model_name model_name_or_path checkpoint estimator',
      tokens: 'dataset eval_dataset',
      temperature: 'temperature_scaling',
      device: 'no_cuda use_cpu use_cuda cuda gpu',
      runtime: 'backend framework',
    },
    { method: 'The only method is temperature scaling: `temperature: true`, the default.' },
  ),
  inputs: {
    model: { kind: 'folder', description: 'The model of a train step, for text-classification.' },
    tokens: { kind: 'folder', description: 'The tokens from a tokenize step.' },
    data: { kind: 'folder', optional: true, description: 'The data that the tokens were made from. Only `group` needs them.' },
  },
  outputs: {
    model: { kind: 'folder', description: 'The same model, with `calibration.json`.' },
    metrics: {
      kind: 'file',
      description: 'The temperature, the thresholds, and the calibration error and the log loss before and after, as JSON.',
    },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers'],
  threads: 'all',
  check({ split, temperature, threshold, positive, group, per_label }) {
    const problems: OptionProblem[] = [];
    const refused = REFUSED[split];
    if (refused) problems.push({ option: 'split', ...refused });
    if (threshold !== undefined) return [...problems, ...thresholdProblems(threshold)];
    if (!temperature) problems.push({ option: 'temperature', message: 'without `temperature` and `threshold` there is nothing to fit' });
    const pointless = { group, positive, per_label: per_label ? undefined : per_label };
    for (const [option, value] of Object.entries(pointless))
      if (value !== undefined) problems.push({ option, message: `\`${option}\` applies only to thresholds`, hint: 'Set `threshold`.' });
    return problems;
  },
  foresee: {
    reads: ['tokens'],
    check({ split, threshold, positive }, inputs) {
      const problems: OptionProblem[] = [];
      const ahead = tokensAhead(inputs.tokens);
      if (!ahead) return problems;
      const { task, problem, labels, splits } = ahead;
      const unfit = unfitFor(task, problem);
      if (unfit) return [{ option: '', ...unfit }];
      if (splits && !splits.includes(split))
        problems.push({
          option: 'split',
          message: `the tokens have no split "${split}"`,
          hint: `Set \`split\` to one of these: ${listed(splits.filter((name) => !REFUSED[name])) || 'none'}. Or make it with \`ratios\` of split.`,
        });
      const many = threshold && problem === 'single_label_classification' && labels && tooManyLabels(labels.length);
      if (many) problems.push({ option: 'threshold', ...many });
      else problems.push(...positiveAhead(positive, ahead));
      return problems;
    },
  },
});
