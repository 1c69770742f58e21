/**
 * Reads the texts of a file or of standard input, in order and without ever holding the whole of it:
 * JSONL and CSV (the column `text`, or another one by name), or plain lines.
 */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import { finished } from 'node:stream/promises';
import { CsvError, parse } from 'csv-parse';
import { parse as parseAtOnce } from 'csv-parse/sync';
import { StepError } from '../../engine/step.ts';

export type TextFormat = 'jsonl' | 'csv' | 'lines';

export const textFormats: TextFormat[] = ['jsonl', 'csv', 'lines'];

export interface TextOptions {
  /** By default the file's extension decides, then its content. */
  format?: TextFormat;
  /** The column of CSV, the key of JSONL. */
  column?: string;
}

/**
 * Yields the texts in small groups. A mistake in the file ends it with a StepError that names the line,
 * after all texts before that line were handed out.
 * @param file a path, or `-` for standard input
 */
export async function* readTexts(file: string, { format, column = 'text' }: TextOptions = {}): AsyncGenerator<string[]> {
  const source: Source = { name: file === '-' ? 'standard input' : file, column };
  const blocks = decode(file === '-' ? process.stdin : createReadStream(file, { highWaterMark: 1 << 18 }), source.name);
  const head = (await blocks.next()).value ?? '';
  async function* all() {
    yield head;
    yield* blocks;
  }
  const read = { jsonl: readJsonLines, csv: readCsv, lines: readPlainLines }[format ?? formatOf(file, head, source)];
  yield* read(all(), source, head);
}

interface Source {
  /** As messages call it. */
  name: string;
  column: string;
}

/** Bytes to text, in blocks of whole lines. Anything but UTF-8 is refused: replacing what cannot be read would change what is classified. */
async function* decode(bytes: AsyncIterable<Buffer>, name: string): AsyncGenerator<string> {
  let lines = 0;
  let unfinished: Buffer[] = [];
  function* block(whole: Buffer): Generator<string> {
    const good = isUtf8(whole) ? whole : whole.subarray(0, endOfReadableLines(whole));
    if (good.length > 0) yield lines === 0 ? withoutMark(good.toString()) : good.toString();
    for (const byte of good) if (byte === newline) lines++;
    if (good !== whole) throw new StepError(`${name}:${lines + 1}: not UTF-8`, 'Convert it first: iconv -f latin1 -t utf-8 …');
  }
  try {
    for await (const chunk of bytes) {
      const end = chunk.lastIndexOf(newline) + 1;
      if (end > 0) {
        yield* block(Buffer.concat([...unfinished, chunk.subarray(0, end)]));
        unfinished = [];
      }
      if (end < chunk.length) unfinished.push(chunk.subarray(end));
    }
    yield* block(Buffer.concat(unfinished));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new StepError(`${name} does not exist`, 'Give a file, or - for standard input.');
    if (code === 'EISDIR') throw new StepError(`${name} is a folder`, 'Give a file, or - for standard input.');
    if (code === 'EACCES' || code === 'EPERM') throw new StepError(`${name} cannot be read: permission denied`);
    throw error;
  }
}

const newline = 0x0a;

function endOfReadableLines(bytes: Buffer): number {
  let start = 0;
  for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
    if (!isUtf8(bytes.subarray(start, end))) break;
    start = end + 1;
  }
  return start;
}

function withoutMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

function formatOf(file: string, head: string, { name, column }: Source): TextFormat {
  switch (extname(file).toLowerCase()) {
    case '.jsonl':
    case '.ndjson':
      return 'jsonl';
    case '.csv':
    case '.tsv':
      return 'csv';
    case '.txt':
      return 'lines';
    case '.json':
      if (head.trimStart().startsWith('['))
        throw new StepError(`${name} holds one JSON array`, `Make it JSONL, one object a line: jq -c '.[]' ${name}`);
      return 'jsonl';
  }
  const firstLine = linesOf(head.trimStart())[0] ?? '';
  if (/^\{\s*("|\}|$)/.test(firstLine)) return 'jsonl';
  return delimiterOf(firstLine, column) === undefined ? 'lines' : 'csv';
}

/** Splits at \n and \r\n only: a U+2028 inside a JSON string or a text ends no line. The last line need not be closed. */
function linesOf(block: string): string[] {
  const lines = block.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/** Every line is a text, an empty one too. */
async function* readPlainLines(blocks: AsyncIterable<string>): AsyncGenerator<string[]> {
  for await (const block of blocks) yield linesOf(block);
}

/** One object a line. A blank line is nobody's row and is passed over, as readers of JSONL do. */
async function* readJsonLines(blocks: AsyncIterable<string>, { name, column }: Source): AsyncGenerator<string[]> {
  let number = 0;
  for await (const block of blocks) {
    const texts: string[] = [];
    for (const line of linesOf(block)) {
      number++;
      if (line.trim() === '') continue;
      const problem = addTextOf(line, column, texts);
      if (problem) {
        yield texts;
        throw new StepError(`${name}:${number}: ${problem.message}`, problem.hint);
      }
    }
    yield texts;
  }
}

function addTextOf(line: string, column: string, texts: string[]): { message: string; hint?: string } | undefined {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (error) {
    return { message: `not JSON: ${(error as Error).message}`, hint: 'JSONL has one JSON object a line.' };
  }
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    return { message: `expected an object such as {"${column}": "…"}, found ${kindOf(row)}` };
  const text = (row as Record<string, unknown>)[column];
  if (typeof text === 'string') {
    texts.push(text);
    return undefined;
  }
  if (Object.hasOwn(row, column)) return { message: `"${column}" is ${kindOf(text)}, not a string` };
  return { message: `no "${column}" among ${Object.keys(row).join(', ') || 'no keys'}`, hint: 'Name another key with --column KEY.' };
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** RFC 4180: quoted fields, doubled quotes, newlines within quotes. A row with too few or too many fields is a mistake, not a text. */
async function* readCsv(blocks: AsyncIterable<string>, { name, column }: Source, head: string): AsyncGenerator<string[]> {
  const firstLine = linesOf(head.trimStart())[0] ?? '';
  const delimiter = delimiterOf(firstLine, column);
  if (delimiter === undefined) {
    const names = firstLine.trim() === '' ? 'it is empty' : `it has ${fieldsOf(firstLine, ',').join(', ')}`;
    throw new StepError(`${name}:1: no column "${column}": ${names}`, 'Name another column with --column COLUMN.');
  }
  // Texts are taken as they are parsed: a row that cannot be read must not cost the rows before it.
  let texts: string[] = [];
  let place: number | undefined;
  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n'],
    skip_empty_lines: true,
    on_record(fields: string[]) {
      if (place === undefined) place = fields.indexOf(column);
      else texts.push(fields[place]!);
      return null;
    },
  });
  parser.on('error', () => {}); // also reported by the call that caused it
  parser.resume();
  try {
    for await (const block of blocks) {
      await new Promise<void>((resolve, reject) => parser.write(block, (error) => (error ? reject(error) : resolve())));
      yield texts;
      texts = [];
    }
    await finished(parser.end());
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    yield texts;
    const message = error.message.replace(/ (?:on|at) line \d+/, '');
    throw new StepError(`${name}:${error.lines}: ${message}`, 'Quote a field that holds the delimiter, a quote or a newline.');
  }
  yield texts;
}

/** The delimiter that makes the wanted column one of the header's fields. */
function delimiterOf(header: string, column: string): string | undefined {
  return [',', '\t', ';', '|'].find((delimiter) => fieldsOf(header, delimiter).includes(column));
}

function fieldsOf(line: string, delimiter: string): string[] {
  try {
    return (parseAtOnce(line, { delimiter }) as string[][])[0] ?? [];
  } catch {
    return [];
  }
}
