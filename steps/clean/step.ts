/** clean: normalizes texts and drops unwanted rows. The cleaning is recorded, so that predict and serve can repeat it. */
import { aliasesOf, declareStep, type OptionProblem } from '../../engine/contract/step.ts';
import { pairsProblem, swapSchema } from '../ml/data/terms.ts';

export default declareStep({
  name: 'clean',
  version: 3,
  description: 'Cleans texts, drops duplicates and texts that are too short or too long, and counts every change.',
  aliases: aliasesOf({
    columns: 'column text_column fields field',
    lowercase: 'lower do_lower_case to_lower',
    deduplicate: 'drop_duplicates dedup dedupe unique',
    normalize: 'unicode_normalize normalization unicode',
    whitespace: 'strip whitespaces collapse_whitespace',
    min_length: 'min_len minimum_length min_chars',
    max_length: 'max_len maximum_length max_chars',
    'remove: [html]': 'strip_html remove_html',
    'remove: [urls]': 'remove_urls strip_urls',
    'remove: [emails]': 'remove_emails',
    'remove: [special_characters]': 'remove_punctuation remove_special_characters',
    'remove: [numbers]': 'remove_numbers',
    'augment: { swap: … }': 'augmentation data_augmentation counterfactual_augmentation',
    data: 'dataset table',
  }),
  inputs: { data: { kind: 'folder', description: 'A table.' } },
  outputs: { data: { kind: 'folder', description: 'The cleaned table.' } },
  options: {
    columns: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description:
        'The columns of texts to clean. Default: the column that `text` of collect names, otherwise `text`. `predict`, `generate` and `serve` clean these fields in the same way. The columns `context` of question-answering and `words` of token-classification cannot be cleaned.',
    },
    remove: {
      type: 'array',
      items: { enum: ['html', 'urls', 'emails', 'special_characters', 'numbers'] },
      uniqueItems: true,
      default: [],
      description:
        'What to remove. `html`: tags, comments, scripts and styles; entities are then decoded once (`&lt;b&gt;` becomes `<b>`). `urls`: http, https, ftp and www addresses. `emails`: mail addresses. `special_characters`: invisible characters, and everything except letters, digits, white space and `keep_characters`. `numbers`: numbers such as 42, 1,000.50 and 2002-08-22, but not digits within words such as `mp3`.',
    },
    keep_characters: {
      type: 'string',
      description: 'The characters that `special_characters` keeps. Default: punctuation marks, `.,:;!?\'"()-`.',
    },
    lowercase: { type: 'boolean', default: false, description: 'Converts texts to lower case.' },
    whitespace: {
      enum: ['collapse', 'keep'],
      default: 'collapse',
      description: '`collapse` replaces runs of white space, including line breaks, with one space and trims both ends.',
    },
    normalize: {
      enum: ['NFC', 'NFKC', 'none'],
      default: 'NFC',
      description:
        'The Unicode normal form. NFC composes letters with their accents; NFKC also replaces compatibility characters such as `ﬁ`, `①` and full-width letters.',
    },
    deduplicate: {
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true },
        { const: false },
      ],
      default: false,
      description: 'One or several columns. If rows are equal in these columns after cleaning, only the first row by `id` is kept.',
    },
    label: {
      type: 'string',
      minLength: 1,
      description:
        'The column of labels. The option `labels` cleans this column. Duplicates with different labels are counted as `conflicting`. Default: `label` if it exists.',
    },
    labels: {
      type: 'object',
      properties: {
        trim: { type: 'boolean', description: 'Trims white space from both ends.' },
        case: { enum: ['lower', 'upper'], description: 'Converts labels to lower or upper case.' },
        map: {
          type: 'object',
          additionalProperties: { type: 'string' },
          description: 'Replaces labels, as a map from old to new: `{ spm: spam }`.',
        },
        drop: {
          type: 'array',
          items: { type: 'string' },
          uniqueItems: true,
          description: 'Drops the rows with these labels: `["?", n/a]`.',
        },
      },
      additionalProperties: false,
      minProperties: 1,
      description:
        'Cleans the labels: first `trim`, then `case`, `map` and `drop`. Changed and dropped rows are counted. In a column of lists, every label is cleaned, and `drop` drops the whole row.',
    },
    min_length: {
      type: 'integer',
      minimum: 1,
      default: 1,
      description: 'Drops rows that have fewer characters than this in `columns`. Rows with empty texts are always dropped.',
    },
    augment: {
      type: 'object',
      properties: { swap: swapSchema },
      required: ['swap'],
      additionalProperties: false,
      description:
        'Adds a copy of each training row that contains a term, with its terms swapped in `columns`. The copy has the label of the original, the id `ID~swapped`, and the id of the original in the column `augmented_from`. Copies whose texts another split contains are left out. Needs a column `split`; no other split changes, and neither does what `predict` and `serve` do with a text.',
    },
    max_length: { type: 'integer', minimum: 1, description: 'Drops rows that have more characters than this in `columns`.' },
  },
  optional: ['columns', 'keep_characters', 'label', 'labels', 'augment', 'max_length'],
  libraries: ['@duckdb/node-api'],
  reusableProcess: true,
  check(options) {
    const problems: OptionProblem[] = [];
    const wrong = options.augment && pairsProblem(options.augment.swap.terms);
    if (wrong) problems.push({ option: 'augment.swap.terms', message: `augment: ${wrong}` });
    if (options.keep_characters !== undefined && !options.remove.includes('special_characters'))
      problems.push({ option: 'keep_characters', message: '`keep_characters` needs `special_characters` in `remove`' });
    if (options.label !== undefined && options.deduplicate === false && options.labels === undefined)
      problems.push({ option: 'label', message: '`label` needs `deduplicate` or `labels`' });
    if (options.max_length !== undefined && options.max_length < options.min_length)
      problems.push({
        option: 'max_length',
        message: `\`max_length\` ${options.max_length} is less than \`min_length\` ${options.min_length}: no row would remain`,
      });
    return problems;
  },
});
