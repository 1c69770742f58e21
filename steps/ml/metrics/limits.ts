/** Limits on figures, as users write them: `"<= 0.01"`, `">= 0.95"`. */

/** Matches a limit, for the schema of an option. */
export const LIMIT_PATTERN = '^\\s*(<=|>=|<|>)\\s*[-+]?(\\d+\\.?\\d*|\\.\\d+)([eE][-+]?\\d+)?\\s*$';

interface Limit {
  sign: '<=' | '>=' | '<' | '>';
  bound: number;
}

/** @param text matches LIMIT_PATTERN */
function parseLimit(text: string): Limit {
  const [, sign, bound] = /^\s*([<>]=?)\s*(.*?)\s*$/.exec(text)!;
  return { sign: sign as Limit['sign'], bound: Number(bound) };
}

/** False for NaN. */
export function meets(value: number, text: string): boolean {
  const { sign, bound } = parseLimit(text);
  return { '<=': value <= bound, '>=': value >= bound, '<': value < bound, '>': value > bound }[sign];
}
