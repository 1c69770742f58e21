import { defineStep } from '../../engine/step.ts';
import { generationOptions } from '../generation/options.ts';
import { BINARY_METRICS } from '../metrics/classification.ts';
import { METRIC_NAMES } from '../metrics/names.ts';
import { runtimeOptions } from '../runtime/options.ts';
import { metricProblem, positiveAhead, tokensAhead } from '../tasks/foresight.ts';

/** What decides which text is written, of a given model: not when it ends by the clock, nor how many there are. */
const { max_time: _, num_return_sequences: __, ...generation } = generationOptions;

/** What depends on which of two labels is the positive one. */
const OF_POSITIVE = [...BINARY_METRICS, 'roc_auc'];

export default defineStep({
  name: 'evaluate',
  version: 5,
  description: 'Measures a trained model on a split.',
  options: {
    split: {
      type: 'string',
      default: 'test',
      defaultInMatrix: 'validation',
      description:
        'The split to predict. The cells of a matrix are compared by validation, so that test is kept for the one that is chosen.',
    },
    metrics: {
      type: 'array',
      items: { enum: METRIC_NAMES },
      minItems: 1,
      uniqueItems: true,
      description:
        "What to compute, by scikit-learn's, seqeval's, SQuAD's, rouge_score's and sacrebleu's names. Default: the task's usual ones; of text-classification accuracy, precision, recall and f1 of two labels, accuracy and the macro averages of more.",
    },
    positive: {
      type: 'string',
      description: 'Which of two labels precision, recall and f1 are about. Default: the last in sorting order, numbers by value.',
    },
    generation: {
      type: 'object',
      properties: generation,
      additionalProperties: false,
      minProperties: 1,
      description:
        "How seq2seq models write the texts that are measured, on top of the model's generation_config.json, e.g. `{ num_beams: 4 }`. Default: as `tunesmith generate` writes, the likeliest token each time, up to the max_target_length of the model's training.",
    },
    batch_size: { type: 'integer', minimum: 1, default: 32, description: 'Rows predicted at once.' },
    ...runtimeOptions,
  },
  optional: ['metrics', 'positive', 'generation'],
  aliases: {
    per_device_eval_batch_size: 'batch_size',
    per_gpu_eval_batch_size: 'batch_size',
    eval_batch_size: 'batch_size',
    per_device_batch_size: 'batch_size',
    bs: 'batch_size',
    metric: 'metrics',
    metric_name: 'metrics',
    compute_metrics: 'metrics',
    scorer: 'metrics',
    scoring: 'metrics',
    pos_label: 'positive',
    positive_class: 'positive',
    positive_label: 'positive',
    dataset_split: 'split',
    eval_split: 'split',
    model_name: 'model',
    model_name_or_path: 'model',
    checkpoint: 'model',
    data: 'tokens',
    dataset: 'tokens',
    eval_dataset: 'tokens',
    test_dataset: 'tokens',
    generation_config: 'generation',
    gen_kwargs: 'generation',
    generate: 'generation',
    max_new_tokens: 'generation: { max_new_tokens: … }',
    generation_max_length: 'generation: { max_length: … }',
    num_beams: 'generation: { num_beams: … }',
    generation_num_beams: 'generation: { num_beams: … }',
    predict_with_generate: 'It is not needed: a model that writes texts is judged by what it writes.',
    no_cuda: 'device',
    use_cpu: 'device',
    use_cuda: 'device',
    cuda: 'device',
    gpu: 'device',
    backend: 'runtime',
    framework: 'runtime',
  },
  inputs: {
    model: { kind: 'folder', description: "A train step's model." },
    tokens: { kind: 'folder', description: "A tokenize step's tokens." },
  },
  outputs: {
    metrics: { kind: 'file', description: 'Metrics, and what else the task reports, such as a confusion matrix, as JSON.' },
    predictions: { kind: 'file', description: 'What is true and what was predicted of each row, as JSON lines ordered by id.' },
  },
  libraries: ['onnxruntime-node', '@tensorflow/tfjs', 'tokenizers'],
  threads: 'all',
  check: ({ positive, metrics }) =>
    positive === undefined || metrics === undefined || OF_POSITIVE.some((name) => metrics.includes(name))
      ? []
      : [{ option: 'positive', message: `positive is about ${OF_POSITIVE.join(', ')}, and none of them is among metrics` }],
  foresee: {
    reads: ['tokens'],
    check({ metrics = [], positive, split }, { tokens }) {
      const ahead = tokensAhead(tokens);
      if (!ahead) return [];
      const { splits } = ahead;
      const problems = metrics.flatMap((name, i) => metricProblem(name, `metrics.${i}`, ahead) ?? []);
      if (splits && !splits.includes(split))
        problems.push({
          option: 'split',
          message: `the tokens have no split "${split}"`,
          hint: `Set \`split\` to one that they have: ${splits.join(', ')}.`,
        });
      problems.push(...positiveAhead(positive, ahead));
      return problems;
    },
  },
  async run(context) {
    const { evaluate } = await import('./evaluate.ts');
    await evaluate(context);
  },
});
