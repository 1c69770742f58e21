import { aliasesOf, declareStep } from '../../engine/contract/step.ts';
import { generationOptions } from '../ml/generation/options.ts';
import { intervalsOption } from '../ml/metrics/interval-options.ts';
import { POSITIVE_METRICS } from '../ml/metrics/text-classification.ts';
import { runtimeOptions } from '../ml/runtime/runtime.ts';
import { METRIC_NAMES, metricProblem, positiveAhead, tokensAhead } from '../ml/tasks/metrics.ts';
import { dataProblems, sliceOptions, sliceProblems } from './slice-options.ts';

/** The options that decide which text a given model generates. */
const { max_time: _, num_return_sequences: __, ...generation } = generationOptions;

export default declareStep({
  name: 'evaluate',
  version: 9,
  description: 'Evaluates a trained model on a split.',
  options: {
    split: {
      type: 'string',
      default: 'test',
      defaultInMatrix: 'validation',
      description: 'The split to evaluate. In a matrix the default is `validation`, so that no model is chosen by its results on `test`.',
    },
    metrics: {
      type: 'array',
      items: { enum: METRIC_NAMES },
      minItems: 1,
      uniqueItems: true,
      description: 'The metrics to compute. Default: the usual metrics of the task, such as accuracy, precision, recall and f1.',
    },
    positive: {
      type: 'string',
      description:
        'The positive label if there are two labels, for precision, recall, f1, roc_auc and average_precision, and for `fairness`. Default: the last label in sort order. Labels that are numbers are sorted by value.',
    },
    generation: {
      type: 'object',
      properties: generation,
      additionalProperties: false,
      minProperties: 1,
      description:
        "How a seq2seq model generates the texts to evaluate, e.g. `{ num_beams: 4 }`. These options override the model's generation_config.json. The defaults are those of `tunesmith generate`.",
    },
    ...sliceOptions,
    intervals: intervalsOption({
      group: {
        type: 'string',
        minLength: 1,
        description:
          'A column of `data`, such as the author: samples are made of whole groups of rows with the same value, because the rows of a group are not independent of each other. `stratify` then has no effect.',
      },
    }),
    compare: {
      type: 'object',
      properties: {},
      additionalProperties: false,
      description:
        "Compares the model with another one on the same rows: give the `predictions` of its evaluate step. A paired test of each metric shows whether the difference may be due to chance: McNemar's test for a metric that is the share of correct rows (accuracy, exact_match), otherwise the paired bootstrap.",
    },
    batch_size: { type: 'integer', minimum: 1, default: 32, description: 'Number of sequences per forward pass.' },
    ...runtimeOptions,
  },
  optional: ['metrics', 'positive', 'generation', 'intervals', 'slices', 'discover', 'fairness', 'counterfactual', 'compare'],
  aliases: aliasesOf(
    {
      batch_size: 'per_device_eval_batch_size per_gpu_eval_batch_size eval_batch_size per_device_batch_size bs',
      metrics: 'metric metric_name compute_metrics scorer scoring',
      positive: 'pos_label positive_class positive_label',
      split: 'dataset_split eval_split',
      model: 'model_name model_name_or_path checkpoint',
      tokens: 'eval_dataset test_dataset tokenized_dataset',
      data: 'dataset eval_data test_data raw_data rows',
      generation: 'generation_config gen_kwargs generate',
      'generation: { max_new_tokens: … }': 'max_new_tokens',
      'generation: { max_length: … }': 'generation_max_length',
      'generation: { num_beams: … }': 'num_beams generation_num_beams',
      intervals: 'confidence_intervals ci bootstrap confidence_interval',
      'compare: { predictions: … }': 'baseline_predictions other_predictions reference_predictions compare_to compare_with',
      'intervals: { resamples: … }': 'n_resamples num_bootstrap',
      'intervals: { level: … }': 'confidence_level',
      device: 'no_cuda use_cpu use_cuda cuda gpu',
      runtime: 'backend framework',
    },
    {
      predict_with_generate: 'It is not needed: a model that generates texts is always evaluated on its generated texts.',
    },
  ),
  inputs: {
    model: { kind: 'folder', description: 'The model of a train step.' },
    tokens: { kind: 'folder', description: 'The tokens from a tokenize step.' },
    data: {
      kind: 'folder',
      optional: true,
      description: 'The data that the tokens were made of. Their columns, such as the texts, then become columns of the predictions.',
    },
    'compare.predictions': {
      kind: 'folder',
      description: 'The `predictions` of another evaluate step on the same rows, for the same task and with the same `metrics`.',
    },
  },
  outputs: {
    metrics: { kind: 'file', description: 'The metrics and further results of the task, such as a confusion matrix, as JSON.' },
    predictions: {
      kind: 'folder',
      description: 'The true and the predicted value of each row, its scores and its loss, as data, which other steps can read.',
    },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers', '@duckdb/node-api'],
  threads: 'all',
  check({ positive, metrics, slices, counterfactual, fairness }) {
    const measured = metrics === undefined || POSITIVE_METRICS.some((name) => metrics.includes(name));
    const idle = positive !== undefined && !measured && (fairness === undefined || fairness.positive !== undefined);
    return [
      ...(idle
        ? [{ option: 'positive', message: `\`positive\` applies to ${POSITIVE_METRICS.join(', ')}, and \`metrics\` has none of them` }]
        : []),
      ...sliceProblems({ slices, metrics, counterfactual }),
    ];
  },
  foresee: {
    reads: ['tokens'],
    check({ metrics = [], positive, split, ...options }, { tokens, data }, paths) {
      const withoutData = data || paths.data ? [] : dataProblems(options);
      const ahead = tokensAhead(tokens);
      if (!ahead) return withoutData;
      const { splits } = ahead;
      const problems = metrics.flatMap((name, i) => metricProblem(name, `metrics.${i}`, ahead) ?? []);
      if (splits && !splits.includes(split))
        problems.push({
          option: 'split',
          message: `the tokens have no split "${split}"`,
          hint: `Set \`split\` to one of these: ${splits.join(', ')}.`,
        });
      problems.push(...positiveAhead(positive, ahead), ...withoutData);
      return problems;
    },
  },
});
