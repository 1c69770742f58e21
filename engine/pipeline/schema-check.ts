/** Validates values with Ajv and translates its errors: one message each, with the path of the key or value. */

import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Ajv, ErrorObject, Options, ValidateFunction } from 'ajv';
import { didYouMean } from '../format/did-you-mean.ts';
import { exactNumber } from '../format/scalars.ts';
import { Literal, typedCollection } from './literals.ts';
import type { JsonSchema } from './schema.ts';
import type { Path } from './source.ts';

export interface Mistake {
  path: Path;
  at: 'key' | 'value';
  message: string;
  hint?: string;
  /** The violated rule: `type`, `required`, … */
  rule: string;
  found: unknown;
}

export type Validate = (value: unknown) => Mistake[];

/** Compiles a schema once. Validation fills in defaults. Check a user's schema with `checkSchema` first. */
export async function validator(schema: JsonSchema): Promise<Validate> {
  const known = compiled.get(schema);
  if (known) return known;
  const check = built(schema) ?? (await compiler()).compile(schema);
  const validate: Validate = (value) => (check(value) ? [] : withoutAlternatives([...check.errors!]).map((error) => mistake(error, value)));
  compiled.set(schema, validate);
  return validate;
}

export async function checkSchema(schema: JsonSchema): Promise<void> {
  (await compiler()).validateSchema(schema, true);
}

/** The compiled code of a built-in schema, which the build writes next to this file; undefined for other schemas and in a checkout. */
function built(schema: JsonSchema): ValidateFunction | undefined {
  const file = join(import.meta.dirname, 'schemas', builtName(schema));
  return existsSync(file) ? (createRequire(import.meta.url)(file) as ValidateFunction) : undefined;
}

export function builtName(schema: JsonSchema): string {
  return `${hash('sha256', JSON.stringify(schema)).slice(0, 16)}.cjs`;
}

export const AJV_OPTIONS: Options = {
  allErrors: true,
  verbose: true,
  useDefaults: true,
  strict: false,
  ownProperties: true,
  logger: false,
  // Not by default, because compiling the meta-schema takes longer than reading a small pipeline.
  validateSchema: false,
};

function compiler(): Promise<Ajv> {
  ajv ??= import('ajv').then(({ Ajv }) => new Ajv(AJV_OPTIONS));
  return ajv;
}

let ajv: Promise<Ajv> | undefined;
const compiled = new WeakMap<JsonSchema, Validate>();

/**
 * Ajv reports the errors of every alternative of an `anyOf`. This keeps the errors of the intended alternative: the only one
 * whose type fits. If none fits, it reports that all alternatives are possible.
 */
function withoutAlternatives(errors: ErrorObject[]): ErrorObject[] {
  const outer = errors.find(
    (error) =>
      isChoice(error) && !errors.some((other) => other !== error && isChoice(other) && error.schemaPath.startsWith(`${other.schemaPath}/`)),
  );
  if (!outer)
    return errors.filter(({ keyword, propertyName }) => keyword !== 'if' && (keyword === 'propertyNames' || propertyName === undefined));
  const rest = errors.filter((error) => error !== outer && !error.schemaPath.startsWith(`${outer.schemaPath}/`));
  const branches = (outer.schema as unknown[]).map((_, i) =>
    withoutAlternatives(errors.filter(({ schemaPath }) => schemaPath.startsWith(`${outer.schemaPath}/${i}/`))),
  );
  const failed = branches.filter((branch) => branch.length > 0);
  const fitting = failed.filter(
    (branch) => !branch.some((error) => error.instancePath === outer.instancePath && OF_KIND.has(error.keyword)),
  );
  const meant =
    fitting.length > 1 ? fitting.filter((branch) => !branch.some(({ keyword }) => keyword === 'const' || keyword === 'enum')) : fitting;
  const chosen = meant.length > 0 ? meant.reduce((least, branch) => (branch.length < least.length ? branch : least)) : [outer];
  return [...chosen, ...withoutAlternatives(rest)];
}

/** Rules about the type of a value rather than its content. */
const OF_KIND = new Set(['type', 'const', 'enum', 'anyOf', 'oneOf']);

function isChoice({ keyword }: ErrorObject): boolean {
  return keyword === 'anyOf' || keyword === 'oneOf';
}

function mistake(error: ErrorObject, value: unknown): Mistake {
  const path = pathOf(error.instancePath, value);
  const { keyword, params, data: found, schema: rule, message } = error;
  const schema = (error.parentSchema ?? {}) as JsonSchema;
  const subject = path.length > 0 ? `"${dotted(path)}"` : 'this';
  const title = typeof schema.title === 'string' ? schema.title : undefined;
  const explain = EXPLANATIONS[keyword] ?? (() => ({ message: `${subject} ${message ?? 'is not valid'}` }));
  return { path, at: 'value', rule: keyword, found, ...explain({ path, found, subject, params, rule, schema, title }) };
}

interface Violation {
  path: Path;
  found: unknown;
  /** The name of the value in messages. */
  subject: string;
  params: ErrorObject['params'];
  rule: unknown;
  schema: JsonSchema;
  title?: string;
}

/** By keyword: the message, and whatever else differs from a mistake at the value itself. */
const EXPLANATIONS: Record<string, (violation: Violation) => Partial<Mistake> & { message: string }> = {
  additionalProperties: ({ path, params, schema }) => {
    const key = String(params.additionalProperty);
    const hint = didYouMean(key, Object.keys(schema.properties ?? {}), 'valid here');
    return { path: [...path, key], at: 'key', message: `unknown key "${key}"`, hint };
  },
  propertyNames: ({ path, params, rule }) => {
    const key = String(params.propertyName);
    const names = (rule as JsonSchema).title ?? describeSchema(rule);
    return { path: [...path, key], at: 'key', message: `"${key}" cannot be a name here`, hint: `It takes ${names}.` };
  },
  required: ({ path, params, schema }) => {
    const key = String(params.missingProperty);
    return {
      at: 'key',
      found: key,
      message: `missing "${dotted([...path, key])}"`,
      hint: Object(Object(schema.properties)[key]).description,
    };
  },
  dependencies: ({ path, params }) => {
    const [key, missing] = [String(params.property), String(params.missingProperty)];
    return { path: [...path, key], at: 'key', message: `"${dotted([...path, key])}" has no effect without "${missing}"` };
  },
  type: (violation) => {
    const { title, schema, found } = violation;
    return { ...takes(title ?? describeSchema(schema), violation), hint: typeHint(schema, found) };
  },
  enum: ({ params, found, subject }) => {
    const values = (params.allowedValues as unknown[]).map((allowed) => (typeof allowed === 'string' ? allowed : displayValue(allowed)));
    const hint = typeof found === 'string' ? didYouMean(found, values, 'valid') : `valid: ${values.join(', ')}`;
    return { message: `${subject} cannot be ${displayValue(found)}`, hint };
  },
  const: (violation) => takes(displayValue(violation.params.allowedValue), violation),
  anyOf: oneOfSeveral,
  oneOf: (violation) =>
    Array.isArray(violation.params.passingSchemas)
      ? takes('a value that matches exactly one of several forms', violation)
      : oneOfSeveral(violation),
  minimum: (violation) => takes(`a number of at least ${violation.params.limit}`, violation),
  maximum: (violation) => takes(`a number of at most ${violation.params.limit}`, violation),
  exclusiveMinimum: (violation) => takes(`a number above ${violation.params.limit}`, violation),
  exclusiveMaximum: (violation) => takes(`a number below ${violation.params.limit}`, violation),
  multipleOf: (violation) => takes(`a multiple of ${violation.params.multipleOf}`, violation),
  pattern: (violation) => takes(violation.title ?? `text that matches ${violation.params.pattern}`, violation),
  format: (violation) => takes(violation.title ?? `text in the format ${violation.params.format}`, violation),
  minLength: (violation) =>
    violation.params.limit === 1 ? cannotBeEmpty(violation) : takes(`at least ${violation.params.limit} characters`, violation),
  maxLength: (violation) => takes(`at most ${violation.params.limit} characters`, violation),
  minItems: tooFew,
  minProperties: tooFew,
  maxItems: tooMany,
  maxProperties: tooMany,
  uniqueItems: ({ path, params, found, subject }) => {
    const index = Math.max(params.i, params.j);
    const twice = (found as unknown[])[index];
    return { path: [...path, index], found: twice, message: `${displayValue(twice)} occurs twice in ${subject}` };
  },
};

function takes(what: string, { subject, found }: Violation): { message: string } {
  return { message: `${subject} takes ${what}, found ${displayValue(found)}` };
}

function oneOfSeveral(violation: Violation): { message: string } {
  return takes(violation.title ?? joined((violation.rule as unknown[]).map(describeSchema)), violation);
}

function cannotBeEmpty({ subject }: Violation): { message: string } {
  return { message: `${subject} cannot be empty` };
}

function tooFew(violation: Violation): { message: string } {
  const { subject, params, found } = violation;
  if (params.limit === 1) return cannotBeEmpty(violation);
  return { message: `${subject} needs at least ${params.limit} entries, found ${size(found)}` };
}

function tooMany({ subject, params, found }: Violation): { message: string } {
  return { message: `${subject} takes at most ${params.limit} entries, found ${size(found)}` };
}

/** Hints for common errors such as `metrics: f1` instead of a list and `early_stopping: true` instead of a map. */
function typeHint({ type, properties }: JsonSchema, found: unknown): string | undefined {
  if (typeof found === 'object') return undefined;
  if (
    [type].flat().some((one) => one === 'number' || one === 'integer') &&
    typeof found === 'string' &&
    /^[-+]?\d[\d.]*(e[-+]?\d+)?$/i.test(found)
  ) {
    return exactNumber(found) === undefined ? 'As a number, it would lose digits.' : 'Write it without quotes.';
  }
  if ((type === 'array' || type === 'object') && typeof found === 'string' && /^\s*[[{]/.test(found)) {
    const collection = typedCollection(found);
    if (collection === undefined) return 'The text is not a list or map in JSON or YAML. Check its brackets and quotes.';
    if (Array.isArray(collection) === (type === 'array')) return 'Write it without quotes.';
    return type === 'array' ? 'It is a map. Write a list, such as [a, b].' : 'It is a list. Write a map, such as {name: value}.';
  }
  if (type === 'array') return `Write a list: [${/^[\w.-]+$/.test(String(found)) ? found : displayValue(found)}]`;
  return type === 'object' && properties ? `It takes a map of ${Object.keys(properties).join(', ')}.` : undefined;
}

/** Splits `/train/betas/0` and unescapes it. Indexes of lists become numbers. */
function pathOf(pointer: string, value: unknown): Path {
  let at = value;
  return pointer
    .split('/')
    .slice(1)
    .map((part) => {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
      const step = Array.isArray(at) ? Number(key) : key;
      at = Object(at)[step];
      return step;
    });
}

export function dotted(path: Path): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('');
}

/** A value, shortened for a message. */
export function displayValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 39)}…` : value);
  if (value instanceof Literal) return value.typed ? displayValue(value.text) : value.text;
  if (Array.isArray(value)) return 'a list';
  return value !== null && typeof value === 'object' ? 'a map' : String(value);
}

function describeSchema(schema: unknown): string {
  const { title, const: only, enum: values, type, items, anyOf, oneOf } = Object(schema) as Record<string, any>;
  if (typeof title === 'string') return title;
  if (only !== undefined) return displayValue(only);
  if (values) return joined(values.map(displayValue));
  if (anyOf ?? oneOf) return joined((anyOf ?? oneOf).map(describeSchema));
  if (Array.isArray(type)) return joined(type.map((one) => describeSchema({ ...(schema as object), type: one })));
  if (type === 'array') {
    const names: unknown[] = Object(items).enum ?? [];
    if (names.length > 8) return `a list (of ${names.slice(0, 3).map(displayValue).join(', ')}, … (${names.length}))`;
    return items ? `a list (of ${describeSchema(items)})` : 'a list';
  }
  return TYPES[type as string] ?? 'another value';
}

const TYPES: Record<string, string> = {
  string: 'text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  array: 'a list',
  null: 'null',
};

function joined(parts: string[]): string {
  const unique = [...new Set(parts)];
  return unique.length < 2 ? (unique[0] ?? '') : `${unique.slice(0, -1).join(', ')} or ${unique.at(-1)}`;
}

function size(value: unknown): number {
  return Object.keys(Object(value)).length;
}
