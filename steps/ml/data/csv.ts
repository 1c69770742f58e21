/**
 * CSV as in RFC 4180, read record by record from a stream of UTF-8, with the line of each record. A malformed record
 * is reported, and reading continues at the line after its first line. Separator and line ending are detected at the
 * beginning of the file.
 */

import { isUtf8 } from 'node:buffer';
import { StepError } from '../../../engine/contract/step.ts';
import { byteOrderMark } from './encodings.ts';

export type CsvRecord =
  /** An empty field is null unless it is quoted. */
  { line: number; fields: (string | null)[]; problem?: undefined } | { line: number; problem: string; value: string };

interface CsvOptions {
  /** For messages. */
  source: string;
  /** One ASCII character. Default: detected at the beginning of the file. */
  delimiter?: string | undefined;
  /** Whether a header contains the expected columns, which decides if several separators are possible. */
  wanted?: (names: (string | null)[]) => boolean;
  /** The declared encoding, for messages about bytes that are not UTF-8. */
  encoding?: string;
}

interface Csv {
  delimiter: string;
  /** As many at once as are available. The header is the first. */
  records: AsyncGenerator<CsvRecord[]>;
}

/** Reads as far as needed to detect the separator; the rest is read as `records` are taken. */
export async function openCsv(chunks: AsyncIterable<Buffer>, options: CsvOptions): Promise<Csv> {
  const iterator = chunks[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  let ended = false;
  const more = async () => {
    const { value, done } = await iterator.next();
    if (done) ended = true;
    else head = head.length > 0 ? Buffer.concat([head, value]) : value;
  };
  while (!ended && (head.length < 3 || !lineEnds(head))) await more();
  const start = head.subarray(0, 3).equals(byteOrderMark) ? 3 : 0;
  const said = saidDelimiter.exec(head.toString('latin1', start, start + 20));
  const begin = start + (said ? said[0].length : 0);
  const carriage = linesEndInCarriageReturn(head.subarray(begin));
  let delimiter = options.delimiter ?? said?.[1];
  while (delimiter === undefined) {
    const likely = likelyDelimiters(head.subarray(begin), { ...options, carriage, last: ended });
    if (likely.length === 1) delimiter = likely[0];
    else if (ended || head.length > 2 ** 20)
      throw new StepError(
        `${options.source}: the header can be separated by ${likely.map((one) => JSON.stringify(one)).join(' or by ')}, and the rows do not decide`,
        'Set `delimiter`.',
      );
    else await more();
  }
  const rest = head.subarray(begin);
  async function* all() {
    yield rest;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
  }
  // TSV is mostly written without quoting: the quotes of a malformed record are taken literally.
  const dialect = { separator: delimiter.charCodeAt(0), carriage, lenient: delimiter === '\t', encoding: options.encoding ?? 'UTF-8' };
  return { delimiter, records: readRecords(all(), dialect, said ? 2 : 1) };
}

/** Excel writes and reads this line before the header. */
const saidDelimiter = /^"?sep=([^\r\n"])"?(?:\r\n|\n|\r)/i;

/** Whether a line certainly ends there; a carriage return at the very end may be half of a line break. */
function lineEnds(head: Buffer): boolean {
  const carriage = head.indexOf(carriageReturn);
  return head.includes(newline) || (carriage >= 0 && carriage < head.length - 1);
}

/** Old Macs and Excel's "CSV (Macintosh)" end lines with a carriage return alone. The first line break outside quotes decides. */
function linesEndInCarriageReturn(head: Buffer): boolean {
  let quoted = false;
  for (const [at, byte] of head.entries()) {
    if (byte === quote) quoted = !quoted;
    else if (!quoted && byte === newline) return false;
    else if (!quoted && byte === carriageReturn) return head[at + 1] !== newline;
  }
  return false;
}

interface Dialect {
  separator: number;
  /** Lines may end with a carriage return alone. */
  carriage: boolean;
  lenient: boolean;
  encoding: string;
}

async function* readRecords(chunks: AsyncIterable<Buffer>, dialect: Dialect, line: number): AsyncGenerator<CsvRecord[]> {
  let buffer: Buffer = Buffer.alloc(0);
  let waiting: Buffer[] = [];
  let bytes = 0;
  async function* withEnd() {
    yield* chunks;
    yield undefined;
  }
  for await (const chunk of withEnd()) {
    const last = chunk === undefined;
    if (chunk) {
      waiting.push(chunk);
      bytes += chunk.length;
    }
    // A long record is scanned again only after as much more of it has arrived, so that the time stays linear.
    if (!last && buffer.length > 2 ** 16 && bytes < buffer.length) continue;
    buffer = waiting.length === 1 && buffer.length === 0 ? waiting[0]! : Buffer.concat([buffer, ...waiting]);
    waiting = [];
    bytes = 0;
    let position = 0;
    const records: CsvRecord[] = [];
    while (position < buffer.length) {
      const record = readRecord(buffer, position, dialect, last);
      if (!record) break;
      if (record.problem !== undefined) records.push({ line, problem: record.problem, value: record.value });
      else if (!record.blank) records.push({ line, fields: record.fields });
      line += lineBreaks(buffer, position, record.end, dialect);
      position = record.end;
    }
    buffer = buffer.subarray(position);
    if (records.length > 0) yield records;
  }
}

/** The bytes of a line, without the line break. */
const newline = 10;
const [carriageReturn, quote] = [13, 34];

function lineBreaks(buffer: Buffer, start: number, end: number, { carriage }: Dialect): number {
  let count = 0;
  for (let i = buffer.indexOf(newline, start); i >= 0 && i < end; i = buffer.indexOf(newline, i + 1)) count++;
  if (carriage)
    for (let i = buffer.indexOf(carriageReturn, start); i >= 0 && i < end; i = buffer.indexOf(carriageReturn, i + 1))
      if (buffer[i + 1] !== newline) count++;
  return count;
}

/** A longer quoted field was never closed; a string could not hold it. */
const longestField = 2 ** 28;

type Parsed =
  | { end: number; problem?: undefined; fields: (string | null)[]; blank: boolean }
  | { end: number; problem: string; value: string };

/** Undefined if the record may continue in bytes that are not read yet. */
function readRecord(buffer: Buffer, start: number, dialect: Dialect, last: boolean, quoting = true): Parsed | undefined {
  const { separator, carriage, lenient, encoding } = dialect;
  const fields: (string | null)[] = [];
  const endsLine = (byte: number | undefined) => byte === newline || (carriage && byte === carriageReturn);
  const malformed = (problem: string): Parsed | undefined => {
    const lineEnd = carriage ? buffer.subarray(start).findIndex(endsLine) : buffer.subarray(start).indexOf(newline);
    if (lineEnd < 0 && !last) return undefined;
    const end = lineEnd < 0 ? buffer.length : start + lineEnd + 1;
    return lenient && quoting
      ? readRecord(buffer, start, dialect, last, false)
      : { end, problem, value: buffer.toString('utf8', start, end).trimEnd() };
  };
  for (let at = start; ; ) {
    let end: number;
    if (quoting && buffer[at] === quote) {
      let close = at + 1;
      for (;;) {
        while (close < buffer.length && buffer[close] !== quote) close++;
        if (close === buffer.length && !last && close - at < longestField) return undefined;
        if (close === buffer.length) return malformed('a quote is not closed');
        if (close + 2 >= buffer.length && !last) return undefined;
        if (buffer[close + 1] !== quote) break;
        close += 2;
      }
      end = close + 1;
      if (!carriage && buffer[end] === carriageReturn && (end + 1 === buffer.length || buffer[end + 1] === newline)) end++;
      if (end < buffer.length && buffer[end] !== separator && !endsLine(buffer[end])) return malformed('text follows a closing quote');
      fields.push(buffer.toString('utf8', at + 1, close).replaceAll('""', '"'));
    } else {
      end = at;
      while (end < buffer.length && buffer[end] !== separator && !endsLine(buffer[end])) end++;
      if (end === buffer.length && !last) return undefined;
      const stop = buffer[end] !== separator && buffer[end - 1] === carriageReturn && end > at ? end - 1 : end;
      fields.push(stop === at ? null : buffer.toString('utf8', at, stop));
    }
    if (buffer[end] === separator && end < buffer.length) {
      at = end + 1;
      continue;
    }
    if (!isUtf8(buffer.subarray(start, end))) return malformed(`not ${encoding}`);
    return { end: Math.min(end + 1, buffer.length), fields, blank: fields.length === 1 && fields[0] === null };
  }
}

const usual = [',', '\t', ';', '|'];

/** The separators of the header with which most records have as many fields; several if they tie. */
function likelyDelimiters(head: Buffer, { wanted, carriage, last }: CsvOptions & { carriage: boolean; last: boolean }): string[] {
  const readings = usual.map((delimiter) => {
    const dialect = { separator: delimiter.charCodeAt(0), carriage, lenient: delimiter === '\t', encoding: 'UTF-8' };
    const [header, ...records] = firstRecords(head, dialect, last);
    const names = header?.problem === undefined ? (header?.fields ?? []) : [];
    const alike = records.filter((record) => record.problem === undefined && record.fields.length === names.length).length;
    return {
      delimiter,
      names,
      likelihood:
        (wanted?.(names) ? 2 : 0) +
        (names.some((name) => name?.includes('"')) ? -1 : 0) +
        (records.length > 0 ? alike / records.length : 0),
    };
  });
  const parting = readings.filter(({ names }) => names.length > 1);
  const best = Math.max(...parting.map(({ likelihood }) => likelihood));
  return parting.length === 0 ? [','] : parting.filter(({ likelihood }) => likelihood === best).map(({ delimiter }) => delimiter);
}

/** Enough records to see whether they agree. */
function firstRecords(head: Buffer, dialect: Dialect, last: boolean): Parsed[] {
  const records: Parsed[] = [];
  for (let position = 0; position < head.length && records.length < 100; ) {
    const record = readRecord(head, position, dialect, last);
    if (!record) break;
    if (record.problem !== undefined || !record.blank) records.push(record);
    position = record.end;
  }
  return records;
}
