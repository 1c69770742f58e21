/** Scalars as YAML 1.2 reads them, and canonical JSON: equal values, equal text. */

/** YAML 1.2 core: null, booleans, integers, floats. */
export const OTHER_TYPE =
  /^(null|Null|NULL|true|True|TRUE|false|False|FALSE|[-+]?\d+|0o[0-7]+|0x[\da-fA-F]+|[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$/;

/** The value that YAML reads a bare scalar as. A number that would lose digits or that JSON cannot hold stays text. */
export function coreScalar(text: string): string | number | boolean | null {
  if (!OTHER_TYPE.test(text)) return text;
  if (/^null$/i.test(text)) return null;
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
  return exactNumber(text) ?? text;
}

/** Parses a number (YAML 1.2 core); undefined if the text is not a number or the number would lose digits. */
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

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
