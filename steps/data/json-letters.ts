/**
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

export interface Found {
  /** Bits of KIND. */
  kinds: number;
  /** The first value of each kind, with its place; long ones are truncated. */
  examples: Map<number, { letters: string; source: string; row: number }>;
}

/** By path, as made by `pathOf`. */
export type FieldsFound = Map<string, Found>;

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

/**
 * The row with such numbers in quotes; or the name of a field that occurs twice or contains NUL. `json` must be valid
 * JSON.
 */
export function readLetters(
  json: string,
  found: FieldsFound,
  place: { source: string; row: number },
): { json: string } | { twice: string } | { nul: string } {
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
    field.examples.set(kind, { letters: json.slice(from, end ?? closingBracket(json, from) + 1), ...place });
  };
  for (let at = 0; at < json.length; at++) {
    const frame = open.at(-1)!;
    const character = json[at]!;
    if (character === '"') {
      const end = closingQuote(json, at);
      if (frame.keyExpected) {
        const name = JSON.parse(json.slice(at, end + 1)) as string;
        if (frame.names.has(name)) return { twice: name };
        if (name.includes('\0')) return { nul: name };
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

function closingQuote(json: string, open: number): number {
  for (let at = json.indexOf('"', open + 1); ; at = json.indexOf('"', at + 1)) {
    let backslashes = 0;
    while (json[at - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return at;
  }
}

function closingBracket(json: string, open: number): number {
  let depth = 0;
  for (let at = open; ; at++) {
    const character = json[at]!;
    if (character === '"') at = closingQuote(json, at);
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
