import { aliasesOf, declareStep } from '../../engine/contract/step.ts';
import { intervalsOption } from '../ml/metrics/interval-options.ts';
import { PROBABILITY_METRICS } from '../ml/metrics/text-classification.ts';
import { optionsOfOtherTasks, TASK_NAMES, type Task, taskFacts } from '../ml/models/config.ts';
import { LANGUAGE_METRICS, METRIC_NAMES, taskMetrics, writtenMetrics } from '../ml/tasks/metrics.ts';

/** The tasks that have baselines. */
const tasks = TASK_NAMES.filter((task) => taskFacts(task).baselines.length > 0);

/** The problem with a metric that baselines do not have: they predict labels, texts or token counts, but no probabilities. */
function notForBaselines(name: string, task: Task): { message: string; hint: string } | undefined {
  const written = writtenMetrics(task).known;
  const probabilities = task === 'text-classification' ? PROBABILITY_METRICS : written.length > 0 ? LANGUAGE_METRICS : [];
  if (probabilities.includes(name))
    return {
      message: `${name} needs probabilities, and a baseline predicts ${written.length > 0 ? 'texts' : 'labels'}`,
      hint: 'Remove it.',
    };
  if (task === 'causal-lm' && name !== 'perplexity')
    return { message: `the baselines of causal-lm are evaluated by perplexity, not by ${name}`, hint: 'Remove it.' };
  const known = written.length > 0 ? written : taskMetrics(task, 'single_label_classification').known;
  return known.includes(name) ? undefined : { message: `${task} has no metric ${name}`, hint: `It has ${known.join(', ')}.` };
}

export default declareStep({
  name: 'baseline',
  version: 6,
  description: 'Evaluates simple methods that a model must beat.',
  options: {
    task: {
      enum: tasks,
      default: 'text-classification',
      description: 'The task of the model to compare with.',
    },
    methods: {
      type: 'array',
      items: {
        enum: [...new Set(tasks.flatMap((task) => taskFacts(task).baselines))],
      },
      minItems: 1,
      uniqueItems: true,
      description:
        "The baselines to evaluate. Default: all baselines of the task. For text-classification: `majority` predicts the most frequent label; `bag_of_words` is scikit-learn's TfidfVectorizer and LogisticRegression with their defaults. For token-classification: `majority` predicts the most frequent tag; `commonest_tag` predicts the most frequent tag of each word. For question-answering: `no_answer` never answers; `nearest_sentence` answers with the sentence of the context that shares most words with the question. For causal-lm: `unigram` predicts each token by its frequency; `bigram` predicts each token by its frequency after the previous token, with Kneser-Ney smoothing. For seq2seq: `commonest` predicts the most frequent target; `copy` repeats the input text; `lead` repeats the first N words of the input text, where N is the average number of words of the training targets. All frequencies are those of the training split.",
    },
    text: {
      type: 'string',
      description:
        'The column of input texts, for text-classification and seq2seq. Default: the column that `text` of collect names, otherwise `text`.',
    },
    text_pair: {
      type: 'string',
      description: 'The column of the second text, for text-classification of pairs. The bag of words contains the words of both texts.',
    },
    label: { type: 'string', description: 'The column to predict, for text-classification. Default: `label`.' },
    missing: { enum: ['refuse', 'drop'], description: 'What to do with rows that have no label, as in tokenize. Default: `refuse`.' },
    words: { type: 'string', description: 'The column of word lists, for token-classification. Default: `tokens`.' },
    tags: { type: 'string', description: 'The column of tag lists, for token-classification. Default: `tags`.' },
    question: { type: 'string', description: 'The column of questions, for question-answering. Default: `question`.' },
    context: { type: 'string', description: 'The column of texts that contain the answers, for question-answering. Default: `context`.' },
    answers: { type: 'string', description: 'The column of answers, as in tokenize. Default: `answers`.' },
    target: { type: 'string', description: 'The column of target texts, for seq2seq. Default: `target`.' },
    split: { type: 'string', default: 'test', description: 'The split to evaluate on.' },
    metrics: {
      type: 'array',
      items: { enum: METRIC_NAMES },
      minItems: 1,
      uniqueItems: true,
      description:
        'The metrics to compute, as in evaluate. Metrics that need probabilities, such as roc_auc, are errors. Default: the usual metrics of the task.',
    },
    intervals: intervalsOption({
      group: {
        type: 'string',
        minLength: 1,
        description:
          'A column of `data`, such as the author: samples are made of whole groups of rows with the same value, as in evaluate.',
      },
    }),
    positive: {
      type: 'string',
      description:
        'The positive label if there are two labels, for precision, recall and f1. Default: the last label in sort order. Labels that are numbers are sorted by value.',
    },
  },
  optional: [
    'methods',
    'text',
    'text_pair',
    'label',
    'missing',
    'words',
    'tags',
    'question',
    'context',
    'answers',
    'target',
    'metrics',
    'intervals',
    'positive',
  ],
  aliases: aliasesOf({
    methods: 'method baselines estimator model models',
    text: 'text_column text_column_name sentence',
    label: 'labels label_column',
    metrics: 'metric compute_metrics scoring',
    positive: 'pos_label positive_class positive_label',
    intervals: 'confidence_intervals ci bootstrap confidence_interval',
    data: 'dataset',
    split: 'dataset_split',
  }),
  inputs: {
    data: { kind: 'folder', optional: true, description: 'The data of a split step, for all tasks except causal-lm.' },
    tokens: { kind: 'folder', optional: true, description: 'The tokens of a tokenize step, for causal-lm.' },
  },
  outputs: { metrics: { kind: 'file', description: 'The metrics of each method, as JSON.' } },
  libraries: ['@duckdb/node-api', 'tokenizers'],
  reusableProcess: true,
  check(options) {
    const own = taskFacts(options.task).baselines;
    const strange = (options.methods ?? []).filter((method) => !own.includes(method));
    const metrics = (options.metrics ?? []).flatMap((name, i) => {
      const wrong = notForBaselines(name, options.task);
      return wrong ? [{ option: `metrics.${i}`, ...wrong }] : [];
    });
    const group = options.task === 'causal-lm' && options.intervals && options.intervals.group !== undefined;
    return [
      ...metrics,
      ...(group ? [{ option: 'intervals.group', message: '`group` needs the rows of `data`, which causal-lm does not read' }] : []),
      ...optionsOfOtherTasks(options, 'baseline'),
      ...strange.map((method) => ({ option: 'methods', message: `${options.task} has no method ${method}: it has ${own.join(' and ')}` })),
    ];
  },
});
