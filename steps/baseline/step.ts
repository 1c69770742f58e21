import { defineStep } from '../../engine/step.ts';
import { taskMetrics, writtenMetrics } from '../metrics/by-task.ts';
import { PROBABILITY_METRICS } from '../metrics/classification.ts';
import { LANGUAGE_METRICS, METRIC_NAMES } from '../metrics/names.ts';
import type { Task } from '../models/family.ts';
import { optionsOfOtherTasks } from '../tasks/options.ts';

/** What each task can be compared with, in the order in which they are measured. */
export const METHODS_OF = {
  'text-classification': ['majority', 'bag_of_words'],
  'token-classification': ['majority', 'commonest_tag'],
  'question-answering': ['no_answer', 'nearest_sentence'],
  'causal-lm': ['unigram', 'bigram'],
  seq2seq: ['commonest', 'copy', 'lead'],
} as const;

/** The columns that each task reads, and what else means something to it. */
const OPTIONS_OF: Record<string, readonly string[]> = {
  'text-classification': ['text', 'text_pair', 'label', 'missing', 'positive'],
  'token-classification': ['words', 'tags'],
  'question-answering': ['question', 'context', 'answers'],
  'causal-lm': [],
  seq2seq: ['text', 'target'],
};

/** Baselines give labels, texts or counts of tokens, and no probabilities of them. */
function notForBaselines(name: string, task: Task): { message: string; hint: string } | undefined {
  const written = writtenMetrics(task).known;
  const probabilities = task === 'text-classification' ? PROBABILITY_METRICS : written.length > 0 ? LANGUAGE_METRICS : [];
  if (probabilities.includes(name))
    return {
      message: `${name} is about probabilities, and a baseline gives ${written.length > 0 ? 'texts' : 'labels'}`,
      hint: 'Leave it out.',
    };
  if (task === 'causal-lm' && name !== 'perplexity')
    return { message: `what counts tokens is measured by perplexity, not by ${name}`, hint: 'Leave it out.' };
  const known = written.length > 0 ? written : taskMetrics(task, 'single_label_classification').known;
  return known.includes(name) ? undefined : { message: `${task} has no metric ${name}`, hint: `It has ${known.join(', ')}.` };
}

export default defineStep({
  name: 'baseline',
  version: 4,
  description: 'What a model must beat: what simple methods reach on the same split.',
  options: {
    task: {
      enum: ['text-classification', 'token-classification', 'question-answering', 'causal-lm', 'seq2seq'],
      default: 'text-classification',
      description: 'What the model is trained for.',
    },
    methods: {
      type: 'array',
      items: {
        enum: [
          'majority',
          'bag_of_words',
          'commonest_tag',
          'no_answer',
          'nearest_sentence',
          'unigram',
          'bigram',
          'commonest',
          'copy',
          'lead',
        ],
      },
      minItems: 1,
      uniqueItems: true,
      description:
        "Of text-classification: majority, always the commonest label of the training split; bag_of_words, scikit-learn's TfidfVectorizer and LogisticRegression with their defaults. Of token-classification: majority; commonest_tag, for each word the tag that it has most often in the training split. Of question-answering: no_answer, always none; nearest_sentence, the sentence of the context that shares most words with the question. Of causal-lm, by the very tokens of the model: unigram, each token's frequency; bigram, its frequency behind the token before it, with Kneser-Ney smoothing. Of seq2seq: commonest, always the commonest target of the training split; copy, the text itself; lead, as many of its first words as the training split's targets have on average, rounded up. Default: all of the task's.",
    },
    text: { type: 'string', description: 'The column that is read, of text-classification and seq2seq. Default: `text`.' },
    text_pair: { type: 'string', description: 'Of pairs, the column of the second text: the bag holds the words of both.' },
    label: { type: 'string', description: 'The column that is predicted, of text-classification. Default: `label`.' },
    missing: { enum: ['refuse', 'drop'], description: 'What becomes of rows without a label, as for tokenize. Default: refuse.' },
    words: { type: 'string', description: 'The column of lists of words, of token-classification. Default: `tokens`.' },
    tags: { type: 'string', description: 'The column of lists of tags. Default: `tags`.' },
    question: { type: 'string', description: 'The column of questions, of question-answering. Default: `question`.' },
    context: { type: 'string', description: 'The column of texts that hold the answers. Default: `context`.' },
    answers: { type: 'string', description: 'The column of answers, as for tokenize. Default: `answers`.' },
    target: { type: 'string', description: 'The column of what is to be made of the text, of seq2seq. Default: `target`.' },
    split: { type: 'string', default: 'test', description: 'The split that is measured.' },
    metrics: {
      type: 'array',
      items: { enum: METRIC_NAMES },
      minItems: 1,
      uniqueItems: true,
      description: "As for evaluate, without those of probabilities. Default: the task's usual ones.",
    },
    positive: {
      type: 'string',
      description: 'Which of two labels precision, recall and f1 are about. Default: the last in sorting order, numbers by value.',
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
    'positive',
  ],
  aliases: {
    method: 'methods',
    baselines: 'methods',
    estimator: 'methods',
    model: 'methods',
    models: 'methods',
    text_column: 'text',
    text_column_name: 'text',
    sentence: 'text',
    labels: 'label',
    label_column: 'label',
    metric: 'metrics',
    compute_metrics: 'metrics',
    scoring: 'metrics',
    pos_label: 'positive',
    positive_class: 'positive',
    positive_label: 'positive',
    dataset: 'data',
    dataset_split: 'split',
  },
  inputs: {
    data: { kind: 'folder', optional: true, description: "A split step's data; of all tasks but causal-lm." },
    tokens: { kind: 'folder', optional: true, description: "A tokenize step's tokens; of causal-lm." },
  },
  outputs: { metrics: { kind: 'file', description: 'The metrics of each method, as JSON.' } },
  libraries: ['@duckdb/node-api', 'tokenizers'],
  check(options) {
    const own: readonly string[] = METHODS_OF[options.task];
    const strange = (options.methods ?? []).filter((method) => !own.includes(method));
    const metrics = (options.metrics ?? []).flatMap((name, i) => {
      const wrong = notForBaselines(name, options.task);
      return wrong ? [{ option: `metrics.${i}`, ...wrong }] : [];
    });
    return [
      ...metrics,
      ...optionsOfOtherTasks(options, OPTIONS_OF),
      ...strange.map((method) => ({ option: 'methods', message: `${method} is no method for ${options.task}: ${own.join(' and ')} are` })),
    ];
  },
  async run(context) {
    const { baseline } = await import('./baseline.ts');
    await baseline(context);
  },
});
