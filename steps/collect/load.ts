/** Fills the table `raw` from the files: `__source` and `__row` say where a row comes from, the other columns are the files' own. */
import { isUtf8 } from 'node:buffer';
import { basename, dirname } from 'node:path';
import { BIGINT, VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { type Appender, type Database, literal, QueryError, quote } from '../data/database.ts';
import { decodeMail } from '../data/mail.ts';
import { type CsvRecord, readCsv } from './csv.ts';
import { bytesOf, type Format, type SourceFile, wholeFiles } from './files.ts';
import { type JsonRow, readJson, readJsonLines } from './json.ts';
import { readMails } from './mails.ts';
import type { Rejected } from './rejected.ts';

export interface Loading {
  database: Database;
  /** Each file as its turn comes. */
  files: Iterable<SourceFile>;
  rejected: Rejected;
  delimiter?: string;
  columns?: string[];
}

export const loaders: Record<Format, (loading: Loading) => Promise<void>> = {
  csv: (loading) => loadCsv(loading, loading.delimiter),
  tsv: (loading) => loadCsv(loading, '\t'),
  json: (loading) => loadJson(loading, jsonOf(loading.files)),
  jsonl: (loading) => loadJson(loading, jsonLinesOf(loading.files)),
  parquet: loadParquet,
  text: loadTexts,
  mail: loadMails,
};

/** A table of texts that gains columns as files bring them. */
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

  /** Makes the columns that are not there yet; gives the place of each in the values of `add`. */
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

async function loadCsv({ database, files, rejected, columns }: Loading, delimiter?: string): Promise<void> {
  const raw = await RawTable.create(database);
  for (const file of files) {
    const parting = delimiter ?? (columns ? ',' : await delimiterOf(file));
    let names = columns;
    let places = names && (await raw.place(names));
    for await (const record of readCsv(bytesOf(file), { delimiter: parting, lenient: parting === '\t' })) {
      if (!names || !places) {
        names = headerOf(record, file);
        places = await raw.place(names);
      } else if (record.problem !== undefined) rejected.add(file.source, record.line, record.problem, record.value);
      else if (record.fields.length !== names.length)
        rejected.add(
          file.source,
          record.line,
          `${record.fields.length} ${record.fields.length === 1 ? 'field' : 'fields'} instead of ${names.length}`,
          record.fields.map((field) => field ?? '').join(parting),
        );
      else raw.add(file.source, record.line, record.fields, places);
    }
  }
  raw.close();
  await inferTypes(database);
}

/** The comma, unless the first line has none but another usual delimiter. */
async function delimiterOf(file: SourceFile): Promise<string> {
  for await (const chunk of bytesOf(file)) {
    const header = chunk.toString('latin1').split('\n', 1)[0]!;
    return [',', ';', '\t', '|'].find((delimiter) => header.includes(delimiter)) ?? ',';
  }
  return ',';
}

function headerOf(record: CsvRecord, { source }: SourceFile): string[] {
  if (record.problem !== undefined)
    throw new StepError(
      `${source}:${record.line}: the header: ${record.problem}`,
      'The first line must name the columns; or set `header: false` and `columns`.',
    );
  const names = record.fields.map((name, i) => name?.trim() || `column${i + 1}`);
  refuseSameNames(names, `${source}:${record.line}`);
  return names;
}

function refuseSameNames(names: string[], place: string): void {
  if (names.length > 1000) throw new StepError(`${place}: ${names.length} columns are too many`, 'A table has 1,000 at most.');
  const seen = new Map<string, string>();
  for (const name of names) {
    const same = seen.get(name.toLowerCase());
    if (same === name) throw new StepError(`${place}: two columns are named \`${name}\``, 'Rename one of them.');
    if (same)
      throw new StepError(
        `${place}: \`${same}\` and \`${name}\` differ only in case, which SQL does not tell apart`,
        'Rename one of them.',
      );
    seen.set(name.toLowerCase(), name);
  }
}

/** A column of texts becomes numbers or booleans where all its values are such and lose nothing by it: `007` stays a text. */
async function inferTypes(database: Database): Promise<void> {
  for (const { name } of await database.columns('raw')) {
    if (name === '__source' || name === '__row') continue;
    const column = quote(name);
    const fits = await database.row<{ n: number; whole: number; number: number; boolean: number }>(
      `SELECT count(${column}) AS n,
         count(*) FILTER (regexp_full_match(${column}, '0|-?[1-9][0-9]{0,17}')) AS whole,
         count(*) FILTER (regexp_full_match(${column}, '-?(0|[1-9][0-9]{0,14})(\\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?')) AS number,
         count(*) FILTER (${column} IN ('true', 'false', 'True', 'False', 'TRUE', 'FALSE')) AS boolean
       FROM raw`,
    );
    const type =
      fits.n === 0
        ? undefined
        : fits.whole === fits.n
          ? 'BIGINT'
          : fits.number === fits.n
            ? 'DOUBLE'
            : fits.boolean === fits.n
              ? 'BOOLEAN'
              : undefined;
    if (type) await database.run(`ALTER TABLE raw ALTER COLUMN ${column} TYPE ${type}`);
  }
}

async function* jsonOf(files: Iterable<SourceFile>): AsyncGenerator<JsonOfFile> {
  for await (const { file, bytes } of wholeFiles(files)) yield { file, rows: readJson(bytes, file.source) };
}

async function* jsonLinesOf(files: Iterable<SourceFile>): AsyncGenerator<JsonOfFile> {
  for (const file of files) yield { file, rows: readJsonLines(bytesOf(file)) };
}

interface JsonOfFile {
  file: SourceFile;
  rows: AsyncIterable<JsonRow>;
}

/** DuckDB finds the types: over all rows, not a sample. */
async function loadJson({ database, rejected }: Loading, files: AsyncIterable<JsonOfFile>): Promise<void> {
  await database.run('CREATE TABLE lines (__source VARCHAR, __row BIGINT, json VARCHAR)');
  const lines = await database.append('lines', [VARCHAR, BIGINT, VARCHAR]);
  for await (const { file, rows } of files)
    for await (const row of rows) {
      if (row.problem !== undefined) rejected.add(file.source, row.row, row.problem, row.value);
      else lines.add(file.source, BigInt(row.row), row.json);
    }
  lines.close();
  const { structure } = await database.row<{ structure: string | null }>('SELECT json_group_structure(json::JSON) AS structure FROM lines');
  const found = structure?.startsWith('{') ? Object.entries(JSON.parse(structure) as Record<string, Structure>) : [];
  if (structure !== null && found.length === 0) throw new StepError('the JSON objects have no fields');
  refuseSameNames(
    found.map(([name]) => name),
    'the JSON objects',
  );
  const columns = Object.fromEntries(
    found.map(([name, type]) => [name, typeof type === 'string' ? (scalars[type] ?? type) : simplified(type)]),
  );
  const fields = found.length > 0 ? `, unnest(from_json(json::JSON, ${literal(JSON.stringify(columns))}))` : '';
  await database.run(`CREATE TABLE raw AS SELECT __source, __row${fields} FROM lines`);
  await database.run('DROP TABLE lines');
  for (const { name, type } of await database.columns('raw')) {
    if (type !== 'UBIGINT' && type !== 'HUGEINT') continue;
    const { fits } = await database.row<{ fits: boolean }>(
      `SELECT bool_and(try_cast(${quote(name)} AS BIGINT) IS NOT NULL OR ${quote(name)} IS NULL) AS fits FROM raw`,
    );
    // Parquet has no larger whole numbers: as texts they keep their digits.
    await database.run(`ALTER TABLE raw ALTER COLUMN ${quote(name)} TYPE ${fits ? 'BIGINT' : 'VARCHAR'}`);
  }
}

/** As DuckDB describes JSON: a type's name, a list's element in brackets, an object's fields. */
type Structure = string | [Structure] | { [field: string]: Structure };

/** Values of several types in one column, and nothing but nulls, are texts. */
const scalars: Record<string, string> = { JSON: 'VARCHAR', NULL: 'VARCHAR' };

/** Within lists and objects whole numbers have 64 bits. An object with hundreds of fields is a dictionary, and stays JSON. */
function simplified(type: Structure): Structure {
  if (typeof type === 'string') return { NULL: 'JSON', UBIGINT: 'BIGINT', HUGEINT: 'BIGINT' }[type] ?? type;
  if (Array.isArray(type)) return [simplified(type[0])];
  const fields = Object.entries(type);
  return fields.length > 200 ? 'JSON' : Object.fromEntries(fields.map(([name, field]) => [name, simplified(field)]));
}

async function loadParquet({ database, files }: Loading): Promise<void> {
  await database.run('CREATE TABLE sources (path VARCHAR, __source VARCHAR)');
  const sources = await database.append('sources', [VARCHAR, VARCHAR]);
  const paths: string[] = [];
  for (const { path, source } of files) {
    let columns: { name: string }[];
    try {
      columns = await database.columns(`read_parquet(${literal(path)})`);
    } catch (error) {
      if (error instanceof QueryError)
        throw new StepError(`${source}: cannot be read as Parquet: ${error.message.replaceAll(path, source)}`);
      throw error;
    }
    const taken = columns.find(({ name }) => OUR_COLUMNS.includes(name.toLowerCase()));
    if (taken)
      throw new StepError(`${source}: a column is called ${taken.name}, which is a name that reading it needs`, 'Rename that column.');
    sources.add(path, source);
    paths.push(literal(path));
  }
  sources.close();
  // Files may lack columns that others have, and have them in another order.
  await database.run(
    `CREATE TABLE raw AS SELECT __source, __row, data.* EXCLUDE (__row, __file, file_row_number)
     FROM (SELECT *, file_row_number + 1 AS __row
       FROM read_parquet([${paths.join(', ')}], union_by_name = true, hive_partitioning = false, filename = '__file', file_row_number = true)) AS data
     LEFT JOIN sources ON path = __file`,
  );
}

/** Names of columns that stand beside a Parquet file's own while it is read. */
const OUR_COLUMNS = ['__source', '__row', '__file', 'file_row_number'];

async function loadTexts({ database, files, rejected }: Loading): Promise<void> {
  const raw = await RawTable.create(database);
  await raw.place(['text', 'folder', 'path']);
  for await (const { file, bytes } of wholeFiles(files)) {
    if (isUtf8(bytes)) raw.add(file.source, 1, [bytes.toString().replace(/^\ufeff/, ''), basename(dirname(file.path)), file.source]);
    else rejected.add(file.source, 1, 'not UTF-8', bytes.toString());
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
