/**
 * Reads the inputs in a file or on standard input, in order and without ever holding the whole of it: JSONL and CSV with
 * the fields that the task has (`text`, or `question` and `context`), or plain lines where a text is all it takes.
 */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import { finished } from 'node:stream/promises';
import { CsvError, parse } from 'csv-parse';
import { parse as parseAtOnce } from 'csv-parse/sync';
import { StepError } from '../../engine/step.ts';
import type { Input, TaskKind } from '../tasks/task.ts';

export type InputFormat = 'jsonl' | 'csv' | 'lines';

export interface InputOptions {
  /** By default the file's extension decides, then its content. */
  format?: InputFormat;
  /** What `text` is called: the column of CSV, the key of JSONL. */
  column?: string;
}

/**
 * Yields the inputs in small groups. A mistake in the file ends it with a StepError that names the line,
 * after all inputs before that line were handed out.
 * @param file a path, or `-` for standard input
 */
export async function* readInputs(
  file: string,
  fields: TaskKind['fields'],
  { format, column }: InputOptions = {},
): AsyncGenerator<Input[]> {
  const named = fields.map(({ name, optional }) => ({ name, key: (name === 'text' && column) || name, optional: optional ?? false }));
  if (column !== undefined && !fields.some(({ name }) => name === 'text'))
    throw new StepError('--column is for models that take a text', `This one takes ${fields.map(({ name }) => name).join(' and ')}.`);
  const source: Source = { name: file === '-' ? 'standard input' : file, fields: named };
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
  /** `key`: what the file calls it. */
  fields: { name: string; key: string; optional: boolean }[];
}

const required = ({ fields }: Source): string[] => fields.filter(({ optional }) => !optional).map(({ key }) => key);

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

function formatOf(file: string, head: string, source: Source): InputFormat {
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
        throw new StepError(`${source.name} holds one JSON array`, `Make it JSONL, one object a line: jq -c '.[]' ${source.name}`);
      return 'jsonl';
  }
  const firstLine = linesOf(head.trimStart())[0] ?? '';
  if (/^\{\s*("|\}|$)/.test(firstLine)) return 'jsonl';
  return delimiterOf(firstLine, source) === undefined ? 'lines' : 'csv';
}

/** Splits at \n and \r\n only: a U+2028 inside a JSON string or a text ends no line. The last line need not be closed. */
function linesOf(block: string): string[] {
  const lines = block.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/** Every line is a text, an empty one too. */
async function* readPlainLines(blocks: AsyncIterable<string>, source: Source): AsyncGenerator<Input[]> {
  const [key, ...others] = required(source);
  if (others.length > 0)
    throw new StepError(
      `${source.name} holds plain lines, and an input has ${[key, ...others].join(' and ')}`,
      `Give JSONL, an object a line: {${[key, ...others].map((each) => `"${each}": "…"`).join(', ')}}.`,
    );
  for await (const block of blocks) yield linesOf(block).map((text) => ({ text }));
}

/** One object a line. A blank line is nobody's row and is passed over, as readers of JSONL do. */
async function* readJsonLines(blocks: AsyncIterable<string>, source: Source): AsyncGenerator<Input[]> {
  let number = 0;
  for await (const block of blocks) {
    const inputs: Input[] = [];
    for (const line of linesOf(block)) {
      number++;
      if (line.trim() === '') continue;
      const problem = addInputOf(line, source, inputs);
      if (problem) {
        yield inputs;
        throw new StepError(`${source.name}:${number}: ${problem.message}`, problem.hint);
      }
    }
    yield inputs;
  }
}

function addInputOf(line: string, source: Source, inputs: Input[]): { message: string; hint?: string } | undefined {
  let row: unknown;
  try {
    row = JSON.parse(line);
  } catch (error) {
    return { message: `not JSON: ${(error as Error).message}`, hint: 'JSONL has one JSON object a line.' };
  }
  const example = `{${required(source)
    .map((key) => `"${key}": "…"`)
    .join(', ')}}`;
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    return { message: `expected an object such as ${example}, found ${kindOf(row)}` };
  const input: Input = {};
  for (const { name, key, optional } of source.fields) {
    const value = (row as Record<string, unknown>)[key];
    if (typeof value === 'string') input[name] = value;
    else if (optional && (value === undefined || value === null)) continue;
    else if (Object.hasOwn(row, key)) return { message: `"${key}" is ${kindOf(value)}, not a string` };
    else {
      const hint = name === 'text' ? 'Name another key with --column KEY.' : `A line is ${example}.`;
      return { message: `no "${key}" among ${Object.keys(row).join(', ') || 'no keys'}`, hint };
    }
  }
  inputs.push(input);
  return undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}

/** RFC 4180: quoted fields, doubled quotes, newlines within quotes. A row with too few or too many fields is a mistake, not an input. */
async function* readCsv(blocks: AsyncIterable<string>, source: Source, head: string): AsyncGenerator<Input[]> {
  const { name } = source;
  const firstLine = linesOf(head.trimStart())[0] ?? '';
  const delimiter = delimiterOf(firstLine, source);
  if (delimiter === undefined) {
    const present = fieldsOf(firstLine, ',');
    const names = firstLine.trim() === '' ? 'it is empty' : `it has ${present.join(', ')}`;
    const missing = required(source).find((key) => !present.includes(key)) ?? required(source)[0];
    throw new StepError(
      `${name}:1: no column "${missing}": ${names}`,
      required(source).length === 1 ? 'Name another column with --column COLUMN.' : `Name the columns ${required(source).join(' and ')}.`,
    );
  }
  // Inputs are taken as they are parsed: a row that cannot be read must not cost the rows before it.
  let inputs: Input[] = [];
  let places: [field: string, place: number][] | undefined;
  const parser = parse({
    delimiter,
    record_delimiter: ['\r\n', '\n'],
    skip_empty_lines: true,
    on_record(cells: string[]) {
      if (places === undefined) {
        places = source.fields.map(({ name, key }): [string, number] => [name, cells.indexOf(key)]).filter(([, place]) => place >= 0);
      } else inputs.push(Object.fromEntries(places.map(([field, place]) => [field, cells[place]!])));
      return null;
    },
  });
  parser.on('error', () => {}); // also reported by the call that caused it
  parser.resume();
  try {
    for await (const block of blocks) {
      await new Promise<void>((resolve, reject) => parser.write(block, (error) => (error ? reject(error) : resolve())));
      yield inputs;
      inputs = [];
    }
    await finished(parser.end());
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    yield inputs;
    const message = error.message.replace(/ (?:on|at) line \d+/, '');
    throw new StepError(`${name}:${error.lines}: ${message}`, 'Quote a field that holds the delimiter, a quote or a newline.');
  }
  yield inputs;
}

/** The delimiter that makes the wanted columns fields of the header. */
function delimiterOf(header: string, source: Source): string | undefined {
  return [',', '\t', ';', '|'].find((delimiter) => {
    const present = fieldsOf(header, delimiter);
    return required(source).every((key) => present.includes(key));
  });
}

function fieldsOf(line: string, delimiter: string): string[] {
  try {
    return (parseAtOnce(line, { delimiter }) as string[][])[0] ?? [];
  } catch {
    return [];
  }
}
