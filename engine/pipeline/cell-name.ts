/** Names of cells: canonical, so that no two points of a matrix share one; and file names made from them. */
import { createHash } from 'node:crypto';
import type { Json } from '../step.ts';

/** `train[batch_size=32,learning_rate=0.0001]`: keys sorted, values as YAML would read them back. */
export function cellName(step: string, matrix: Record<string, Json>): string {
  const keys = Object.keys(matrix).sort(compareBytes);
  return keys.length === 0 ? step : `${step}[${keys.map((key) => `${key}=${valueName(matrix[key]!)}`).join(',')}]`;
}

function valueName(value: Json): string {
  return typeof value === 'string' && isBare(value) ? value : canonicalJson(value);
}

/** A string that needs no quotes: nobody could take it for a number, true, false or null. */
function isBare(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && !OTHER_TYPE.test(text);
}

/** YAML 1.2 core: null, booleans, integers, floats. */
const OTHER_TYPE =
  /^(null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?\d+|0o[0-7]+|0x[\da-fA-F]+|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;

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

/** A cell's (or pipeline's) name as the name of a file or folder: as it is where that is safe, else cut and told apart by a hash. */
export function fileName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._=,[\]{}@+-]/g, '_').replace(/^\.+/, '_');
  if (safe === name && name.length <= 200) return name;
  return `${safe.slice(0, 180)}-${createHash('sha256').update(name).digest('hex').slice(0, 12)}`;
}
