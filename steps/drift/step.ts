/** drift: compares new rows with those that a model was trained on, and fails if limits are missed. */
import { aliasesOf, declareStep, nearest, type OptionProblem } from '../../engine/contract/step.ts';
import { LIMIT_PATTERN, LIMIT_TITLE } from '../ml/metrics/limits.ts';

const NUMERIC = ['characters', 'words', 'tokens', 'unknown_words', 'unknown_tokens'];

/** All figures. */
export const FIGURES = [
  ...NUMERIC.flatMap((feature) => [`${feature}.psi`, `${feature}.ks`, `${feature}.p`]),
  'unknown_words.reference',
  'unknown_words.current',
  'unknown_tokens.reference',
  'unknown_tokens.current',
  'label.psi',
  'label.chi_squared',
  'label.p',
  'two_sample.accuracy',
  'two_sample.auc',
  'two_sample.p',
  'psi.max',
];

export default declareStep({
  name: 'drift',
  version: 1,
  description:
    'Compares new rows with the training data: lengths, unknown words and tokens, labels, and the texts themselves by a classifier.',
  inputs: {
    data: { kind: 'folder', description: 'A table of the new rows, such as the records of `serve --record`.' },
    reference: { kind: 'folder', description: 'The table that the model was trained on.' },
    model: {
      kind: 'folder',
      optional: true,
      description:
        'The model. Its tokenizer counts tokens, its predictions are the labels, and its embeddings are what the classifier reads. Without it, the classifier reads a bag of words.',
    },
  },
  outputs: {
    data: { kind: 'folder', description: 'The same new rows, for the next step, so that it waits for the limits.' },
    metrics: { kind: 'file', description: 'The figures, their limits, the shares of each bin, and examples, as JSON.' },
    rows: {
      kind: 'folder',
      description:
        'A table of new rows that the classifier had not seen, with all columns and `drift_score`: its probability that the row is a new one.',
    },
  },
  options: {
    text: {
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, maxItems: 2, uniqueItems: true },
      ],
      description:
        'The column of texts, or the two columns of text pairs, in both tables. Default: the column that `text` of collect names for the reference, otherwise `text`, with `text_pair` if both tables have it.',
    },
    label: {
      type: 'string',
      minLength: 1,
      description:
        'The column of labels in both tables, instead of the predictions of the model. Default without a model: `label`, if both tables have it.',
    },
    split: {
      type: 'string',
      minLength: 1,
      default: 'train',
      description: 'The split of the reference, if it has a column `split`.',
    },
    sample: {
      type: 'integer',
      minimum: 20,
      maximum: 100_000,
      default: 2000,
      description: 'The most rows of each table that are compared. They are drawn by a hash of `id`.',
    },
    limits: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: LIMIT_PATTERN, title: LIMIT_TITLE },
      description:
        'Limits of figures, such as `{ two_sample.p: ">= 0.01", psi.max: "<= 0.25" }`. The operators are >=, >, <=, < and ==. The step fails if a figure misses its limit or is undefined.',
    },
    examples: {
      type: 'integer',
      minimum: 0,
      maximum: 1000,
      default: 5,
      description: 'The number of new rows in the metrics file that differ most from the reference. The output `rows` has more of them.',
    },
    seed: { type: 'integer', minimum: 0, default: 0, description: 'The seed of the sample and of the two halves for the classifier.' },
  },
  optional: ['text', 'label', 'limits'],
  aliases: aliasesOf({
    data: 'current new recorded records table dataset',
    reference: 'train training baseline_data training_data',
    text: 'text_column texts column',
    label: 'label_column target',
    split: 'reference_split',
    sample: 'max_rows rows n',
    limits: 'thresholds threshold fail_if require',
    seed: 'random_state random_seed',
    model: 'tokenizer bundle',
  }),
  libraries: ['@duckdb/node-api', 'tokenizers', 'onnxruntime-node'],
  threads: 'all',
  check({ limits = {} }) {
    return Object.keys(limits).flatMap((name): OptionProblem[] => {
      if (FIGURES.includes(name)) return [];
      const meant = nearest(name, FIGURES);
      return [
        {
          option: `limits.${name}`,
          message: `drift has no figure \`${name}\``,
          hint: `${meant ? `Did you mean ${meant}? ` : ''}The figures are ${FIGURES.join(', ')}.`,
        },
      ];
    });
  },
});
