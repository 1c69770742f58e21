/** Replaces the expressions in a value by their values. */
import { type Expression, template } from './expression.ts';
import { copied, Literal, scalarText, type Tree } from './literal.ts';
import type { Path } from './source.ts';

/** A value that is unknown because of an error that has been reported already. */
export const UNKNOWN = Symbol('unknown');
export type Value = Tree | typeof UNKNOWN;

export interface Scope {
  /** The value of an expression at `path`. */
  look(expression: Expression, path: Path): Value;
  /** Reports an error in an expression. */
  wrong(expression: Expression, path: Path, message: string, hint: string): void;
}

/** A copy of `value` with resolved expressions. A single expression keeps the type of its value; inside text it becomes text. */
export function fill(value: Tree, path: Path, scope: Scope): Value {
  if (typeof value === 'string') return fillText(value, path, scope);
  if (Array.isArray(value)) {
    const items = value.map((item, i) => fill(item, [...path, i], scope));
    return items.includes(UNKNOWN) ? UNKNOWN : (items as Tree[]);
  }
  if (value === null || typeof value !== 'object' || value instanceof Literal) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, fill(item, [...path, key], scope)] as const);
  return entries.some(([, item]) => item === UNKNOWN) ? UNKNOWN : (Object.fromEntries(entries) as Tree);
}

function fillText(text: string, path: Path, scope: Scope): Value {
  const found = template(text);
  if (!found) return text;
  if (found.single) {
    const value = scope.look(found.single, path);
    return value === UNKNOWN ? value : copied(value);
  }
  let filled = '';
  let unknown = false;
  for (const part of found.parts) {
    const piece = typeof part === 'string' ? part : asText(part, path, scope);
    if (piece === UNKNOWN) unknown = true;
    else filled += piece as string;
  }
  return unknown ? UNKNOWN : filled;
}

/** A scalar as part of a longer text. */
export function asText(expression: Expression, path: Path, scope: Scope): string | typeof UNKNOWN {
  const value = scope.look(expression, path);
  if (value === UNKNOWN) return UNKNOWN;
  if (value === null || (typeof value === 'object' && !(value instanceof Literal))) {
    const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : 'a map';
    scope.wrong(expression, path, `${expression.source} is ${what}, which cannot be part of a text`, 'Use text, a number, true or false.');
    return UNKNOWN;
  }
  return scalarText(value);
}

/** Every expression in a value, with its position. */
export function expressionsIn(value: Tree, path: Path): [Expression, Path][] {
  if (typeof value === 'string') return template(value)?.expressions.map((expression) => [expression, path]) ?? [];
  if (value === null || typeof value !== 'object' || value instanceof Literal) return [];
  const found: [Expression, Path][] = [];
  for (const key of Object.keys(value)) {
    const item = (value as { [key: string]: Tree })[key]!;
    // Allocate nothing for texts without expressions, which are most of a large file.
    if (item === null || (typeof item !== 'object' && !template(String(item)))) continue;
    for (const one of expressionsIn(item, [...path, Array.isArray(value) ? Number(key) : key])) found.push(one);
  }
  return found;
}
