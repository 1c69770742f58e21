/** Names of cells: canonical, so that no two points of a matrix share one; and file names made from them. */
import { createHash } from 'node:crypto';
import { inJson } from '../printable.ts';
import type { Json } from '../step.ts';

/** `train[batch_size=32,learning_rate=0.0001]`: keys sorted, values as YAML would read them back. */
export function cellName(step: string, matrix: Record<string, Json>): string {
  const keys = Object.keys(matrix).sort(compareBytes);
  return keys.length === 0 ? step : `${step}[${keys.map((key) => `${key}=${valueName(matrix[key]!)}`).join(',')}]`;
}

/** The parts of a cell's name, or of what a user wrote in its place; undefined where it has no such form. */
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

/** Split at the commas that stand in no quotes and no brackets. */
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

/** A string that needs no quotes: nobody could take it for a number, true, false or null. */
function isBare(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && !OTHER_TYPE.test(text);
}

/** YAML 1.2 core: null, booleans, integers, floats. */
const OTHER_TYPE =
  /^(null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?\d+|0o[0-7]+|0x[\da-fA-F]+|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;

/** What YAML takes a bare scalar for. A number that would lose digits or that JSON cannot hold stays text. */
export function coreScalar(text: string): string | number | boolean | null {
  if (!OTHER_TYPE.test(text)) return text;
  if (/^null$/i.test(text)) return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  return exactNumber(text) ?? text;
}

/** The number that a text writes (YAML 1.2 core); undefined where it is none, or where its digits would be lost. */
export function exactNumber(text: string): number | undefined {
  if (!/\d/.test(text) || !OTHER_TYPE.test(text)) return undefined;
  const value = Number(text.replace(/^\+/, ''));
  if (!Number.isFinite(value)) return undefined;
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  // Beyond 2^53 an integer is rounded. What is written with an exponent is meant as an approximate number, unless it has more digits.
  return /^[-+]?[\d.]+[eE]/.test(text) && text.replace(/[eE].*|\D/g, '').length <= 15 ? value : undefined;
}

/** JSON with sorted keys: equal values, equal text. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const keys = Object.keys(value).sort(compareBytes);
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key]!)}`).join(',')}}`;
}

/** The order of the bytes in UTF-8; only surrogate pairs sort otherwise in JavaScript. */
export function compareBytes(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : a > b ? 1 : 0;
}

const SURROGATE = /[\ud800-\udfff]/;

/**
 * What file systems may take for the same name: macOS and Windows tell no capitals from small letters, and macOS no
 * composed characters from decomposed ones. Names that share a place there are refused everywhere.
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

/** In what two names with the same `placeKey` differ. */
export function onlyDiffer(a: string, b: string): string {
  return a.normalize('NFC') === b.normalize('NFC') ? 'look the same, but are written with other characters' : 'differ only in case';
}

/** A cell's (or pipeline's) name as the name of a file or folder: as it is where that is safe, else cut and told apart by a hash. */
export function fileName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._=,[\]{}@+-]/g, '_').replace(/^\.+/, '_');
  if (safe === name && name.length <= 200) return name;
  return `${safe.slice(0, 180)}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}
