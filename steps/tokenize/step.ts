import { defineStep, type Upstream } from '../../engine/step.ts';
import { optionsOfOtherTasks } from '../tasks/options.ts';

/** The columns that each task reads, and what else means something to it. */
const OPTIONS_OF: Record<string, readonly string[]> = {
  'text-classification': ['text', 'text_pair', 'label', 'missing', 'problem_type', 'truncation'],
  'token-classification': ['words', 'tags'],
  'question-answering': ['question', 'context', 'answers', 'stride'],
  'masked-lm': ['text'],
  'causal-lm': ['text', 'prompt', 'completion', 'completion_only_loss', 'block_size'],
  seq2seq: ['text', 'target', 'prefix', 'max_target_length'],
};

/** Where the answers of a task are places in a text: the option that names its column, and its default. */
const PLACES_IN: Partial<Record<string, { option: 'context' | 'words'; usual: string }>> = {
  'question-answering': { option: 'context', usual: 'context' },
  'token-classification': { option: 'words', usual: 'tokens' },
};

/** The built-in steps that data go through, by cell. A step of the user's own begins anew: nobody knows what it does. */
function stepsOfData(data: Upstream[], found = new Map<string, Upstream>()): Map<string, Upstream> {
  for (const one of data) {
    if (found.has(one.cell) || !['collect', 'clean', 'split'].includes(one.uses ?? '')) continue;
    found.set(one.cell, one);
    for (const above of Object.values(one.inputs)) stepsOfData(above, found);
  }
  return found;
}

export default defineStep({
  name: 'tokenize',
  version: 3,
  description: 'Turns texts into the ids that a model reads.',
  options: {
    task: {
      enum: ['text-classification', 'token-classification', 'question-answering', 'masked-lm', 'causal-lm', 'seq2seq'],
      default: 'text-classification',
      description: 'What the model is to be trained for.',
    },
    text: { type: 'string', description: 'The column of texts, of all tasks that read plain texts. Default: `text`.' },
    text_pair: { type: 'string', description: 'A second column of texts: text-classification of pairs, such as premise and hypothesis.' },
    label: {
      oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true }],
      description:
        'The column of labels, of text-classification. Of multi_label_classification a column of lists, or several columns of 0 and 1 or false and true; any other value is refused. Default: `label`.',
    },
    missing: {
      enum: ['refuse', 'drop'],
      description:
        'What becomes of rows without a label, of text-classification: refuse (the default) fails and counts them, drop leaves them out. Of several columns each must have a value.',
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
    prompt: {
      type: 'string',
      description: 'The column of prompts, of causal-lm with a `completion`. A prompt is read, and not learned. Default: `prompt`.',
    },
    completion: {
      type: 'string',
      description: 'The column of what is to follow each prompt, of causal-lm: it is learned with the token that ends a text.',
    },
    completion_only_loss: { type: 'boolean', description: 'false: prompts are learned, too. Default: true.' },
    block_size: {
      type: 'integer',
      minimum: 8,
      description:
        'Of causal-lm, instead of max_length: texts are joined, the end of each marked, and cut into blocks of so many tokens, so that nothing is padding.',
    },
    target: { type: 'string', description: 'The column of texts that are to be made of the texts, of seq2seq. Default: `target`.' },
    prefix: {
      type: 'string',
      description: "Put before each text of seq2seq, in training and when the model is used, such as T5's `summarize: `.",
    },
    max_target_length: {
      type: 'integer',
      minimum: 2,
      description: 'Tokens of a target of seq2seq, the one that ends it included. Longer ones are cut. Default: max_length.',
    },
    max_length: {
      type: 'integer',
      minimum: 8,
      description:
        "Tokens of a sequence, special ones included. Longer texts are cut by text-classification, seq2seq and prompts' completions, and read in windows by all else. Default: the model's own limit; for data without a split `train`, what the model was trained with, as of `truncation`, `stride`, `prefix` and `max_target_length`.",
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
    'missing',
    'problem_type',
    'words',
    'tags',
    'question',
    'context',
    'answers',
    'prompt',
    'completion',
    'completion_only_loss',
    'block_size',
    'target',
    'prefix',
    'max_target_length',
    'max_length',
    'truncation',
    'stride',
  ],
  aliases: {
    max_seq_length: 'max_length',
    max_seq_len: 'max_length',
    max_len: 'max_length',
    maxlen: 'max_length',
    model_max_length: 'max_length',
    max_source_length: 'max_length',
    max_input_length: 'max_length',
    sequence_length: 'max_length',
    seq_len: 'max_length',
    seq_length: 'max_length',
    cutoff_len: 'max_length',
    doc_stride: 'stride',
    text_column: 'text',
    text_column_name: 'text',
    sentence: 'text',
    sentence1: 'text',
    input_column: 'text',
    source_column: 'text',
    source: 'text',
    sentence2: 'text_pair',
    text2: 'text_pair',
    second_text: 'text_pair',
    text_column2: 'text_pair',
    labels: 'label',
    label_column: 'label',
    label_column_name: 'label',
    label_columns: 'label',
    target_names: 'label',
    target_column: 'target',
    summary_column: 'target',
    reference: 'target',
    targets: 'target',
    max_output_length: 'max_target_length',
    max_label_length: 'max_target_length',
    source_prefix: 'prefix',
    task_prefix: 'prefix',
    problem: 'problem_type',
    tokens: 'words',
    words_column: 'words',
    token_column: 'words',
    ner_tags: 'tags',
    tag_column: 'tags',
    question_column: 'question',
    context_column: 'context',
    answer: 'answers',
    answer_column: 'answers',
    instruction: 'prompt',
    prompt_column: 'prompt',
    response: 'completion',
    completion_column: 'completion',
    truncation_strategy: 'truncation',
    chunk_length: 'block_size',
    chunk_size: 'block_size',
    packing: 'block_size',
    train_on_input: 'completion_only_loss',
    train_on_inputs: 'completion_only_loss',
    tokenizer: 'model',
    tokenizer_name: 'model',
    tokenizer_name_or_path: 'model',
    model_name: 'model',
    model_name_or_path: 'model',
    pretrained_model_name_or_path: 'model',
    base_model: 'model',
    dataset: 'data',
    dataset_name: 'data',
    train_file: 'data',
    task_name: 'task',
    task_type: 'task',
    multi_label: 'problem_type: multi_label_classification',
    padding: 'It is not needed: a batch is padded to its longest sequence.',
    pad_to_max_length: 'It is not needed: a batch is padded to its longest sequence.',
    do_lower_case: 'lowercase is an option of the step clean.',
    lowercase: 'lowercase is an option of the step clean.',
  },
  inputs: {
    data: { kind: 'folder', description: 'A table. Without a column `split` all rows are the split test.' },
    model: {
      kind: 'folder',
      description:
        'A model folder: its tokenizer is used (tokenizer.json, or vocab.txt, or vocab.json and merges.txt). For data without a split train its labels are used, too, and other labels are refused.',
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
    for (const name of ['prompt', 'completion_only_loss'] as const)
      if (options[name] !== undefined && options.completion === undefined && OPTIONS_OF[options.task]!.includes(name))
        problems.push({ option: name, message: `${name} is of prompts with a completion: there is no completion` });
    for (const name of ['text', 'block_size'] as const)
      if (options[name] !== undefined && options.completion !== undefined && options.task === 'causal-lm')
        problems.push({ option: name, message: `${name} is of whole texts, and there is a completion` });
    if (options.block_size !== undefined && options.max_length !== undefined)
      problems.push({ option: 'max_length', message: 'blocks are as long as block_size says: there is no max_length beside it' });
    if (options.stride !== undefined && options.max_length !== undefined && options.stride >= options.max_length)
      problems.push({ option: 'stride', message: `a stride of ${options.stride} leaves nothing new in windows of ${options.max_length}` });
    return problems;
  },
  foresee: {
    reads: [],
    check(options, { data = [] }) {
      const places = PLACES_IN[options.task];
      if (!places) return [];
      const column = options[places.option] ?? places.usual;
      return [...stepsOfData(data).values()].flatMap(({ cell, uses, options: { columns: cleaned, decode } }) => {
        const columns = uses === 'clean' ? cleaned : Object.keys(Object(decode));
        if (uses === 'split' || !Array.isArray(columns) || !columns.includes(column)) return [];
        return [
          {
            upstream: cell,
            option: uses === 'clean' ? `columns[${columns.indexOf(column)}]` : `decode.${column}`,
            message: `${uses} changes \`${column}\`, in which ${options.task} finds answers by their place`,
            hint: `Take \`${column}\` out: an answer's place in a changed text is not its place in the text that is asked about.`,
          },
        ];
      });
    },
  },
  async run(context) {
    const { tokenize } = await import('./tokenize.ts');
    await tokenize(context);
  },
});
