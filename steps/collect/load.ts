/**
 * Fills the table `raw` from the files: `__source` and `__row` record where a row comes from, the other columns are
 * those of the files.
 */

import { isUtf8 } from 'node:buffer';
import { basename, dirname } from 'node:path';
import { BIGINT, VARCHAR } from '@duckdb/node-api';
import { StepError } from '../../engine/step.ts';
import { type CsvRecord, openCsv } from '../ml/data/csv.ts';
import { type Appender, type Database, quote } from '../ml/data/database.ts';
import { bytesOf, linesOf, refuseNul, refuseUtf16, type SourceFile, wholeFiles } from '../ml/data/encodings.ts';
import { decodeMail, isEnvelope } from '../ml/data/mail.ts';
import type { Format } from './files.ts';
import { loadJson, loadJsonLines } from './load-json.ts';
import { loadParquet } from './load-parquet.ts';
import { type Loading, noteMissing, refuseSameNames } from './loading.ts';

export const loaders: Record<Format, (loading: Loading) => Promise<void>> = {
  csv: (loading) => loadCsv(loading, loading.delimiter),
  tsv: (loading) => loadCsv(loading, '\t'),
  json: loadJson,
  jsonl: loadJsonLines,
  parquet: loadParquet,
  text: loadTexts,
  mail: loadMails,
};

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
  refuseSameNames(names, `${source}:${record.line}`);
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

/* Splits a file into mails: one, or as many as an mbox file contains. */

export async function* readMails(file: SourceFile): AsyncGenerator<{ row: number; bytes: Buffer }> {
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
