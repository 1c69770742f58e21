/** check: examines data before training, and fails if limits are missed. */
import { aliasesOf, declareStep, nearest, type OptionProblem } from '../../engine/contract/step.ts';
import { LABEL_ERROR_FILTERS } from '../ml/metrics/confident-learning.ts';
import { LIMIT_PATTERN, LIMIT_TITLE } from '../ml/metrics/limits.ts';

/** All figures but `missing.COLUMN`. */
const FIGURES = [
  'schema',
  'missing',
  'unexpected_label',
  'label_not_in_train',
  'label_balance.largest',
  'label_balance.smallest',
  'label_balance.ratio',
  'label_balance.difference',
  'duplicates',
  'duplicates.across_splits',
  'duplicates.conflicting',
  'near_duplicates',
  'near_duplicates.across_splits',
  'near_duplicates.conflicting',
  'label_in_text',
  'giveaways',
  'giveaways.columns',
  'too_long',
  'other_language',
  'label_errors',
  'label_errors.accuracy',
];

export default declareStep({
  name: 'check',
  version: 2,
  description:
    'Checks data before training: schema, missing values, labels, duplicates, leakage of labels, lengths, languages and probable label errors.',
  inputs: {
    data: { kind: 'folder', description: 'The data of a collect, clean or split step.' },
    model: { kind: 'folder', optional: true, description: 'A model folder. Its tokenizer counts the tokens of the texts.' },
  },
  outputs: {
    data: { kind: 'folder', description: 'The same data, for the next step, so that it waits for the checks.' },
    report: { kind: 'file', description: 'The figures, their limits, and examples of each problem, as JSON.' },
    rows: {
      kind: 'folder',
      description:
        'A table of the rows that have a problem, with all columns and `problems`, `details`, `suggested_label`, `label_quality`, `similar_to`, `similarity` and `duplicate_group`.',
    },
  },
  options: {
    text: {
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true },
      ],
      description:
        'The column of texts, or several columns. Default: the column that `text` of collect names; otherwise `text`, with `text_pair` if it exists; otherwise `question` and `context`, `prompt` and `completion`, or `tokens`.',
    },
    label: { type: 'string', minLength: 1, description: 'The column of labels. Default: `label` or `tags`, if one of them exists.' },
    columns: {
      type: 'object',
      additionalProperties: { enum: ['text', 'number', 'boolean', 'list', 'any'] },
      minProperties: 1,
      description:
        'The columns that the data must have, with their types: `{ text: text, stars: number }`. `schema` is the number of columns that are missing or have another type.',
    },
    labels: {
      type: 'array',
      items: { type: 'string' },
      minItems: 1,
      uniqueItems: true,
      description: 'The labels that may occur. `unexpected_label` is the share of rows with another label.',
    },
    required: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      uniqueItems: true,
      description:
        'The columns in which every row must have a value. `missing` is the share of rows without one. Default: the columns of texts and labels.',
    },
    near_duplicates: {
      anyOf: [
        { type: 'boolean' },
        {
          type: 'object',
          properties: {
            threshold: {
              type: 'number',
              minimum: 0.1,
              maximum: 1,
              description: 'The Jaccard similarity from which two texts are near-duplicates. Default: 0.8.',
            },
            unit: { enum: ['characters', 'words'], description: 'What an n-gram consists of. Default: `characters`.' },
            ngram: { type: 'integer', minimum: 1, maximum: 100, description: 'The length of the n-grams. Default: 5.' },
            permutations: {
              type: 'integer',
              minimum: 16,
              maximum: 1024,
              description: 'The length of the MinHash signatures. Default: 128.',
            },
          },
          additionalProperties: false,
        },
      ],
      default: true,
      description:
        'How near-duplicates are found: `{ threshold: 0.8, unit: characters, ngram: 5, permutations: 128 }` by default. A text is the set of its n-grams; case and the amount of white space do not count. `false` skips the search.',
    },
    max_length: {
      type: 'integer',
      minimum: 1,
      description:
        'The longest text: in tokens with the input `model`, otherwise in words. `too_long` is the share of longer texts. Default: the limit of the model.',
    },
    languages: {
      anyOf: [{ type: 'boolean' }, { type: 'array', items: { type: 'string', pattern: '^[a-z]{2}$' }, minItems: 1, uniqueItems: true }],
      default: true,
      description:
        'The languages that may occur, as ISO 639-1 codes such as `[en, fr]`. `other_language` is the share of rows in another language. `true` allows the most frequent language; `false` detects no languages.',
    },
    label_errors: {
      anyOf: [
        { type: 'boolean' },
        {
          type: 'object',
          properties: {
            method: {
              enum: LABEL_ERROR_FILTERS,
              description: 'How rows are chosen, as `filter_by` of cleanlab. Default: `prune_by_noise_rate`.',
            },
            folds: { type: 'integer', minimum: 2, maximum: 20, description: 'The number of folds of the cross-validation. Default: 5.' },
          },
          additionalProperties: false,
        },
      ],
      default: true,
      description:
        'How probable label errors are found: `{ method: prune_by_noise_rate, folds: 5 }` by default. A bag of words predicts each row without having seen it, and confident learning compares its probabilities with the labels. `false` skips the search.',
    },
    giveaways: {
      anyOf: [
        { type: 'boolean' },
        {
          type: 'object',
          properties: {
            precision: {
              type: 'number',
              exclusiveMinimum: 0.5,
              maximum: 1,
              description: 'The least share of the texts with the phrase that have the label. Default: 0.98.',
            },
            coverage: {
              type: 'number',
              exclusiveMinimum: 0,
              maximum: 1,
              description: 'The least share of the texts with the label that have the phrase. Default: 0.05.',
            },
          },
          additionalProperties: false,
        },
      ],
      default: true,
      description:
        'Which words, phrases and values of other columns give a label away: `{ precision: 0.98, coverage: 0.05 }` by default. Both must hold in train and in the other splits. `false` skips the search.',
    },
    limits: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: LIMIT_PATTERN, title: LIMIT_TITLE },
      description:
        'Limits of figures, such as `{ missing: "<= 0", near_duplicates.across_splits: "<= 0.01" }`. The operators are >=, >, <=, < and ==. The step fails if a figure misses its limit or is undefined. Most figures are shares of rows.',
    },
    examples: {
      type: 'integer',
      minimum: 0,
      maximum: 1000,
      default: 5,
      description: 'The number of examples of each problem in the report. The output `rows` has all of them.',
    },
    seed: { type: 'integer', minimum: 0, default: 42, description: 'The seed of the hash functions and of the folds.' },
  },
  optional: ['text', 'label', 'columns', 'labels', 'required', 'max_length', 'limits'],
  aliases: aliasesOf({
    text: 'text_column texts fields',
    label: 'label_column target',
    columns: 'schema expected_columns types',
    labels: 'classes allowed_labels label_set',
    required: 'not_null',
    near_duplicates: 'minhash duplicates deduplicate',
    max_length: 'max_len max_tokens',
    languages: 'language lang',
    label_errors: 'cleanlab confident_learning label_issues',
    giveaways: 'leakage label_leakage leaks shortcuts',
    limits: 'thresholds threshold fail_if require',
    seed: 'random_state random_seed',
    data: 'dataset table',
    model: 'tokenizer',
  }),
  libraries: ['@duckdb/node-api', 'tokenizers', 'eld'],
  reusableProcess: true,
  check({ limits = {} }) {
    return Object.keys(limits).flatMap((name): OptionProblem[] => {
      if (FIGURES.includes(name) || /^missing\../.test(name)) return [];
      const meant = nearest(name, FIGURES);
      return [
        {
          option: `limits.${name}`,
          message: `check has no figure \`${name}\``,
          hint: `${meant ? `Did you mean ${meant}? ` : ''}The figures are ${FIGURES.join(', ')} and missing.COLUMN.`,
        },
      ];
    });
  },
});
