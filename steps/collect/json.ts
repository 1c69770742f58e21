/** The rows of a JSON file, each as the text it has there: numbers keep all their digits. */
import { isUtf8 } from 'node:buffer';
import { StepError } from '../../engine/step.ts';
import { byteOrderMark, linesOf } from './files.ts';

export type JsonRow =
  /** `row` is a line, or which element of the list it is. */
  { row: number; json: string; problem?: undefined } | { row: number; problem: string; value: string };

/** JSON lines: an object on each line; empty lines are passed over. */
export async function* readJsonLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<JsonRow> {
  for await (const { number, bytes } of linesOf(chunks)) if (!isBlank(bytes)) yield checked(number, bytes);
}

/** A list of objects, one object, or JSON lines. */
export async function* readJson(bytes: Buffer, source: string): AsyncGenerator<JsonRow> {
  if (bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
  const start = bytes.findIndex((byte) => !isSpace(byte));
  if (start < 0) return;
  if (bytes[start] === bracket) yield* elements(bytes, start, source);
  else if (!firstLineIsWhole(bytes)) yield checked(1, bytes);
  else {
    async function* whole() {
      yield bytes;
    }
    yield* readJsonLines(whole());
  }
}

const [bracket, closingBracket, brace, closingBrace, comma, quote, backslash] = [...'[]{},"\\'].map((character) =>
  character.charCodeAt(0),
) as [number, number, number, number, number, number, number];

const isSpace = (byte: number) => byte === 32 || byte === 10 || byte === 13 || byte === 9;

const isBlank = (bytes: Buffer) => bytes.every(isSpace);

/** Whether a row stands on the first line and more comes after it. */
function firstLineIsWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf(10);
  return end >= 0 && !isBlank(bytes.subarray(end)) && checked(1, bytes.subarray(0, end)).problem === undefined;
}

function checked(row: number, bytes: Buffer): JsonRow {
  const value = bytes.toString();
  if (!isUtf8(bytes)) return { row, problem: 'not UTF-8', value };
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch (error) {
    return { row, problem: `not JSON: ${(error as Error).message}`, value };
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { row, problem: 'not an object', value };
  // Half a surrogate pair is no character, and cannot be stored as UTF-8.
  if (/\\ud[89a-f]/i.test(value) && HALF_PAIR.test(JSON.stringify(parsed))) return { row, problem: 'half a surrogate pair', value };
  return { row, json: value };
}

/** JSON.stringify escapes one; a backslash of the text itself, as in a text about escapes, is two. */
const HALF_PAIR = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** Finds where each element of a list ends by counting brackets, then parses it alone: the list may be longer than a string can be. */
function* elements(bytes: Buffer, start: number, source: string): Generator<JsonRow> {
  const broken = (at: number, what: string) => {
    let line = 1;
    for (let i = bytes.indexOf(10); i >= 0 && i < at; i = bytes.indexOf(10, i + 1)) line++;
    return new StepError(`${source}:${line}: not JSON: ${what}`);
  };
  let at = start + 1;
  const skipSpace = () => {
    while (at < bytes.length && isSpace(bytes[at]!)) at++;
  };
  skipSpace();
  if (bytes[at] === closingBracket) return;
  for (let row = 1; ; row++) {
    const from = at;
    for (let depth = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === quote) {
        for (at++; at < bytes.length && bytes[at] !== quote; at++) if (bytes[at] === backslash) at++;
      } else if (byte === brace || byte === bracket) depth++;
      else if (depth > 0 && (byte === closingBrace || byte === closingBracket)) depth--;
      else if (depth === 0 && (byte === comma || byte === closingBracket)) break;
    }
    if (at >= bytes.length) throw broken(from, 'the list does not end');
    const element = checked(row, bytes.subarray(from, at));
    if (element.problem?.startsWith('not JSON')) throw broken(from, element.problem.slice('not JSON: '.length));
    yield element;
    const end = bytes[at++] === closingBracket;
    skipSpace();
    if (end && at < bytes.length) throw broken(at, 'something follows the list');
    if (end) return;
  }
}
