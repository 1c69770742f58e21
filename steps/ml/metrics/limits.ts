/** Limits on figures, as users write them: `"<= 0.01"`, `">= 0.95"`. */

/** Matches a limit, for the schema of an option. */
export const LIMIT_PATTERN = '^\\s*(<=|>=|==|<|>)\\s*[-+]?(\\d+\\.?\\d*|\\.\\d+)([eE][-+]?\\d+)?\\s*$';

/** For the schema of an option, which then reports what it takes. */
export const LIMIT_TITLE = 'an operator (>=, >, <=, < or ==) and a number in quotation marks, such as ">= 0.95"';

interface Limit {
  sign: '<=' | '>=' | '==' | '<' | '>';
  bound: number;
}

/** @param text matches LIMIT_PATTERN */
export function parseLimit(text: string): Limit {
  const [, sign, bound] = /^\s*([<>=]=?)\s*(.*?)\s*$/.exec(text)!;
  return { sign: sign as Limit['sign'], bound: Number(bound) };
}

/** False for NaN. */
export function meets(value: number, text: string): boolean {
  const { sign, bound } = parseLimit(text);
  return { '<=': value <= bound, '>=': value >= bound, '==': value === bound, '<': value < bound, '>': value > bound }[sign];
}

/** Four digits, or as many as distinguish a value from `other`. */
export function distinct(value: number, other = value): string {
  const differ = (count: number) => Number(value.toPrecision(count)) !== Number(other.toPrecision(count));
  const needed = [4, 6, 8, 10, 12, 14].find((count) => value === other || differ(count)) ?? 17;
  return String(Number(value.toPrecision(needed)));
}

/** What is wrong with a figure that misses its limit. `why`: the reason for a value that is undefined. */
export function missedInWords(name: string, limit: string, value: number | null, why: string | undefined): string {
  if (value === null) return `${name} must be ${limit.trim()}, but is undefined: ${why}`;
  return `${name} is ${distinct(value, parseLimit(limit).bound)}, but must be ${limit.trim()}`;
}
