import { aliasesOf, declareStep, type Upstream } from '../../engine/contract/step.ts';
import { optionsOfOtherTasks, TASK_NAMES, taskFacts } from '../ml/models/config.ts';

/** The built-in steps that the data pass through, by cell. The search stops at a step of the user, whose effect is unknown. */
function stepsOfData(data: Upstream[], found = new Map<string, Upstream>()): Map<string, Upstream> {
  for (const one of data) {
    if (found.has(one.cell) || !['collect', 'clean', 'split'].includes(one.uses ?? '')) continue;
    found.set(one.cell, one);
    for (const above of Object.values(one.inputs)) stepsOfData(above, found);
  }
  return found;
}

export default declareStep({
  name: 'tokenize',
  version: 3,
  description: 'Converts texts to the token ids that a model reads.',
  options: {
    task: {
      enum: TASK_NAMES,
      default: 'text-classification',
      description: 'The task to train for.',
    },
    text: {
      type: 'string',
      description:
        'The column of texts, for the tasks that read plain texts. Default: the column that `text` of collect names, otherwise `text`.',
    },
    text_pair: {
      type: 'string',
      description: 'A second column of texts, for text-classification of pairs such as premise and hypothesis.',
    },
    label: {
      oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, minItems: 1, uniqueItems: true }],
      description:
        'The column of labels, for text-classification. With `multi_label_classification`: a column of lists, or several columns of 0 and 1 (or false and true). Default: `label`.',
    },
    missing: {
      enum: ['refuse', 'drop'],
      description:
        'What to do if rows have no label, for text-classification. `refuse` (the default): fail and count the rows. `drop`: leave the rows out. If `label` names several columns, a row needs a value in each of these columns.',
    },
    problem_type: {
      enum: ['single_label_classification', 'multi_label_classification', 'regression'],
      description: 'For text-classification: whether a text has one label (the default), several labels, or a number.',
    },
    words: { type: 'string', description: 'The column of word lists, for token-classification. Default: `tokens`.' },
    tags: {
      type: 'string',
      description: 'The column of tag lists, for token-classification: one tag per word, such as B-PER and O. Default: `tags`.',
    },
    question: { type: 'string', description: 'The column of questions, for question-answering. Default: `question`.' },
    context: { type: 'string', description: 'The column of texts that contain the answers, for question-answering. Default: `context`.' },
    answers: {
      type: 'string',
      description:
        'The column of answers, for question-answering: as in SQuAD (`text` and `answer_start`), or excerpts of the context. A question without an answer has an empty list. Default: `answers`.',
    },
    prompt: {
      type: 'string',
      description:
        'The column of prompts, for causal-lm with a `completion`. The loss ignores prompts unless `completion_only_loss` is false. Default: `prompt`.',
    },
    completion: {
      type: 'string',
      description: 'The column of completions, for causal-lm with prompts. The loss covers the completion and the end-of-text token.',
    },
    completion_only_loss: { type: 'boolean', description: 'false: the loss covers the prompts as well. Default: true.' },
    block_size: {
      type: 'integer',
      minimum: 8,
      description:
        'For causal-lm, instead of `max_length`: joins all texts, with the end-of-text token after each text, and divides the result into blocks of this many tokens, without padding.',
    },
    target: { type: 'string', description: 'The column of target texts, for seq2seq. Default: `target`.' },
    prefix: {
      type: 'string',
      description: "A text that is put before each input text, in training and in inference, such as T5's `summarize: `. For seq2seq.",
    },
    max_target_length: {
      type: 'integer',
      minimum: 2,
      description:
        'The maximum number of tokens of a target, for seq2seq, including the end-of-text token. Longer targets are truncated. Default: `max_length`.',
    },
    max_length: {
      type: 'integer',
      minimum: 8,
      description:
        "The maximum number of tokens of a sequence, including special tokens. Longer texts are truncated for text-classification, seq2seq and prompts with completions, and divided into windows for the other tasks. Default: the model's own limit. If the data have no split `train`, the default is the value that the model was trained with. In this case, `truncation`, `stride`, `prefix` and `max_target_length` also default to the values of that training.",
    },
    truncation: {
      enum: ['longest_first', 'only_first', 'only_second'],
      description: 'Which text of a pair to truncate when both together are too long. Default: `longest_first`.',
    },
    stride: {
      type: 'integer',
      minimum: 0,
      description:
        'The number of tokens that neighbouring windows of a context share, for question-answering. Default: 128, or a quarter of `max_length` if that is less.',
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
  aliases: aliasesOf(
    {
      max_length:
        'max_seq_length max_seq_len max_len maxlen model_max_length max_source_length max_input_length sequence_length seq_len seq_length cutoff_len',
      stride: 'doc_stride',
      text: 'text_column text_column_name sentence sentence1 input_column source_column source',
      text_pair: 'sentence2 text2 second_text text_column2',
      label: 'labels label_column label_column_name label_columns target_names',
      target: 'target_column summary_column reference targets',
      max_target_length: 'max_output_length max_label_length',
      prefix: 'source_prefix task_prefix',
      problem_type: 'problem',
      words: 'tokens words_column token_column',
      tags: 'ner_tags tag_column',
      question: 'question_column',
      context: 'context_column',
      answers: 'answer answer_column',
      prompt: 'instruction prompt_column',
      completion: 'response completion_column',
      truncation: 'truncation_strategy',
      block_size: 'chunk_length chunk_size packing',
      completion_only_loss: 'train_on_input train_on_inputs',
      model: 'tokenizer tokenizer_name tokenizer_name_or_path model_name model_name_or_path pretrained_model_name_or_path base_model',
      data: 'dataset dataset_name train_file',
      task: 'task_name task_type',
      'problem_type: multi_label_classification': 'multi_label',
    },
    {
      padding: 'It is not needed: each batch is padded to its longest sequence.',
      pad_to_max_length: 'It is not needed: each batch is padded to its longest sequence.',
      do_lower_case: 'lowercase is an option of the step clean.',
      lowercase: 'lowercase is an option of the step clean.',
    },
  ),
  inputs: {
    data: { kind: 'folder', description: 'A table. Without a column `split`, all rows belong to the split `test`.' },
    model: {
      kind: 'folder',
      description:
        'A model folder. The step uses its tokenizer. If the data have no split `train`, the step also uses the labels of the model, and other labels are an error.',
    },
  },
  outputs: { tokens: { kind: 'folder', description: 'Token ids and labels of each split, and the tokenizer.' } },
  libraries: ['tokenizers'],
  threads: 'all',
  reusableProcess: true,
  check(options) {
    const problems = optionsOfOtherTasks(options, 'tokenize');
    if (options.truncation && options.text_pair === undefined && taskFacts(options.task).options.tokenize.includes('truncation'))
      problems.push({ option: 'truncation', message: '`truncation` applies to pairs of texts and needs `text_pair`' });
    if (Array.isArray(options.label) && options.problem_type !== 'multi_label_classification')
      problems.push({ option: 'label', message: 'several columns of labels need `problem_type: multi_label_classification`' });
    for (const name of ['prompt', 'completion_only_loss'] as const)
      if (options[name] !== undefined && options.completion === undefined && taskFacts(options.task).options.tokenize.includes(name))
        problems.push({ option: name, message: `\`${name}\` applies to prompts with completions and needs \`completion\`` });
    for (const name of ['text', 'block_size'] as const)
      if (options[name] !== undefined && options.completion !== undefined && options.task === 'causal-lm')
        problems.push({ option: name, message: `\`${name}\` applies to whole texts and cannot be combined with \`completion\`` });
    if (options.block_size !== undefined && options.max_length !== undefined)
      problems.push({
        option: 'max_length',
        message: '`max_length` cannot be combined with `block_size`, which is the length of the blocks',
      });
    if (options.stride !== undefined && options.max_length !== undefined && options.stride >= options.max_length)
      problems.push({
        option: 'stride',
        message: `\`stride\` ${options.stride} must be less than \`max_length\` ${options.max_length}, otherwise windows contain nothing new`,
      });
    return problems;
  },
  foresee: {
    reads: [],
    check(options, { data = [] }) {
      const places = taskFacts(options.task).positions;
      if (!places) return [];
      const column = options[places.option] ?? places.usual;
      return [...stepsOfData(data).values()].flatMap(({ cell, uses, options: { columns: cleaned, decode } }) => {
        const columns = uses === 'clean' ? cleaned : Object.keys(Object(decode));
        if (uses === 'split' || !Array.isArray(columns) || !columns.includes(column)) return [];
        return [
          {
            upstream: cell,
            option: uses === 'clean' ? `columns[${columns.indexOf(column)}]` : `decode.${column}`,
            message: `${uses} changes \`${column}\`, and the answers of ${options.task} are positions in it`,
            hint: `Remove \`${column}\` from the list: a position in the changed text is not the position in the original text.`,
          },
        ];
      });
    },
  },
});
