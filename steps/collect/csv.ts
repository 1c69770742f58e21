/**
 * CSV as RFC 4180 has it, read record by record from a stream of bytes, with the line of each record.
 * A record that is not well-formed is reported, and reading goes on at the line after its first.
 */
import { isUtf8 } from 'node:buffer';

export type CsvRecord =
  /** An empty field is null unless it is quoted. */
  { line: number; fields: (string | null)[]; problem?: undefined } | { line: number; problem: string; value: string };

export interface CsvOptions {
  /** One ASCII character. */
  delimiter: string;
  /** Take the quotes of a record that is not well-formed as they stand: TSV is mostly written without quoting. */
  lenient?: boolean;
}

export async function* readCsv(chunks: AsyncIterable<Buffer>, { delimiter, lenient = false }: CsvOptions): AsyncGenerator<CsvRecord> {
  const separator = delimiter.charCodeAt(0);
  let buffer: Buffer = Buffer.alloc(0);
  let line = 1;
  async function* withEnd() {
    yield* chunks;
    yield undefined;
  }
  for await (const chunk of withEnd()) {
    const last = chunk === undefined;
    if (chunk) buffer = buffer.length > 0 ? Buffer.concat([buffer, chunk]) : chunk;
    let position = line === 1 && buffer.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
    while (position < buffer.length) {
      const record = readRecord(buffer, position, separator, last, lenient);
      if (!record) break;
      if (record.problem !== undefined) yield { line, problem: record.problem, value: record.value };
      else if (!record.blank) yield { line, fields: record.fields };
      for (let i = buffer.indexOf(newline, position); i >= 0 && i < record.end; i = buffer.indexOf(newline, i + 1)) line++;
      position = record.end;
    }
    buffer = buffer.subarray(position);
  }
}

/** The bytes before a line break, without one. */
const newline = 10;
const [carriageReturn, quote] = [13, 34];
const byteOrderMark = Buffer.from('\ufeff');

/** A quoted field longer than this was never closed. */
const longestField = 2 ** 26;

type Parsed =
  | { end: number; problem?: undefined; fields: (string | null)[]; blank: boolean }
  | { end: number; problem: string; value: string };

/** Nothing when the record may go on in what was not read yet. */
function readRecord(buffer: Buffer, start: number, separator: number, last: boolean, lenient: boolean, quoting = true): Parsed | undefined {
  const fields: (string | null)[] = [];
  const malformed = (problem: string): Parsed | undefined => {
    const lineEnd = buffer.indexOf(newline, start);
    if (lineEnd < 0 && !last) return undefined;
    const end = lineEnd < 0 ? buffer.length : lineEnd + 1;
    return lenient && quoting
      ? readRecord(buffer, start, separator, last, lenient, false)
      : { end, problem, value: buffer.toString('utf8', start, end).trimEnd() };
  };
  for (let at = start; ; ) {
    let end: number;
    if (quoting && buffer[at] === quote) {
      let close = at + 1;
      for (;;) {
        close = buffer.indexOf(quote, close);
        if (close < 0 && !last && buffer.length - at < longestField) return undefined;
        if (close < 0) return malformed('a quote is not closed');
        if (close + 2 >= buffer.length && !last) return undefined;
        if (buffer[close + 1] !== quote) break;
        close += 2;
      }
      end = close + 1;
      if (buffer[end] === carriageReturn && (end + 1 === buffer.length || buffer[end + 1] === newline)) end++;
      if (end < buffer.length && buffer[end] !== separator && buffer[end] !== newline) return malformed('text follows a closing quote');
      fields.push(buffer.toString('utf8', at + 1, close).replaceAll('""', '"'));
    } else {
      end = at;
      while (end < buffer.length && buffer[end] !== separator && buffer[end] !== newline) end++;
      if (end === buffer.length && !last) return undefined;
      const stop = buffer[end] !== separator && buffer[end - 1] === carriageReturn && end > at ? end - 1 : end;
      fields.push(stop === at ? null : buffer.toString('utf8', at, stop));
    }
    if (buffer[end] === separator && end < buffer.length) {
      at = end + 1;
      continue;
    }
    if (!isUtf8(buffer.subarray(start, end))) return malformed('not UTF-8');
    return { end: Math.min(end + 1, buffer.length), fields, blank: fields.length === 1 && fields[0] === null };
  }
}
