/** collect: files of any common format → one table. */
import { defineStep } from '../../engine/step.ts';
import { ENCODINGS } from '../data/encodings.ts';

export default defineStep({
  name: 'collect',
  version: 4,
  description: 'Reads files into a table, decodes mails, and picks columns and rows by SQL.',
  aliases: {
    file: 'files',
    path: 'files',
    paths: 'files',
    data: 'files',
    data_files: 'files',
    input: 'files',
    inputs: 'files',
    filepath: 'files',
    sep: 'delimiter',
    separator: 'delimiter',
    charset: 'encoding',
    type: 'format',
    filetype: 'format',
    file_format: 'format',
    dtype: 'types',
    dtypes: 'types',
    features: 'types',
    rename: 'select',
    rename_columns: 'select',
    column_mapping: 'select',
    filter: 'where',
    query: 'where',
    index: 'id',
    index_col: 'id',
    key: 'id',
    id_column: 'id',
    names: 'columns',
    column_names: 'columns',
    has_header: 'header',
    not_null: 'required',
    dropna: 'required',
    drop_missing: 'required',
    max_errors: 'max_rejected',
    bad_lines: 'max_rejected',
    on_bad_lines: 'max_rejected',
  },
  inputs: {
    files: {
      kind: 'any',
      many: true,
      optional: true,
      description:
        'Files, folders or globs: CSV, TSV, JSON, JSON lines, Parquet, texts or mails; also gzipped. Or addresses: `hf://datasets/owner/name`, `kaggle://owner/name/*.csv`. A README.md or dataset_info.json of Hugging Face among them gives the names of labels.',
    },
    sql: {
      kind: 'file',
      query: true,
      optional: true,
      description:
        'Instead of `files` a query of a database: `{ url: postgres://host/database, query: SELECT … }`, or `url: sqlite:FILE`. User and password come from the environment (PGUSER, PGPASSWORD, ~/.pgpass), never from the pipeline. The rows enter the fingerprint.',
    },
  },
  outputs: { data: { kind: 'folder', description: 'The table.' } },
  options: {
    format: {
      enum: ['auto', 'csv', 'tsv', 'json', 'jsonl', 'parquet', 'text', 'mail'],
      default: 'auto',
      description:
        'What the files are; `auto` goes by their extensions. `json`: a list of objects, one object per file, or lines. `text` and `mail`: a row per file, with `text`, `folder` (the name of the folder it lies in) and `path`; mails have `subject` and `sender`, too, and mbox files a row per mail.',
    },
    delimiter: {
      type: 'string',
      minLength: 1,
      maxLength: 1,
      description:
        'The character between the fields of CSV. Default: what the header and the first rows show (comma, semicolon, tab or bar), or what a first line `sep=;` says.',
    },
    encoding: {
      enum: ENCODINGS,
      default: 'utf-8',
      description:
        'The character encoding of CSV, TSV, JSON and text files. `utf-16` reads the byte order mark, as Excel writes it; `windows-1252` is what Western European Windows programs write. A row with bytes that the encoding does not define is put aside.',
    },
    types: {
      type: 'object',
      additionalProperties: { enum: ['text', 'number', 'boolean'] },
      minProperties: 1,
      description:
        'Types of columns, such as `{ zip: text, price: number }`. By default a column becomes a number or boolean only where every value prints back exactly as it is written; the log names the value that kept it a text. A row with another value than the type allows is put aside.',
    },
    header: { type: 'boolean', default: true, description: 'Whether the first line of CSV and TSV names the columns.' },
    columns: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      minItems: 1,
      uniqueItems: true,
      description: 'The names of the columns, with `header: false`.',
    },
    decode: {
      type: 'object',
      additionalProperties: { enum: ['mail'] },
      minProperties: 1,
      description:
        'Columns that hold whole mails: `{ text: mail }` strips headers, decodes MIME and makes HTML plain. Done before `select` and `where`.',
    },
    select: {
      type: 'object',
      additionalProperties: { type: 'string', minLength: 1 },
      minProperties: 1,
      description:
        'The columns of the table, each with a SQL expression over the files’ columns and `source`, the path of the file or the address that it was fetched from. Default: all.',
    },
    where: { type: 'string', minLength: 1, description: 'A SQL condition over the files’ columns: the rows to keep.' },
    id: {
      type: 'string',
      minLength: 1,
      description: 'The column that identifies a row. Default: `id` where it is there and unique, else a hash of the content.',
    },
    text: {
      type: 'string',
      minLength: 1,
      description:
        'The column of texts, where it is not `text`. It is named once: clean, split, tokenize and baseline take it from here, and the bundle looks for it in the files of predict.',
    },
    required: {
      type: 'array',
      items: { type: 'string' },
      description: 'Columns that may not be null. Default: the column of texts and `label`, where they are there.',
    },
    max_rejected: {
      type: 'number',
      minimum: 0,
      maximum: 1,
      default: 0.01,
      description: 'The share of bad rows that is put aside in `rejected.jsonl`; with more, the step fails.',
    },
  },
  optional: ['delimiter', 'types', 'columns', 'decode', 'select', 'where', 'id', 'text', 'required'],
  libraries: ['@duckdb/node-api', 'postal-mime', 'html-to-text'],
  check(options) {
    const problems = [];
    const table = ['auto', 'csv', 'tsv'].includes(options.format);
    if (!options.header && !options.columns)
      problems.push({ option: 'header', message: '`header: false` needs `columns`, the names of the columns' });
    if (options.header && options.columns)
      problems.push({ option: 'columns', message: '`columns` names the columns of files without a header: set `header: false`' });
    if (!table && (!options.header || options.columns))
      problems.push({ option: options.header ? 'columns' : 'header', message: `files of format ${options.format} have no header line` });
    if (options.delimiter !== undefined && !['auto', 'csv'].includes(options.format))
      problems.push({ option: 'delimiter', message: `\`delimiter\` is for CSV, not for ${options.format}` });
    if (options.delimiter !== undefined && (options.delimiter.charCodeAt(0) > 127 || '"\r\n'.includes(options.delimiter)))
      problems.push({ option: 'delimiter', message: 'the delimiter must be an ASCII character other than a quote or a line break' });
    if (options.encoding !== 'utf-8' && ['parquet', 'mail'].includes(options.format))
      problems.push({ option: 'encoding', message: `files of format ${options.format} say themselves how their texts are encoded` });
    if (options.select && options.id !== undefined && !(options.id in options.select))
      problems.push({ option: 'id', message: `\`select\` makes no column \`${options.id}\`` });
    if (options.select)
      for (const name of options.required ?? [])
        if (!(name in options.select)) problems.push({ option: 'required', message: `\`select\` makes no column \`${name}\`` });
    return problems;
  },
  async run(context) {
    const { collect } = await import('./collect.ts');
    await collect(context);
  },
});
