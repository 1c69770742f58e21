/**
 * Streams the inputs from a file or standard input: everything that collect reads row by row (CSV, TSV, JSON, JSON lines,
 * Parquet, optionally gzipped), with the fields of the task, or plain lines if a text is the only field.
 */
import { isUtf8 } from 'node:buffer';
import { existsSync } from 'node:fs';
import { extname } from 'node:path';
import { type Json, StepError } from '../../engine/contract/step.ts';
import { type CsvRecord, openCsv } from '../ml/data/csv.ts';
import type { Row, TableColumn } from '../ml/data/database.ts';
import {
  asUtf8,
  bytesOf,
  ENCODINGS,
  type Line,
  likelyUtf16,
  linesInGroups,
  refuseNul,
  refuseUtf16,
  type TextEncoding,
} from '../ml/data/encodings.ts';
import { type JsonRow, readJson, readJsonLines, readLetters } from '../ml/data/json-rows.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { type Field, type Input, itemThatIsNoWord, partOfInput, type TaskKind } from '../ml/tasks/task.ts';

export type InputFormat = 'jsonl' | 'json' | 'csv' | 'tsv' | 'parquet' | 'lines';

export interface InputOptions {
  /** Default: by the file's extension, otherwise by its content. */
  format?: InputFormat;
  /** The name of the field `text`: the column of CSV, the key of JSONL. */
  column?: string;
  /** For CSV; by default detected at the beginning of the file. */
  delimiter?: string;
  encoding?: TextEncoding;
  /** The column of each field in training, or several names, the most likely first. They take precedence over the field's own name. */
  known?: Record<string, string | string[]>;
  /** Columns to copy to the output; by default `id` if the file has it. */
  columns?: readonly string[];
}

export interface InputRow {
  input: Input;
  /** The copied columns, as they are in the file. */
  kept: Record<string, Json>;
  /** `FILE:LINE`, or `FILE: row N` in JSON and Parquet. */
  place: string;
}

type RowContent = Omit<InputRow, 'place'>;

/** The error of an input, with its place in the file. */
export const atPlace = ({ message, hint }: Error & { hint?: string }, place: string): StepError =>
  new StepError(`${place}: ${message}`, hint);

/** Yields groups of inputs from a path or, with `-`, standard input. @throws StepError with the line, after all inputs before it */
export async function* readInputs(file: string, fields: TaskKind['fields'], options: InputOptions = {}): AsyncGenerator<InputRow[]> {
  const { column, known = {}, encoding = 'utf-8', delimiter } = options;
  if (!ENCODINGS.includes(encoding)) throw new StepError(`--encoding ${encoding} is unknown`, `Encodings: ${ENCODINGS.join(', ')}.`);
  if (delimiter !== undefined && !/^[\x20-\x7e\t]$/.test(delimiter)) throw new StepError('--delimiter takes one ASCII character');
  const [main] = fields.filter(({ name }) => name === 'text' || name === 'prompt');
  if (column !== undefined && !main)
    throw new StepError(
      '--column applies only to models whose input is a text',
      `The inputs of this model have ${fields.map(({ name }) => name).join(' and ')}.`,
    );
  const source: Source = {
    name: file === '-' ? 'standard input' : file,
    file,
    options,
    fields: fields.map(({ name, optional, words = false, group = false }) => ({
      name,
      words,
      group,
      keys: name === main?.name && column !== undefined ? [column] : [...new Set([known[name] ?? name, name].flat())],
      optional: optional ?? false,
    })),
  };
  if (file !== '-' && !existsSync(file)) throw new StepError(`${file} does not exist`, 'Give a file, or - for standard input.');
  const format = options.format ?? formatOfName(file);
  if (format === 'parquet') {
    yield* readParquet(source);
    return;
  }
  const bytes = file === '-' ? asUtf8(process.stdin, encoding, source.name) : bytesOf({ path: file, source: file }, encoding);
  const head = await firstLine(bytes);
  async function* all() {
    yield* head.chunks;
    yield* bytes;
  }
  // Files of prompts were always JSONL, whatever their names.
  const isJsonl = options.format === undefined && format === 'lines' && main?.name === 'prompt' && /^\{\s*"/.test(head.text);
  yield* READERS[isJsonl ? 'jsonl' : (format ?? formatOfContent(head.text, source))](all(), source);
}

interface Source {
  /** The name in messages. */
  name: string;
  file: string;
  options: InputOptions;
  /** `keys`: possible names in the file, the most likely first. */
  fields: (Field & { keys: string[]; optional: boolean })[];
}

const READERS: Record<Exclude<InputFormat, 'parquet'>, (bytes: AsyncIterable<Buffer>, source: Source) => AsyncGenerator<InputRow[]>> = {
  jsonl: (bytes, source) => fromJson(readJsonLines(bytes, encodingOf(source)), source, ({ row }) => `${source.name}:${row}`),
  async *json(bytes, source) {
    const parts: Buffer[] = [];
    for await (const part of bytes) parts.push(part);
    yield* fromJson(readJson(Buffer.concat(parts), source.name, encodingOf(source)), source, ({ row }) => `${source.name}: row ${row}`);
  },
  csv: (bytes, source) => fromCsv(bytes, source, source.options.delimiter),
  tsv: (bytes, source) => fromCsv(bytes, source, '\t'),
  lines: fromLines,
};

const encodingOf = ({ options }: Source): string => (options.encoding ?? 'utf-8').toUpperCase();

const required = ({ fields }: Source): string[] => fields.filter(({ optional }) => !optional).map(({ keys }) => keys[0]!);

function formatOfName(file: string): InputFormat | undefined {
  const formats: Record<string, InputFormat> = {
    '.jsonl': 'jsonl',
    '.ndjson': 'jsonl',
    '.json': 'json',
    '.csv': 'csv',
    '.tsv': 'tsv',
    '.tab': 'tsv',
    '.parquet': 'parquet',
    '.pq': 'parquet',
    '.txt': 'lines',
  };
  return formats[extname(file.replace(/\.gz$/i, '')).toLowerCase()];
}

/** As much as contains the first line that is not blank. */
async function firstLine(bytes: AsyncGenerator<Buffer>): Promise<{ chunks: Buffer[]; text: string }> {
  const chunks: Buffer[] = [];
  for (;;) {
    const { value, done } = await bytes.next();
    if (!done) chunks.push(value);
    const text = Buffer.concat(chunks)
      .toString()
      .replace(/^\ufeff/, '')
      .trimStart();
    if (done || /[\r\n]/.test(text) || text.length > 2 ** 20) return { chunks, text: text.split(/[\r\n]/, 1)[0]! };
  }
}

function formatOfContent(line: string, source: Source): keyof typeof READERS {
  if (/^\{\s*("|\}|$)/.test(line)) return 'jsonl';
  if (/^\[\s*(\{|$)/.test(line)) return 'json';
  if (/^"?sep=./i.test(line)) return 'csv';
  const names = [',', '\t', ';', '|'].map((delimiter) => line.split(delimiter).map((name) => name.trim().replace(/^"(.*)"$/, '$1')));
  return names.some((present) => hasRequired(present, source)) ? 'csv' : 'lines';
}

const hasRequired = (present: readonly (string | null)[], { fields }: Source): boolean =>
  fields.every(({ keys, optional }) => optional || keys.some((key) => present.includes(key)));

/** Every line is a text, even an empty one. */
async function* fromLines(bytes: AsyncIterable<Buffer>, source: Source): AsyncGenerator<InputRow[]> {
  const [key, ...others] = required(source);
  if (others.length > 0)
    throw new StepError(
      `${source.name} contains plain lines, but an input has ${[key, ...others].join(' and ')}`,
      `Use JSONL, one object per line: ${exampleOf(source)}.`,
    );
  const field = source.fields.find(({ optional }) => !optional)!.name;
  let first = true;
  for await (const lines of linesInGroups(bytes)) {
    if (first) refuseUtf16(joined(lines.slice(0, 100)), source.name, (likely) => `Set its encoding: --encoding ${likely}`);
    first = false;
    const bad = lines.findIndex((line) => !isUtf8(line.bytes));
    const good = bad < 0 ? lines : lines.slice(0, bad);
    const placeOf = ({ number }: Line) => `${source.name}:${number}`;
    yield good.map((line) => ({ input: { [field]: line.bytes.toString() }, kept: {}, place: placeOf(line) }));
    if (bad >= 0) throw new StepError(`${placeOf(lines[bad]!)}: not ${encodingOf(source)}`, NOT_UTF8);
  }
}

const joined = (lines: Line[]): Buffer => Buffer.concat(lines.flatMap(({ bytes }, i) => (i === 0 ? [bytes] : [Buffer.from('\n'), bytes])));

const NOT_UTF8 = 'Set its encoding: --encoding latin1, windows-1252, utf-16 …';

/** What is wrong with a row. */
interface Mistake {
  message: string;
  hint?: string;
}

/** Yields the inputs of groups of rows. A mistake ends it, after all inputs before it were yielded. */
async function* readRows<R>(
  groups: AsyncIterable<R[]>,
  read: (row: R) => RowContent | Mistake | undefined,
  placeOf: (row: R) => string,
): AsyncGenerator<InputRow[]> {
  for await (const rows of groups) {
    const inputs: InputRow[] = [];
    for (const row of rows) {
      const result = read(row);
      if (result && 'message' in result) {
        yield inputs;
        throw new StepError(`${placeOf(row)}: ${result.message}`, result.hint);
      }
      if (result) inputs.push({ ...result, place: placeOf(row) });
    }
    yield inputs;
  }
}

/** One object per row. */
const fromJson = (groups: AsyncIterable<JsonRow[]>, source: Source, placeOf: (row: JsonRow) => string): AsyncGenerator<InputRow[]> =>
  readRows(groups, (row) => (row.problem === undefined ? inputOf(row, source) : problemOf(row, source)), placeOf);

function problemOf({ problem, value }: JsonRow & { problem: string }, source: Source): Mistake {
  if (problem === 'not an object')
    return { message: `expected an object such as ${exampleOf(source)}, found ${kindOf(JSON.parse(value))}` };
  if (value.includes('\0')) return { message: problem, hint: `The file may be UTF-16: --encoding ${likelyUtf16(value)}` };
  if (problem.startsWith('not JSON')) return { message: problem, hint: 'JSONL needs one JSON object per line.' };
  return { message: problem, ...(problem === `not ${encodingOf(source)}` && { hint: NOT_UTF8 }) };
}

const exampleOf = (source: Source): string =>
  `{${required(source)
    .map((key) => `"${key}": "…"`)
    .join(', ')}}`;

function inputOf({ fields: row, json, row: number }: JsonRow & { problem?: undefined }, source: Source): RowContent | Mistake {
  const letters = readLetters(json, new Map(), { source: source.name, row: number });
  if ('twice' in letters) return { message: `the field \`${letters.twice}\` occurs twice`, hint: 'Remove one of them.' };
  const input: Input = {};
  for (const field of source.fields) {
    const { keys, optional } = field;
    const key = keys.find((one) => Object.hasOwn(row, one));
    const value = key === undefined ? undefined : row[key];
    const part = partOfInput(field, value);
    if (part) Object.assign(input, part);
    else if (optional && (value === undefined || value === null)) continue;
    else if (key !== undefined) return { message: problemOfField(field, key, value) };
    else {
      const shape =
        required(source).length === 1 ? 'Use another key with --column KEY.' : `Each line must be an object such as ${exampleOf(source)}.`;
      const fields = Object.keys(row);
      const found = fields.length === 0 ? 'it has no fields' : `it has ${fields.join(', ')}`;
      return { message: `no field "${keys.join('" and no "')}": ${found}`, hint: field.group ? `${shape} ${MISSING_GROUP} null.` : shape };
    }
  }
  const names = source.options.columns ?? (Object.hasOwn(row, 'id') ? ['id'] : []);
  return { input, kept: names.length > 0 ? keptOf(json, names) : {} };
}

/** Ends with how a missing value is written. */
const MISSING_GROUP = 'The thresholds of the model depend on this field. If its value is missing, write';

function problemOfField(field: Field, key: string, value: unknown): string {
  const item = itemThatIsNoWord(field, value);
  return item === undefined
    ? `"${key}" is ${kindOf(value)}, not a string${field.group ? ', a number, a boolean or null' : ''}`
    : `item ${item} of "${key}" is ${kindOf((value as unknown[])[item - 1])}, not a string`;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** Numbers keep their notation: 1.10 and 12345678901234567890 are printed as they are written. */
function keptOf(json: string, names: readonly string[]): Record<string, Json> {
  const letters = (_: string, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined ? (JSON as unknown as Raw).rawJSON(context.source) : value;
  const row = JSON.parse(json, letters) as Record<string, Json>;
  return Object.fromEntries(names.map((name) => [name, Object.hasOwn(row, name) ? row[name]! : null]));
}

/** Not in TypeScript's library yet. */
interface Raw {
  rawJSON(text: string): Json;
}

/** A row with too few or too many fields is an error. An empty field is an empty text, or the missing value of a group. */
async function* fromCsv(bytes: AsyncIterable<Buffer>, source: Source, delimiter?: string): AsyncGenerator<InputRow[]> {
  const csv = await openCsv(bytes, {
    source: source.name,
    delimiter,
    wanted: (names) => hasRequired(names, source),
    encoding: encodingOf(source),
  });
  let header: Header | undefined;
  const groups = source.fields.flatMap(({ name, group }) => (group ? [name] : []));
  const read = (record: CsvRecord): RowContent | Mistake | undefined => {
    const problem = record.problem ?? (header && lengthProblem(record, header));
    if (problem === `not ${encodingOf(source)}`) return { message: problem, hint: NOT_UTF8 };
    if (problem !== undefined) return { message: problem, hint: 'Quote a field that contains the delimiter, a quote or a newline.' };
    const { fields } = record as CsvRecord & { problem?: undefined };
    if (header) return rowOf(header, fields, groups);
    header = headerOf(fields, record.line, source);
    return undefined;
  };
  yield* readRows(csv.records, read, ({ line }) => `${source.name}:${line}`);
  if (!header) throw noColumn(source, `${source.name}:1`, []);
}

interface Header {
  width: number;
  /** The index of each field, and of each column to copy. */
  fields: [name: string, place: number][];
  kept: [name: string, place: number][];
}

/** @param line undefined in Parquet */
function headerOf(cells: (string | null)[], line: number | undefined, source: Source): Header {
  const names = cells.map((name, i) => name?.trim() || `column${i + 1}`);
  const place = line === undefined ? source.name : `${source.name}:${line}`;
  refuseNul(names, place, (encoding) => (line === undefined ? 'Rename that column.' : `The file may be UTF-16: --encoding ${encoding}`));
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new StepError(`${place}: two columns have the name \`${twice}\``, 'Rename one of them.');
  if (!hasRequired(names, source)) throw noColumn(source, place, names);
  const placeOf = ({ name, keys }: Source['fields'][number]): [string, number] => [
    name,
    names.indexOf(keys.find((key) => names.includes(key)) ?? ''),
  ];
  const kept = source.options.columns ?? (names.includes('id') ? ['id'] : []);
  const lacking = kept.find((name) => !names.includes(name));
  if (lacking !== undefined) throw new StepError(`${place}: no column "${lacking}": it has ${names.join(', ')}`, 'Correct --columns.');
  return {
    width: names.length,
    fields: source.fields.map(placeOf).filter(([, place]) => place >= 0),
    kept: kept.map((name) => [name, names.indexOf(name)]),
  };
}

function noColumn(source: Source, place: string, names: string[]): StepError {
  const missing = source.fields.find(({ keys, optional }) => !optional && !keys.some((key) => names.includes(key)))!;
  const shape =
    required(source).length === 1 ? 'Use another column with --column COLUMN.' : `Name the columns ${required(source).join(' and ')}.`;
  return new StepError(
    `${place}: no column "${missing.keys.join('" and no "')}": ${names.length === 0 ? 'it is empty' : `it has ${names.join(', ')}`}`,
    missing.group ? `${shape} ${MISSING_GROUP} an empty field.` : shape,
  );
}

function lengthProblem(record: CsvRecord, { width }: Header): string | undefined {
  if (record.problem !== undefined || record.fields.length === width) return undefined;
  return `${record.fields.length} ${record.fields.length === 1 ? 'field' : 'fields'} instead of ${width}`;
}

/** As in collect, only an empty field without quotes is missing. */
const rowOf = ({ fields, kept }: Header, cells: (string | null)[], groups: string[]): RowContent => ({
  input: Object.fromEntries(
    fields.flatMap(([name, place]) => (cells[place] === null && groups.includes(name) ? [] : [[name, cells[place] ?? '']])),
  ),
  kept: Object.fromEntries(kept.map(([name, place]) => [name, cells[place]!])),
});

async function* readParquet(source: Source): AsyncGenerator<InputRow[]> {
  if (source.file === '-') throw new StepError('Parquet cannot be read from standard input', 'Give a file.');
  const { Database, QueryError } = await import('../ml/data/database.ts');
  const database = await Database.open();
  try {
    const table = `read_parquet(${literal(source.file)})`;
    const columns = await database.columns(table).catch((error: Error) => {
      throw error instanceof QueryError ? new StepError(`${source.name}: cannot be read as Parquet: ${error.message}`) : error;
    });
    const header = headerOf(
      columns.map(({ name }) => name),
      undefined,
      source,
    );
    const expressions = [...header.fields, ...header.kept].map(([, place], i) => {
      const { name, type } = columns[place]!;
      const { words, group } = source.fields.find((field) => field.name === header.fields[i]?.[0]) ?? {};
      if (group) return `${quote(name)}::VARCHAR AS __${i}`;
      if (i < header.fields.length && !(words ? TEXT_OR_WORDS : TEXT).test(type))
        throw new StepError(`${source.name}: the column "${name}" contains ${type}, not texts${words ? ' or lists of words' : ''}`);
      return `${decoded(quote(name), type)} AS __${i}`;
    });
    let number = 0;
    const read = (row: Row) => {
      number++;
      return parquetRow(row, header, columns, source);
    };
    yield* readRows(database.stream(`SELECT ${expressions.join(', ')} FROM ${table}`), read, () => `${source.name}: row ${number}`);
  } finally {
    database.close();
  }
}

const TEXT = /^(VARCHAR|BLOB)$/;
const TEXT_OR_WORDS = /^(VARCHAR|BLOB)(\[\d*\])?$/;

/** Some writers omit the annotation that bytes are texts. */
function decoded(name: string, type: string): string {
  if (type === 'BLOB') return `decode(${name})`;
  return type.startsWith('BLOB[') ? `list_transform(${name}::BLOB[], lambda word: decode(word))` : name;
}

/** A missing text is empty, as in CSV. A missing list of words is an error, as in JSONL. A group may be missing. */
function parquetRow(row: Row, { fields, kept }: Header, columns: TableColumn[], source: Source): RowContent | Mistake {
  const input: Input = {};
  for (const [i, [name, place]] of fields.entries()) {
    const field = source.fields.find((one) => one.name === name)!;
    const column = columns[place]!;
    const value = row[`__${i}`] ?? (!field.group && TEXT.test(column.type) ? '' : null);
    const part = partOfInput(field, value);
    if (!part) return { message: problemOfField(field, column.name, value) };
    Object.assign(input, part);
  }
  return { input, kept: Object.fromEntries(kept.map(([name], i) => [name, row[`__${fields.length + i}`]!])) };
}
