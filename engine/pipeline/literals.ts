/**
 * Scalars with their original spelling. `3e-4` in the file stays `3e-4` in a command. The value of -p stays the text that was
 * typed, and the place of use decides its type. A scalar that prints exactly as it was written needs no Literal.
 */

import { isMap as isMapNode, isScalar, isSeq, parseDocument } from 'yaml';
import { coreScalar, type Json } from '../format/scalars.ts';

/** JSON whose scalars may be Literals. */
export type Tree = string | number | boolean | null | Literal | Tree[] | { [key: string]: Tree };

export class Literal {
  constructor(
    readonly text: string,
    /** The value that YAML reads it as. */
    readonly value: string | number | boolean | null,
    /** Typed on the command line, so the place of use decides its type. In a file, YAML decides. */
    readonly typed: boolean,
  ) {}

  toJSON(): Json {
    return this.value;
  }
}

/** A scalar of a file: a plain value if it prints as it was written, otherwise a Literal. */
export function writtenScalar(value: string | number | boolean, text: string): Tree {
  return String(value) === text ? value : new Literal(text, value, false);
}

export function typedText(text: string): Literal {
  return new Literal(text, coreScalar(text), true);
}

export function isTreeMap(value: unknown): value is { [key: string]: Tree } {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && !(value instanceof Literal);
}

/** The value as YAML reads it. Returns the same object if it contains no Literal. */
export function plain(tree: Tree): Json {
  if (tree === null || typeof tree !== 'object') return tree;
  if (tree instanceof Literal) return tree.value;
  return mapped(tree, plain) as Json;
}

/** For display: the value as it was written or typed. */
export function asWritten(tree: Tree): Json {
  if (tree === null || typeof tree !== 'object') return tree;
  if (tree instanceof Literal) return String(tree.value) === tree.text ? tree.value : tree.text;
  return mapped(tree, asWritten) as Json;
}

/** Maps the entries of a list or map. Returns the same object if no entry changes. */
function mapped(tree: Tree[] | { [key: string]: Tree }, change: (entry: Tree) => Tree): Tree {
  if (Array.isArray(tree)) {
    const items = tree.map(change);
    return items.some((item, i) => item !== tree[i]) ? items : tree;
  }
  let other: { [key: string]: Tree } | undefined;
  for (const key of Object.keys(tree)) {
    const entry = change(tree[key]!);
    if (entry === tree[key]) continue;
    other ??= { ...tree };
    other[key] = entry;
  }
  return other ?? tree;
}

/** A deep copy, because defaults are filled in later. */
export function copied(tree: Tree): Tree {
  if (tree === null || typeof tree !== 'object' || tree instanceof Literal) return tree;
  if (Array.isArray(tree)) return tree.map(copied);
  return Object.fromEntries(Object.entries(tree).map(([key, entry]) => [key, copied(entry)]));
}

/** The text of a scalar inside a text, a command or a variable. */
export function scalarText(value: string | number | boolean | Literal): string {
  if (value instanceof Literal) return value.text;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A list or map that was typed as JSON or YAML in brackets or braces; undefined for other texts. */
export function typedCollection(text: string): Tree[] | { [key: string]: Tree } | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  const { contents, errors, warnings } = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  if (errors.length + warnings.length > 0 || contents === null || isScalar(contents)) return undefined;
  try {
    return typedNode(contents) as Tree[] | { [key: string]: Tree };
  } catch (error) {
    if (error instanceof NoValue) return undefined;
    throw error;
  }
}

/** Parses the text of a list or map, for a place that accepts no text. */
export function opened(value: Tree): Tree {
  return value instanceof Literal && value.typed ? (typedCollection(value.text) ?? value) : value;
}

/** Whether it contains an alias, a tag or a key that is no scalar. */
class NoValue extends Error {}

function typedNode(node: unknown): Tree {
  if (node === null) return null;
  if ((node as { tag?: string }).tag !== undefined) throw new NoValue();
  if (isSeq(node)) return node.items.map(typedNode);
  if (isMapNode(node)) {
    return Object.fromEntries(
      node.items.map(({ key, value }) => {
        if (!isScalar(key)) throw new NoValue();
        return [typeof key.value === 'string' ? key.value : (key.source ?? String(key.value)), typedNode(value)];
      }),
    );
  }
  if (!isScalar(node)) throw new NoValue();
  const { value, source, type } = node;
  if (type === 'PLAIN' && source !== undefined) return source === '' ? null : typedText(typeof value === 'string' ? value : source);
  return value as string;
}

type Rules = Record<string, unknown>;

/** Converts a typed text to the type that the JSON Schema of its place asks for. It stays text if that is impossible. */
export function fitted(tree: Tree, schema: unknown): Json {
  if (tree === null || typeof tree !== 'object') return tree;
  if (tree instanceof Literal) return tree.typed ? fittedText(tree.text, schema) : tree.value;
  const rules = branches(schema);
  if (Array.isArray(tree))
    return tree.map((item) => fitted(item, { anyOf: rules.flatMap(({ items }) => (items === undefined ? [] : [items])) }));
  return Object.fromEntries(
    Object.entries(tree).map(([key, entry]) => [key, fitted(entry, { anyOf: rules.flatMap((one) => ofKey(one, key)) })]),
  );
}

function fittedText(text: string, schema: unknown): Json {
  const rules = branches(schema);
  const takes = (...types: string[]) => rules.some((rule) => [rule.type].flat().some((type) => types.includes(String(type))));
  const choices = rules.flatMap((rule) => ('const' in rule ? [rule.const] : Array.isArray(rule.enum) ? rule.enum : []));
  if (choices.includes(text)) return text;
  const open = rules.length === 0; // accepts any value
  const asText = open || takes('string');
  const value = coreScalar(asText ? text : text.trim());
  if (typeof value !== 'string' && choices.includes(value)) return value;
  const exact = !asText || String(value) === text;
  if (typeof value === 'number' && exact && (open || takes('number', 'integer'))) return value;
  if (typeof value === 'boolean' && exact && (open || takes('boolean'))) return value;
  if (value === null && exact && (open || takes('null'))) return null;
  if (takes('array', 'object') || open) {
    const collection = typedCollection(text);
    if (collection !== undefined && (open || takes(Array.isArray(collection) ? 'array' : 'object'))) return fitted(collection, schema);
  }
  return text;
}

/** The alternatives of a schema that restrict the value. */
function branches(schema: unknown): Rules[] {
  if (schema === null || typeof schema !== 'object') return [];
  const rules = schema as Rules;
  const inner = [rules.anyOf, rules.oneOf, rules.allOf].flatMap((list) => (Array.isArray(list) ? list.flatMap(branches) : []));
  return rules.type !== undefined || rules.enum !== undefined || 'const' in rules ? [rules, ...inner] : inner;
}

function ofKey({ properties, additionalProperties }: Rules, key: string): unknown[] {
  const own = Object(properties) as Rules;
  if (Object.hasOwn(own, key)) return [own[key]];
  return additionalProperties !== null && typeof additionalProperties === 'object' ? [additionalProperties] : [];
}
