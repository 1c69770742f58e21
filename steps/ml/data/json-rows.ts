/** The rows of a JSON file, each as its original text, so that numbers keep all their digits. */

import { isUtf8 } from 'node:buffer';
import { StepError } from '../../../engine/contract/step.ts';
import { byteOrderMark, inOne, linesInGroups } from './encodings.ts';

export type JsonRow =
  /** `row` is the line, or the index of the element in the list. */
  { row: number; json: string; fields: Record<string, unknown>; problem?: undefined } | { row: number; problem: string; value: string };

/** JSON lines: an object on each line; empty lines are skipped. `encoding` is the declared one. */
export async function* readJsonLines(chunks: AsyncIterable<Buffer>, encoding?: string): AsyncGenerator<JsonRow[]> {
  for await (const lines of linesInGroups(chunks))
    yield lines.filter(({ bytes }) => !isBlank(bytes)).map(({ number, bytes }) => checked(number, bytes, encoding));
}

/** A list of objects, one object, or JSON lines. */
export async function* readJson(bytes: Buffer, source: string, encoding?: string): AsyncGenerator<JsonRow[]> {
  if (bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
  const start = bytes.findIndex((byte) => !isSpace(byte));
  if (start < 0) return;
  if (bytes[start] !== bracket) {
    if (firstLineIsWhole(bytes)) yield* readJsonLines(inOne(bytes), encoding);
    else yield [checked(1, bytes, encoding)];
    return;
  }
  let group: JsonRow[] = [];
  try {
    for (const row of elements(bytes, start, source, encoding)) {
      if (group.push(row) < 256) continue;
      yield group;
      group = [];
    }
  } catch (error) {
    yield group;
    throw error;
  }
  yield group;
}

const [bracket, closingBracket, brace, closingBrace, comma, quote, backslash] = [...'[]{},"\\'].map((character) =>
  character.charCodeAt(0),
) as [number, number, number, number, number, number, number];

const isSpace = (byte: number) => byte === 32 || byte === 10 || byte === 13 || byte === 9;

const isBlank = (bytes: Buffer) => bytes.every(isSpace);

/** Whether the first line is a whole row and more lines follow. */
function firstLineIsWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf(10);
  return end >= 0 && !isBlank(bytes.subarray(end)) && checked(1, bytes.subarray(0, end)).problem === undefined;
}

function checked(row: number, bytes: Buffer, encoding = 'UTF-8'): JsonRow {
  const value = bytes.toString();
  if (!isUtf8(bytes)) return { row, problem: `not ${encoding}`, value };
  if (tooDeep(bytes)) return { row, problem: `nested deeper than ${deepest} levels`, value };
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch (error) {
    return { row, problem: `not JSON: ${(error as Error).message}`, value };
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return { row, problem: 'not an object', value };
  // An unpaired surrogate is not a character and cannot be stored as UTF-8.
  if (/\\ud[89a-f]/i.test(value) && HALF_PAIR.test(JSON.stringify(parsed))) return { row, problem: 'half a surrogate pair', value };
  return { row, json: value, fields: parsed as Record<string, unknown> };
}

/** No data set nests its rows so deep, and the next reader is recursive. */
const deepest = 200;

function tooDeep(bytes: Buffer): boolean {
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === quote) at = closingQuote(bytes, at);
    else if (byte === brace || byte === bracket) {
      if (++depth > deepest) return true;
    } else if (byte === closingBrace || byte === closingBracket) depth--;
  }
  return false;
}

/** The end of the string that opens at `open`; the end of `bytes` if it is not closed. */
function closingQuote(bytes: Buffer, open: number): number {
  for (let at = bytes.indexOf(quote, open + 1); at >= 0; at = bytes.indexOf(quote, at + 1)) {
    let backslashes = 0;
    while (bytes[at - 1 - backslashes] === backslash) backslashes++;
    if (backslashes % 2 === 0) return at;
  }
  return bytes.length;
}

/** JSON.stringify escapes an unpaired surrogate with one backslash; a backslash of the text itself becomes two. */
const HALF_PAIR = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** Finds the end of each element of a list by counting brackets, then parses it alone: the list may be longer than a string can be. */
function* elements(bytes: Buffer, start: number, source: string, encoding?: string): Generator<JsonRow> {
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
      if (byte === quote) at = closingQuote(bytes, at);
      else if (byte === brace || byte === bracket) depth++;
      else if (depth > 0 && (byte === closingBrace || byte === closingBracket)) depth--;
      else if (depth === 0 && (byte === comma || byte === closingBracket)) break;
    }
    if (at >= bytes.length) throw broken(from, 'the list does not end');
    const element = checked(row, bytes.subarray(from, at), encoding);
    if (element.problem?.startsWith('not JSON')) throw broken(from, element.problem.slice('not JSON: '.length));
    yield element;
    const end = bytes[at++] === closingBracket;
    skipSpace();
    if (end && at < bytes.length) throw broken(at, 'more follows after the list');
    if (end) return;
  }
}

/*
 * Finds which kinds of values the fields of JSON rows contain, and whether their numbers print back exactly as
 * written. A number that does not, such as 1.10 or 1e5, is put in quotes, so that the next reader keeps its digits.
 */

/** Kinds of values, as bits. */
export const KIND = {
  /** An integer of 64 bits. */
  whole: 1,
  /** A number that a DOUBLE prints as it is written. */
  fraction: 2,
  /** A number whose notation no type keeps. */
  odd: 4,
  text: 8,
  boolean: 16,
  list: 32,
  object: 64,
} as const;

interface LettersFound {
  /** Bits of KIND. */
  kinds: number;
  /** The first value of each kind, with its place; long ones are truncated. */
  examples: Map<number, { letters: string; source: string; row: number }>;
}

/** By path, as made by `pathOf`. */
export type FieldsFound = Map<string, LettersFound>;

export const pathOf = (parent: string, key: string) => `${parent}\0.${key}`;

export const elementsOf = (parent: string) => `${parent}\0[]`;

/** An object or list that is open while a row is read. */
interface Open {
  path: string;
  list: boolean;
  /** The path of the next value. */
  next: string;
  keyExpected: boolean;
  names: Set<string>;
}

/** The row with such numbers in quotes; or the name of a field that occurs twice or contains NUL, or a field of the row whose name is empty. `json` must be valid JSON. */
export function readLetters(
  json: string,
  found: FieldsFound,
  place: { source: string; row: number },
): { json: string } | { twice: string } | { nul: string } | { unnamed: true } {
  const open: Open[] = [{ path: '', list: false, next: '', keyExpected: false, names: new Set() }];
  const parts: string[] = [];
  let copied = 0;
  const see = (kind: number, from: number, end?: number) => {
    const { next } = open.at(-1)!;
    let field = found.get(next);
    if (!field) {
      field = { kinds: 0, examples: new Map() };
      found.set(next, field);
    }
    if (field.kinds & kind) return;
    field.kinds |= kind;
    field.examples.set(kind, { letters: json.slice(from, end ?? bracketAfter(json, from) + 1), ...place });
  };
  for (let at = 0; at < json.length; at++) {
    const frame = open.at(-1)!;
    const character = json[at]!;
    if (character === '"') {
      const end = quoteAfter(json, at);
      if (frame.keyExpected) {
        const name = JSON.parse(json.slice(at, end + 1)) as string;
        if (frame.names.has(name)) return { twice: name };
        if (name.includes('\0')) return { nul: name };
        if (name === '' && open.length === 2) return { unnamed: true };
        frame.names.add(name);
        frame.next = pathOf(frame.path, name);
        frame.keyExpected = false;
      } else see(KIND.text, at, end + 1);
      at = end;
    } else if (character === '{' || character === '[') {
      const list = character === '[';
      if (open.length > 1) see(list ? KIND.list : KIND.object, at);
      const path = frame.next;
      open.push({ path, list, next: list ? elementsOf(path) : '', keyExpected: !list, names: new Set() });
    } else if (character === '}' || character === ']') open.pop();
    else if (character === ',') frame.keyExpected = !frame.list;
    else if (character === 't' || character === 'f' || character === 'n') {
      const end = at + (character === 'f' ? 5 : 4);
      if (character !== 'n') see(KIND.boolean, at, end);
      at = end - 1;
    } else if (character === '-' || (character >= '0' && character <= '9')) {
      NUMBER.lastIndex = at;
      const [letters] = NUMBER.exec(json)!;
      const kind = kindOf(letters);
      see(kind, at, at + letters.length);
      if (kind === KIND.odd || /e/i.test(letters)) {
        parts.push(json.slice(copied, at), '"', letters, '"');
        copied = at + letters.length;
      }
      at += letters.length - 1;
    }
  }
  return { json: copied === 0 ? json : parts.join('') + json.slice(copied) };
}

const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/y;

function quoteAfter(json: string, open: number): number {
  for (let at = json.indexOf('"', open + 1); ; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

function bracketAfter(json: string, open: number): number {
  let depth = 0;
  for (let at = open; ; at++) {
    const character = json[at]!;
    if (character === '"') at = quoteAfter(json, at);
    else if (character === '{' || character === '[') depth++;
    else if ((character === '}' || character === ']') && --depth === 0) return at;
  }
}

function kindOf(letters: string): number {
  if (/^-?\d+$/.test(letters)) return letters !== '-0' && BigInt.asIntN(64, BigInt(letters)) === BigInt(letters) ? KIND.whole : KIND.odd;
  return printed(Number(letters)) === letters ? KIND.fraction : KIND.odd;
}

/** A DOUBLE as DuckDB and Python print it: 1.0, 2.5, 1e-05, 1e+16. */
export function printed(value: number): string {
  const [digits, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  if (power < -4 || power >= 16) return `${digits}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
