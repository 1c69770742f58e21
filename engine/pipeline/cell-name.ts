/** Canonical names of cells, unique for each matrix combination, and the file names made from them. */
import { createHash } from 'node:crypto';
import { inJson } from '../printable.ts';
import type { Json } from '../step.ts';

/** `train[batch_size=32,learning_rate=0.0001]`: sorted keys, and values that YAML reads back unchanged. */
export function cellName(step: string, matrix: Record<string, Json>): string {
  const keys = Object.keys(matrix).sort(compareBytes);
  return keys.length === 0 ? step : `${step}[${keys.map((key) => `${key}=${valueName(matrix[key]!)}`).join(',')}]`;
}

/** The parts of a cell's name; undefined if the text has another form. */
export function cellNameParts(name: string): { step: string; values: Map<string, string> } | undefined {
  const open = name.indexOf('[');
  if (open < 0) return { step: name, values: new Map() };
  if (open === 0 || !name.endsWith(']')) return undefined;
  const values = new Map<string, string>();
  for (const entry of entriesIn(name.slice(open + 1, -1))) {
    const [, key, value] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/s.exec(entry) ?? [];
    if (key === undefined || values.has(key)) return undefined;
    values.set(key, value!);
  }
  return { step: name.slice(0, open), values };
}

/** Splits at commas outside of quotes and brackets. */
function entriesIn(text: string): string[] {
  const entries: string[] = [];
  let [start, depth, quote] = [0, 0, ''];
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== '') {
      if (character === '\\' && quote === '"') at++;
      else if (character === quote) quote = '';
    } else if ((character === '"' || character === "'") && /[=,:[{\s]/.test(text[at - 1] ?? ',')) quote = character;
    else if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    else if (character === ',' && depth === 0) {
      entries.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...entries, text.slice(start)];
}

function valueName(value: Json): string {
  return typeof value === 'string' && isBare(value) ? value : inJson(canonicalJson(value));
}

/** A string that needs no quotes, because YAML does not read it as a number, true, false or null. */
function isBare(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && !OTHER_TYPE.test(text);
}

/** YAML 1.2 core: null, booleans, integers, floats. */
const OTHER_TYPE =
  /^(null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?\d+|0o[0-7]+|0x[\da-fA-F]+|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;

/** The value that YAML reads a bare scalar as. A number that would lose digits or that JSON cannot hold stays text. */
export function coreScalar(text: string): string | number | boolean | null {
  if (!OTHER_TYPE.test(text)) return text;
  if (/^null$/i.test(text)) return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  return exactNumber(text) ?? text;
}

/** Parses a number (YAML 1.2 core); undefined if the text is no number or the number would lose digits. */
export function exactNumber(text: string): number | undefined {
  if (!/\d/.test(text) || !OTHER_TYPE.test(text)) return undefined;
  const value = Number(text.replace(/^\+/, ''));
  if (!Number.isFinite(value)) return undefined;
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  // Integers beyond 2^53 are rounded. A number with an exponent is approximate anyway, unless it has more digits than a double.
  return /^[-+]?[\d.]+[eE]/.test(text) && text.replace(/[eE].*|\D/g, '').length <= 15 ? value : undefined;
}

/** JSON with sorted keys, so that equal values have equal texts. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const keys = Object.keys(value).sort(compareBytes);
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key]!)}`).join(',')}}`;
}

/** Compares by UTF-8 bytes, which differs from JavaScript's order only for surrogate pairs. */
export function compareBytes(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

const SURROGATE = /[\ud800-\udfff]/;

/**
 * A key that is equal for names that some file system treats as one. macOS and Windows ignore case, and macOS ignores the
 * composition of Unicode characters. tunesmith refuses such pairs of names on every system.
 */
export function placeKey(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (/^[\x00-\x7f]*$/.test(name)) return name.toLowerCase();
  const capitals = [...name.normalize('NFD')].map((character) => {
    const capital = character.toUpperCase();
    return capital.length === character.length ? capital : character;
  });
  return capitals.join('').toLowerCase().normalize('NFD');
}

/** How two names with the same `placeKey` differ. */
export function onlyDiffer(a: string, b: string): string {
  return a.normalize('NFC') === b.normalize('NFC') ? 'look the same but consist of different Unicode characters' : 'differ only in case';
}

/** The name of a cell or pipeline as a file name: unchanged if that is safe, otherwise shortened and with a hash. */
export function fileName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._=,[\]{}@+-]/g, '_').replace(/^\.+/, '_');
  if (safe === name && name.length <= 200) return name;
  return `${safe.slice(0, 180)}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}
