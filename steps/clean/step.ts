/** clean: texts made plain, rows that say nothing new dropped. What was done is recorded, for predict and serve to do the same. */
import { defineStep, type OptionProblem } from '../../engine/step.ts';

export default defineStep({
  name: 'clean',
  version: 2,
  description: 'Cleans texts, drops duplicates and texts that are too short or too long, and counts all it does.',
  aliases: {
    column: 'columns',
    text_column: 'columns',
    fields: 'columns',
    field: 'columns',
    lower: 'lowercase',
    do_lower_case: 'lowercase',
    to_lower: 'lowercase',
    drop_duplicates: 'deduplicate',
    dedup: 'deduplicate',
    dedupe: 'deduplicate',
    unique: 'deduplicate',
    unicode_normalize: 'normalize',
    normalization: 'normalize',
    unicode: 'normalize',
    strip: 'whitespace',
    whitespaces: 'whitespace',
    collapse_whitespace: 'whitespace',
    min_len: 'min_length',
    minimum_length: 'min_length',
    min_chars: 'min_length',
    max_len: 'max_length',
    maximum_length: 'max_length',
    max_chars: 'max_length',
    strip_html: 'remove: [html]',
    remove_html: 'remove: [html]',
    remove_urls: 'remove: [urls]',
    strip_urls: 'remove: [urls]',
    remove_emails: 'remove: [emails]',
    remove_punctuation: 'remove: [special_characters]',
    remove_special_characters: 'remove: [special_characters]',
    remove_numbers: 'remove: [numbers]',
    dataset: 'data',
    table: 'data',
  },
  inputs: { data: { kind: 'folder', description: 'A table.' } },
  outputs: { data: { kind: 'folder', description: 'The table with clean texts.' } },
  options: {
    columns: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description:
        'The columns of texts to clean. Default: the one that collect names with `text`, else `text`. Where the model is used, the fields that come from them are cleaned alike, and no others. A text in which answers are found by their place (`context`, `words`) cannot be cleaned.',
    },
    remove: {
      type: 'array',
      items: { enum: ['html', 'urls', 'emails', 'special_characters', 'numbers'] },
      uniqueItems: true,
      default: [],
      description:
        'What to take out. `html`: tags, comments, scripts and styles go; then entities become their characters once, and what they spell stays as text (`&lt;b&gt;` becomes `<b>`). `urls`: http, https, ftp and www. `emails`: addresses. `special_characters`: invisible ones, and all but letters, digits, white space and `keep_characters`. `numbers`: whole numbers, not the digits in `mp3`.',
    },
    keep_characters: {
      type: 'string',
      description: 'What `special_characters` leaves. Default: the punctuation of sentences, `.,:;!?\'"()-`.',
    },
    lowercase: { type: 'boolean', default: false, description: 'Makes all letters lower case.' },
    whitespace: {
      enum: ['collapse', 'keep'],
      default: 'collapse',
      description: '`collapse`: runs of white space, line breaks too, become one space; none is left at the ends.',
    },
    normalize: {
      enum: ['NFC', 'NFKC', 'none'],
      default: 'NFC',
      description: 'The Unicode normal form: NFC joins letters with their accents, NFKC also makes `ﬁ`, `①` and full-width letters plain.',
    },
    deduplicate: {
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, uniqueItems: true },
        { const: false },
      ],
      default: false,
      description: 'A column, or several: of rows that are equal in it after cleaning, only the first by `id` is kept.',
    },
    label: {
      type: 'string',
      minLength: 1,
      description:
        'The column of labels: duplicates that differ in it are counted as `conflicting`, and `labels` cleans it. Default: `label`, where it is there.',
    },
    labels: {
      type: 'object',
      properties: {
        trim: { type: 'boolean', description: 'Takes white space off both ends.' },
        case: { enum: ['lower', 'upper'], description: 'Makes all letters lower or upper case.' },
        map: { type: 'object', additionalProperties: { type: 'string' }, description: 'New labels by old ones: `{ spm: spam }`.' },
        drop: { type: 'array', items: { type: 'string' }, uniqueItems: true, description: 'Labels whose rows are dropped: `["?", n/a]`.' },
      },
      additionalProperties: false,
      minProperties: 1,
      description:
        'Cleans the labels themselves, in the order `trim`, `case`, `map`, `drop`; what `map` and `drop` name is what a label is by then. Changed and dropped rows are counted. In lists every label is cleaned, and `drop` drops the row.',
    },
    min_length: {
      type: 'integer',
      minimum: 1,
      default: 1,
      description: 'Rows with fewer characters in `columns` are dropped. Empty ones always are.',
    },
    max_length: { type: 'integer', minimum: 1, description: 'Rows with more characters are dropped.' },
  },
  optional: ['columns', 'keep_characters', 'label', 'labels', 'max_length'],
  libraries: ['@duckdb/node-api'],
  check(options) {
    const problems: OptionProblem[] = [];
    if (options.keep_characters !== undefined && !options.remove.includes('special_characters'))
      problems.push({ option: 'keep_characters', message: '`keep_characters` means nothing unless `remove` has special_characters' });
    if (options.label !== undefined && options.deduplicate === false && options.labels === undefined)
      problems.push({ option: 'label', message: '`label` means nothing without `deduplicate` or `labels`' });
    if (options.max_length !== undefined && options.max_length < options.min_length)
      problems.push({
        option: 'max_length',
        message: `\`max_length\` ${options.max_length} is less than \`min_length\` ${options.min_length}: no row would be left`,
      });
    return problems;
  },
  async run(context) {
    const { clean } = await import('./clean.ts');
    await clean(context);
  },
});
