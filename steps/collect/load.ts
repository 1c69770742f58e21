/** Fills the table `raw` from the files: `__source` and `__row` record the origin of a row; the other columns are those of the files. */

import { isUtf8 } from 'node:buffer';
import { basename, dirname } from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import { type CsvRecord, openCsv } from '../ml/data/csv.ts';
import { type Appender, BIGINT, type Database, QueryError, type TableColumn, VARCHAR } from '../ml/data/database.ts';
import { bytesOf, linesOf, refuseNul, refuseUtf16, type SourceFile, type TextEncoding, wholeFiles } from '../ml/data/encodings.ts';
import {
  elementsOf,
  type FieldsFound,
  type JsonRow,
  KIND,
  pathOf,
  printed,
  readJson,
  readJsonLines,
  readLetters,
} from '../ml/data/json-rows.ts';
import { decodeMail, isEnvelope } from '../ml/data/mail.ts';
import { literal, quote } from '../ml/data/sql.ts';
import { type ColumnTypes, keptText } from './column-types.ts';
import type { Format } from './files.ts';
import type { Rejected } from './rejected.ts';

export const loaders: Record<Format, (loading: Loading) => Promise<void>> = {
  csv: (loading) => loadCsv(loading, loading.delimiter),
  tsv: (loading) => loadCsv(loading, '\t'),
  json: loadJson,
  jsonl: loadJsonLines,
  parquet: loadParquet,
  text: loadTexts,
  mail: loadMails,
};

interface Loading {
  database: Database;
  /** Each file as its turn comes. */
  files: Iterable<SourceFile>;
  rejected: Rejected;
  encoding: TextEncoding;
  types: ColumnTypes;
  /** Whether the order of rows is meaningful: that of a query's result is not. */
  ordered: boolean;
  delimiter?: string | undefined;
  columns?: string[] | undefined;
  /** Receives warnings about the files. */
  note(message: string): void;
}

/** A table of texts that gains columns as files need them. */
class RawTable {
  private readonly names: string[] = [];

  private constructor(
    private readonly database: Database,
    private appender: Appender,
  ) {}

  static async create(database: Database): Promise<RawTable> {
    await database.run('CREATE TABLE raw (__source VARCHAR, __row BIGINT)');
    return new RawTable(database, await database.append('raw', [VARCHAR, BIGINT]));
  }

  /** Adds missing columns; returns the index of each in the values of `add`. */
  async place(columns: string[]): Promise<number[]> {
    const known = new Map(this.names.map((name, i) => [name.toLowerCase(), i]));
    const added = columns.filter((name) => !known.has(name.toLowerCase()));
    if (added.length > 0) {
      this.appender.close();
      for (const name of added) {
        known.set(name.toLowerCase(), this.names.push(name) - 1);
        await this.database.run(`ALTER TABLE raw ADD COLUMN ${quote(name)} VARCHAR`);
      }
      this.appender = await this.database.append('raw', [VARCHAR, BIGINT, ...this.names.map(() => VARCHAR)]);
    }
    return columns.map((name) => known.get(name.toLowerCase())!);
  }

  add(source: string, row: number, values: (string | null)[], places?: number[]): void {
    const placed: (string | null)[] = places ? this.names.map(() => null) : values;
    if (places) for (let i = 0; i < values.length; i++) placed[places[i]!] = values[i]!;
    this.appender.add(source, BigInt(row), ...placed);
  }

  close(): void {
    this.appender.close();
  }
}

async function loadCsv({ database, files, rejected, columns, encoding, note }: Loading, delimiter?: string): Promise<void> {
  const raw = await RawTable.create(database);
  const named = new Map<string, string[]>();
  for (const file of files) {
    const csv = await openCsv(bytesOf(file, encoding), {
      source: file.source,
      delimiter: delimiter ?? (columns ? ',' : undefined),
      encoding: encoding.toUpperCase(),
    });
    let names = columns;
    let places = names && (await raw.place(names));
    for await (const records of csv.records)
      for (const [i, record] of records.entries()) {
        // With a header, the names of its columns show it.
        if (columns && i === 0 && record.line === 1 && record.problem === undefined)
          refuseUtf16(Buffer.from(record.fields.join(csv.delimiter)), file.source, (likely) => `Set \`encoding: ${likely}\`.`);
        if (!names || !places) {
          names = headerOf(record, file);
          named.set(file.source, names);
          places = await raw.place(names);
        } else if (record.problem !== undefined) rejected.add(file.source, record.line, record.problem, record.value);
        else if (record.fields.length !== names.length)
          rejected.add(
            file.source,
            record.line,
            `${record.fields.length} ${record.fields.length === 1 ? 'field' : 'fields'} instead of ${names.length}`,
            record.fields.map((field) => field ?? '').join(csv.delimiter),
          );
        else raw.add(file.source, record.line, record.fields, places);
      }
  }
  raw.close();
  noteMissing(named, note);
}

function headerOf(record: CsvRecord, { source }: SourceFile): string[] {
  if (record.problem !== undefined)
    throw new StepError(
      `${source}:${record.line}: the header: ${record.problem}`,
      record.problem.startsWith('not ')
        ? 'Set `encoding`, such as latin1 or windows-1252.'
        : 'The first line must contain the column names; otherwise set `header: false` and `columns`.',
    );
  const names = record.fields.map((name, i) => name?.trim() || `column${i + 1}`);
  refuseNul(names, `${source}:${record.line}`, (encoding) => `The file may be UTF-16: set \`encoding: ${encoding}\`.`);
  refuseSameNames(`${source}:${record.line}`, names);
  return names;
}

async function loadTexts({ database, files, rejected, encoding }: Loading): Promise<void> {
  const raw = await RawTable.create(database);
  await raw.place(['text', 'folder', 'path']);
  for await (const { file, bytes } of wholeFiles(files, encoding)) {
    refuseUtf16(bytes, file.source, (likely) => `Set \`encoding: ${likely}\`.`);
    if (isUtf8(bytes)) raw.add(file.source, 1, [bytes.toString().replace(/^\ufeff/, ''), basename(dirname(file.path)), file.source]);
    else rejected.add(file.source, 1, `not ${encoding.toUpperCase()}`, bytes.toString());
  }
  raw.close();
}

async function loadMails({ database, files, rejected }: Loading): Promise<void> {
  const raw = await RawTable.create(database);
  await raw.place(['text', 'subject', 'sender', 'folder', 'path']);
  for (const file of files)
    for await (const { row, bytes } of readMails(file)) {
      try {
        const { text, subject, sender } = await decodeMail(bytes);
        raw.add(file.source, row, [text, subject, sender, basename(dirname(file.path)), file.source]);
      } catch (error) {
        rejected.add(file.source, row, `no mail: ${(error as Error).message}`, bytes.toString('latin1'));
      }
    }
  raw.close();
}

/** Splits a file into mails: one, or as many as an mbox file contains. */
async function* readMails(file: SourceFile): AsyncGenerator<{ row: number; bytes: Buffer }> {
  let mbox = false;
  let afterBlank = true;
  let row = 1;
  let lines: Buffer[] = [];
  for await (const { number, bytes } of linesOf(bytesOf(file))) {
    const starts = (number === 1 || mbox) && afterBlank && isEnvelope(bytes.toString('latin1'));
    if (starts) {
      if (lines.length > 0) yield { row, bytes: joined(lines) };
      mbox = true;
      row = number;
      lines = [];
    } else lines.push(mbox && quotedFrom.test(bytes.subarray(0, 32).toString('latin1')) ? bytes.subarray(1) : bytes);
    afterBlank = bytes.length === 0;
  }
  if (lines.length > 0) yield { row, bytes: joined(lines) };
}

/** mbox writes a body's line `From …` as `>From …`. */
const quotedFrom = /^>+From /;

const joined = (lines: Buffer[]) => Buffer.concat(lines.flatMap((line) => [line, lineBreak]));

const lineBreak = Buffer.from('\n');

/** Warns of files that lack columns; `named`: the columns of each file. */
function noteMissing(named: Map<string, string[]>, note: Loading['note']): void {
  const spelled = new Map([...named.values()].flat().map((name) => [name.toLowerCase(), name]));
  for (const [lower, name] of spelled) {
    const lacking = [...named].filter(([, names]) => !names.some((one) => one.toLowerCase() === lower)).map(([source]) => source);
    if (lacking.length > 0)
      note(
        `the column \`${name}\` is missing in ${lacking.length} of ${named.size} files, whose rows have null there: ${lacking.slice(0, 3).join(', ')}${lacking.length > 3 ? ', …' : ''}`,
      );
  }
}

function refuseSameNames(place: string, names: string[]): void {
  if (names.length > 1000) throw new StepError(`${place}: too many columns: ${names.length}`, 'A table can have at most 1,000.');
  const seen = new Map<string, string>();
  for (const name of names) {
    const same = seen.get(name.toLowerCase());
    if (same === name) throw new StepError(`${place}: two columns have the name \`${name}\``, 'Rename one of them.');
    if (same)
      throw new StepError(
        `${place}: \`${same}\` and \`${name}\` differ only in case, which SQL does not distinguish`,
        'Rename one of them.',
      );
    seen.set(name.toLowerCase(), name);
  }
}

/* JSON and JSON lines: types are inferred from all rows, not from a sample. */

interface JsonOfFile {
  file: SourceFile;
  rows: AsyncIterable<JsonRow[]>;
}

async function loadJson(loading: Loading): Promise<void> {
  async function* files(): AsyncGenerator<JsonOfFile> {
    for await (const { file, bytes } of wholeFiles(loading.files, loading.encoding))
      yield { file, rows: readJson(bytes, file.source, loading.encoding.toUpperCase()) };
  }
  await loadRows(loading, files());
}

async function loadJsonLines(loading: Loading): Promise<void> {
  async function* files(): AsyncGenerator<JsonOfFile> {
    for (const file of loading.files) yield { file, rows: readJsonLines(bytesOf(file, loading.encoding), loading.encoding.toUpperCase()) };
  }
  await loadRows(loading, files());
}

async function loadRows({ database, rejected, types, ordered, note }: Loading, files: AsyncIterable<JsonOfFile>): Promise<void> {
  await database.run('CREATE TABLE lines (__source VARCHAR, __row BIGINT, json VARCHAR)');
  const lines = await database.append('lines', [VARCHAR, BIGINT, VARCHAR]);
  const fields: FieldsFound = new Map();
  const add = (file: SourceFile, row: JsonRow) => {
    if (row.problem !== undefined) {
      rejected.add(file.source, row.row, row.problem, row.value);
      return;
    }
    const read = readLetters(row.json, fields, { source: file.source, row: row.row });
    if ('twice' in read) rejected.add(file.source, row.row, `the field \`${read.twice}\` occurs twice`, row.json);
    else if ('unnamed' in read) rejected.add(file.source, row.row, 'a field has an empty name', row.json);
    else if ('nul' in read)
      rejected.add(file.source, row.row, `the column name ${JSON.stringify(read.nul)} contains a NUL character`, row.json);
    else lines.add(file.source, BigInt(row.row), read.json);
  };
  for await (const { file, rows } of files) for await (const group of rows) for (const row of group) add(file, row);
  lines.close();
  if (!ordered)
    await database.run(
      `CREATE TABLE sorted AS SELECT __source, row_number() OVER (ORDER BY json) AS __row, json FROM lines ORDER BY json;
       DROP TABLE lines; ALTER TABLE sorted RENAME TO lines`,
    );
  const { structure } = await database.row<{ structure: string | null }>('SELECT json_group_structure(json::JSON) AS structure FROM lines');
  const found = structure?.startsWith('{') ? Object.entries(JSON.parse(structure) as Record<string, Structure>) : [];
  if (structure !== null && found.length === 0) throw new StepError('the JSON objects have no fields');
  refuseSameNames(
    'the JSON objects',
    found.map(([name]) => name),
  );
  const columns = found.map(([name, type]) => [name, columnType(name, type, fields, types)] as const);
  for (const [name, type] of columns) noteText(name, type, fields, types, note);
  const unnested = found.length > 0 ? `, unnest(from_json(json::JSON, ${literal(JSON.stringify(Object.fromEntries(columns)))}))` : '';
  await database.run(`CREATE TABLE raw AS SELECT __source, __row${unnested} FROM lines`);
  await database.run('DROP TABLE lines');
}

/** As DuckDB describes JSON: the name of a type, a list's element in brackets, an object's fields. */
type Structure = string | [Structure] | { [field: string]: Structure };

function columnType(name: string, type: Structure, fields: FieldsFound, types: ColumnTypes): Structure {
  const path = pathOf('', name);
  const wanted = Object.hasOwn(types, name) ? types[name] : undefined;
  if (wanted === 'text') return 'VARCHAR';
  const kinds = fields.get(path)?.kinds ?? 0;
  if (wanted === 'number' && isNumeric(kinds)) return kinds === KIND.whole ? 'BIGINT' : 'DOUBLE';
  // A column with values of several types, or of nulls only, is read as text.
  const simple = withLetters(type, path, fields);
  return typeof type === 'string' && ['JSON', 'NULL'].includes(simple as string) ? 'VARCHAR' : simple;
}

const isNumeric = (kinds: number) => kinds !== 0 && (kinds & ~(KIND.whole | KIND.fraction | KIND.odd)) === 0;

/** Numbers become texts if a type would change how they are written. An object with hundreds of fields is a dictionary, and stays JSON. */
function withLetters(type: Structure, path: string, fields: FieldsFound): Structure {
  if (typeof type === 'string') {
    const kinds = fields.get(path)?.kinds ?? 0;
    if (!isNumeric(kinds)) return { NULL: 'JSON', JSON: 'VARCHAR' }[type] ?? type;
    return { [KIND.whole]: 'BIGINT', [KIND.fraction]: 'DOUBLE' }[kinds] ?? 'VARCHAR';
  }
  if (Array.isArray(type)) return [withLetters(type[0], elementsOf(path), fields)];
  const inner = Object.entries(type);
  return inner.length > 200
    ? 'JSON'
    : Object.fromEntries(inner.map(([name, field]) => [name, withLetters(field, pathOf(path, name), fields)]));
}

/** Reports the values that made a column text: a number among numbers, or values of several kinds. */
function noteText(name: string, type: Structure, fields: FieldsFound, types: ColumnTypes, note: Loading['note']): void {
  const found = fields.get(pathOf('', name));
  if (Object.hasOwn(types, name) || !found) return;
  if (!isNumeric(found.kinds)) {
    const mixed = mixedKinds(type, { path: pathOf('', name), name }, fields);
    if (mixed) note(typeof type === 'string' ? `${mixed}; set \`types\` to change that` : mixed);
    return;
  }
  const odd = found.examples.get(KIND.odd);
  const whole = found.examples.get(KIND.whole);
  if (odd) note(keptText(name, odd, `would become ${printed(Number(odd.letters))} as a number`));
  else if (whole && found.examples.has(KIND.fraction))
    note(keptText(name, whole, `would become ${printed(Number(whole.letters))} as a number`));
}

/** The first place in a column, at any depth, where values of several kinds become texts; the first value of each kind. */
function mixedKinds(type: Structure, { path, name }: { path: string; name: string }, fields: FieldsFound): string | undefined {
  if (Array.isArray(type)) return mixedKinds(type[0], { path: elementsOf(path), name: `${name}[]` }, fields);
  if (typeof type === 'object') {
    for (const [key, inner] of Object.entries(type)) {
      const mixed = mixedKinds(inner, { path: pathOf(path, key), name: `${name}.${key}` }, fields);
      if (mixed) return mixed;
    }
    return undefined;
  }
  const examples = KINDS.map(([noun, kinds]) => ({
    noun,
    example: kinds.map((kind) => fields.get(path)?.examples.get(kind)).find(Boolean),
  }));
  const found = examples.flatMap(({ noun, example }) => (example ? [{ noun, ...example }] : []));
  if (type !== 'VARCHAR' || found.length < 2) return undefined;
  const listed = found.map(({ noun, letters, source, row }) => `${letters.slice(0, 60)} (${source}:${row}) is ${noun}`);
  return `\`${name}\` contains values of several kinds, and is read as text: ${listed.join(', ')}`;
}

const KINDS: [noun: string, kinds: number[]][] = [
  ['a number', [KIND.whole, KIND.fraction, KIND.odd]],
  ['a text', [KIND.text]],
  ['a boolean', [KIND.boolean]],
  ['a list', [KIND.list]],
  ['an object', [KIND.object]],
];

/* Parquet. */

async function loadParquet({ database, files, note }: Loading): Promise<void> {
  await database.run('CREATE TABLE sources (path VARCHAR, __source VARCHAR)');
  const sources = await database.append('sources', [VARCHAR, VARCHAR]);
  const named = new Map<string, string[]>();
  const paths: string[] = [];
  for (const { path, source } of files) {
    const names = (await columnsOf(database, path, source)).map(({ name }) => name);
    refuseNul(names, source, () => 'Rename that column.');
    const taken = names.find((name) => OUR_COLUMNS.includes(name.toLowerCase()));
    if (taken) throw new StepError(`${source}: the column name ${taken} is reserved`, 'Rename that column.');
    named.set(source, names);
    sources.add(path, source);
    paths.push(path);
  }
  sources.close();
  noteMissing(named, note);
  // Files may lack columns that others have, and may order them differently.
  const reading = (more = '') =>
    `read_parquet([${paths.map(literal).join(', ')}], union_by_name = true, hive_partitioning = false, filename = '__file', file_row_number = true${more})`;
  const texts = await textsInBytes(database, reading);
  const decoded = texts.map((name) => `decode(${quote(name)}) AS ${quote(name)}`);
  try {
    await database.run(
      `CREATE TABLE raw AS SELECT __source, __row, data.* EXCLUDE (__row, __file, file_row_number)${decoded.length > 0 ? ` REPLACE (${decoded.join(', ')})` : ''}
       FROM (SELECT *, file_row_number + 1 AS __row FROM ${reading()}) AS data LEFT JOIN sources ON path = __file`,
    );
  } catch (error) {
    if (error instanceof QueryError) throw new StepError(`the Parquet files cannot be read: ${error.message}`);
    throw error;
  }
  await nanIsMissing(database, note);
}

/** Columns that are added to those of a Parquet file while it is read. */
const OUR_COLUMNS = ['__source', '__row', '__file', 'file_row_number'];

async function columnsOf(database: Database, path: string, source: string): Promise<TableColumn[]> {
  try {
    return await database.columns(`read_parquet(${literal(path)})`);
  } catch (error) {
    if (error instanceof QueryError)
      throw new StepError(`${source}: cannot be read as Parquet: ${error.message.replaceAll(path, () => source)}`);
    throw error;
  }
}

/** Columns of bytes that are valid texts but lack the annotation, which some writers leave out. */
async function textsInBytes(database: Database, reading: (more?: string) => string): Promise<string[]> {
  const bytes = (await database.columns(reading())).filter(({ type }) => type === 'BLOB');
  const texts: string[] = [];
  for (const { name } of bytes) {
    try {
      await database.run(`SELECT count(decode(${quote(name)})) FROM ${reading()}`);
      texts.push(name);
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      // Pictures, say. `select` may leave them out; what is kept of them is refused.
    }
  }
  return texts;
}

/** pandas and others write a missing number as NaN. */
async function nanIsMissing(database: Database, note: Loading['note']): Promise<void> {
  for (const { name, type } of await database.columns('raw')) {
    if (type !== 'DOUBLE' && type !== 'FLOAT') continue;
    const column = quote(name);
    const { n } = await database.row<{ n: number }>(`SELECT count(*) FILTER (isnan(${column})) AS n FROM raw`);
    if (n === 0) continue;
    await database.run(`UPDATE raw SET ${column} = NULL WHERE isnan(${column})`);
    note(`${n} ${n === 1 ? 'value' : 'values'} of \`${name}\` ${n === 1 ? 'is' : 'are'} NaN and treated as missing`);
  }
}
