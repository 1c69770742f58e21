import { defineStep } from '../../engine/step.ts';
import { optionsOfOtherTasks } from '../tasks/options.ts';

/** The columns that each task reads, and what else means something to it. */
const OPTIONS_OF: Record<string, readonly string[]> = {
  'text-classification': ['text', 'text_pair', 'label', 'problem_type', 'truncation'],
  'token-classification': ['words', 'tags'],
  'question-answering': ['question', 'context', 'answers', 'stride'],
  'masked-lm': ['text'],
};

export default defineStep({
  name: 'tokenize',
  version: 2,
  description: 'Turns texts into the ids that a model reads.',
  options: {
    task: {
      enum: ['text-classification', 'token-classification', 'question-answering', 'masked-lm'],
      default: 'text-classification',
      description: 'What the model is to be trained for.',
    },
    text: { type: 'string', description: 'The column of texts, of text-classification and masked-lm. Default: `text`.' },
    text_pair: { type: 'string', description: 'A second column of texts: text-classification of pairs, such as premise and hypothesis.' },
    label: {
      oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true }],
      description:
        'The column of labels, of text-classification. Of multi_label_classification a column of lists, or several columns of 0 and 1. Default: `label`.',
    },
    problem_type: {
      enum: ['single_label_classification', 'multi_label_classification', 'regression'],
      description:
        "Whether a text has one label (the default), any number of them, or a number; transformers' names. Of text-classification.",
    },
    words: { type: 'string', description: 'The column of lists of words, of token-classification. Default: `tokens`.' },
    tags: { type: 'string', description: 'The column of lists of tags, one a word, such as B-PER and O. Default: `tags`.' },
    question: { type: 'string', description: 'The column of questions, of question-answering. Default: `question`.' },
    context: { type: 'string', description: 'The column of texts that hold the answers. Default: `context`.' },
    answers: {
      type: 'string',
      description:
        'The column of answers, as in SQuAD (`text` and `answer_start`), or pieces of the context as they stand there; none where the question cannot be answered. Default: `answers`.',
    },
    max_length: {
      type: 'integer',
      minimum: 8,
      description:
        "Tokens of a sequence, special ones included. Longer texts are cut, or read in windows by all tasks but text-classification. Default: the model's own limit.",
    },
    truncation: {
      enum: ['longest_first', 'only_first', 'only_second'],
      description: 'Which text of a pair is cut where both are too long together. Default: `longest_first`.',
    },
    stride: {
      type: 'integer',
      minimum: 0,
      description:
        'Tokens that neighbouring windows of a context share, of question-answering. Default: 128, or a quarter of max_length if that is less.',
    },
  },
  optional: [
    'text',
    'text_pair',
    'label',
    'problem_type',
    'words',
    'tags',
    'question',
    'context',
    'answers',
    'max_length',
    'truncation',
    'stride',
  ],
  inputs: {
    data: { kind: 'folder', description: 'A table with a column `split`.' },
    model: {
      kind: 'folder',
      description: 'A model folder: its tokenizer is used (tokenizer.json, or vocab.txt, or vocab.json and merges.txt).',
    },
  },
  outputs: { tokens: { kind: 'folder', description: 'Ids and labels of each split, and the tokenizer.' } },
  libraries: ['tokenizers'],
  threads: 'all',
  check(options) {
    const problems = optionsOfOtherTasks(options, OPTIONS_OF);
    if (options.truncation && options.text_pair === undefined && OPTIONS_OF[options.task]!.includes('truncation'))
      problems.push({ option: 'truncation', message: 'truncation is about pairs: there is no text_pair' });
    if (Array.isArray(options.label) && options.problem_type !== 'multi_label_classification')
      problems.push({ option: 'label', message: 'several columns of labels are for problem_type multi_label_classification' });
    if (options.stride !== undefined && options.max_length !== undefined && options.stride >= options.max_length)
      problems.push({ option: 'stride', message: `a stride of ${options.stride} leaves nothing new in windows of ${options.max_length}` });
    return problems;
  },
  async run(context) {
    const { tokenize } = await import('./tokenize.ts');
    await tokenize(context);
  },
});
