/** Canonical names of cells, unique for each matrix combination, and the file names made from them. */

import { sha256 } from '../cache/digest.ts';
import { canonicalJson, compareBytes, type Json, OTHER_TYPE } from './format/scalars.ts';
import { inJson } from './format/terminal-text.ts';

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
  return `${safe.slice(0, 180)}-${sha256(name).slice(0, 12)}`;
}

/** The hint for such names. */
export const SHARED = 'macOS and Windows may treat them as the same name. Rename one of them.';
