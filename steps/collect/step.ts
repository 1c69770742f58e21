/** collect: reads files of any common format into one table. */
import { aliasesOf, declareStep } from '../../engine/contract/step.ts';
import { ENCODINGS } from '../ml/data/encodings.ts';

export default declareStep({
  name: 'collect',
  version: 5,
  description: 'Reads files into a table, decodes mails, and selects columns and rows with SQL.',
  aliases: aliasesOf({
    files: 'file path paths data data_files input inputs filepath',
    delimiter: 'sep separator',
    encoding: 'charset',
    format: 'type filetype file_format',
    types: 'dtype dtypes features',
    select: 'rename rename_columns column_mapping',
    where: 'filter query',
    id: 'index index_col key id_column',
    columns: 'names column_names',
    header: 'has_header',
    required: 'not_null dropna drop_missing',
    max_rejected: 'max_errors bad_lines on_bad_lines',
  }),
  inputs: {
    files: {
      kind: 'any',
      many: true,
      optional: true,
      description:
        'Files, folders, globs or addresses, such as `hf://datasets/owner/name` or `kaggle://owner/name/*.csv`. The files may be gzipped. A Hugging Face README.md or dataset_info.json among the files provides the label names.',
    },
    sql: {
      kind: 'file',
      query: true,
      optional: true,
      description:
        'A database query, instead of `files`: `{ url: postgres://host/database, query: SELECT … }`, or `url: sqlite:FILE`. User and password come from the environment (PGUSER, PGPASSWORD, ~/.pgpass), never from the pipeline. The rows enter the fingerprint.',
    },
  },
  outputs: { data: { kind: 'folder', description: 'The table.' } },
  options: {
    format: {
      enum: ['auto', 'csv', 'tsv', 'json', 'jsonl', 'parquet', 'text', 'mail'],
      default: 'auto',
      description:
        'The format of the files. `auto`: derived from the extension of each file. `json`: each file contains a list of objects, a single object, or JSON lines. `text`: one row per file, with the columns `text`, `folder` (the name of the parent folder) and `path`. `mail`: one row per mail, with the columns of the format `text`, and `subject` and `sender`. An mbox file can contain many mails.',
    },
    delimiter: {
      type: 'string',
      minLength: 1,
      maxLength: 1,
      description:
        'The field separator of CSV. Default: a comma, semicolon, tab or vertical bar, detected from the header and the first rows. A first line such as `sep=;` also sets it.',
    },
    encoding: {
      enum: ENCODINGS,
      default: 'utf-8',
      description:
        'The character encoding of CSV, TSV, JSON and text files. `utf-16` follows the byte order mark that Excel writes at the beginning. `windows-1252` is common on Western European Windows. A row with bytes that the encoding does not define is rejected.',
    },
    types: {
      type: 'object',
      additionalProperties: { enum: ['text', 'number', 'boolean'] },
      minProperties: 1,
      description:
        'Column types, such as `{ zip: text, price: number }`. A row whose value does not fit the type is rejected. Default: number or boolean if every value stays the same when it is parsed and written back, otherwise text. So a column with 007 is text.',
    },
    header: { type: 'boolean', default: true, description: 'Whether the first line of CSV and TSV files contains the column names.' },
    columns: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description: 'The column names of files without a header. Needs `header: false`.',
    },
    decode: {
      type: 'object',
      additionalProperties: { enum: ['mail'] },
      minProperties: 1,
      description:
        'Columns that contain whole mails: `{ text: mail }` removes headers, decodes MIME and converts HTML to plain text. `select` and `where` read the decoded columns.',
    },
    select: {
      type: 'object',
      additionalProperties: { type: 'string', minLength: 1 },
      minProperties: 1,
      description:
        'The columns of the table, each as a SQL expression over the columns of the files. The column `source` is the path or address of the file. Default: all columns.',
    },
    where: { type: 'string', minLength: 1, description: 'A SQL condition over the columns of the files, which selects the rows to keep.' },
    allow_empty: {
      type: 'boolean',
      default: false,
      description: 'Whether the table may have no rows, for example because `where` selects the mistakes of a model that makes none.',
    },
    id: {
      type: 'string',
      minLength: 1,
      description: 'The column that identifies a row. Default: `id` if it exists and is unique, otherwise a hash of the content.',
    },
    text: {
      type: 'string',
      minLength: 1,
      description:
        'The name of the column of texts, if the name is not `text`. Set this name only in collect. The steps clean, split, tokenize and baseline then use the same column. `tunesmith predict` looks for this column in its input files.',
    },
    required: {
      type: 'array',
      items: { type: 'string' },
      description: 'Columns that must not be null. Default: the column of texts and `label`, if they exist.',
    },
    max_rejected: {
      type: 'number',
      minimum: 0,
      maximum: 1,
      default: 0.01,
      description: 'The step fails if a greater share of the rows is rejected. Rejected rows are written to `rejected.jsonl`.',
    },
  },
  optional: ['delimiter', 'types', 'columns', 'decode', 'select', 'where', 'id', 'text', 'required'],
  libraries: ['@duckdb/node-api', 'postal-mime', 'html-to-text'],
  reusableProcess: true,
  check(options) {
    const problems = [];
    const table = ['auto', 'csv', 'tsv'].includes(options.format);
    if (!options.header && !options.columns)
      problems.push({ option: 'header', message: '`header: false` needs `columns`, the names of the columns' });
    if (options.header && options.columns)
      problems.push({ option: 'columns', message: '`columns` is for files without a header: set `header: false`' });
    if (!table && (!options.header || options.columns))
      problems.push({ option: options.header ? 'columns' : 'header', message: `files of format ${options.format} have no header line` });
    if (options.delimiter !== undefined && !['auto', 'csv'].includes(options.format))
      problems.push({ option: 'delimiter', message: `\`delimiter\` applies to CSV, not to ${options.format}` });
    if (options.delimiter !== undefined && (options.delimiter.charCodeAt(0) > 127 || '"\r\n'.includes(options.delimiter)))
      problems.push({ option: 'delimiter', message: 'the delimiter must be an ASCII character other than a quote or a line break' });
    if (options.encoding !== 'utf-8' && ['parquet', 'mail'].includes(options.format))
      problems.push({
        option: 'encoding',
        message: `\`encoding\` does not apply to files of format ${options.format}, which declare their own encoding`,
      });
    if (options.select && options.id !== undefined && !(options.id in options.select))
      problems.push({ option: 'id', message: `\`select\` makes no column \`${options.id}\`` });
    if (options.select)
      for (const name of options.required ?? [])
        if (!(name in options.select)) problems.push({ option: 'required', message: `\`select\` makes no column \`${name}\`` });
    return problems;
  },
});
