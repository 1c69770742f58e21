/** Validates values with Ajv and translates its errors: one message each, with the path of the key or value. */

import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Ajv, ErrorObject, Options, ValidateFunction } from 'ajv';
import { didYouMean } from '../format/did-you-mean.ts';
import { exactNumber } from '../format/scalars.ts';
import { Literal } from './literals.ts';
import type { JsonSchema } from './schema.ts';
import type { Path } from './source.ts';

export interface Mistake {
  path: Path;
  at: 'key' | 'value';
  message: string;
  hint?: string;
  /** The violated rule: `type`, `required`, … */
  rule: string;
  /** The invalid value. */
  found: unknown;
}

export type Validate = (value: unknown) => Mistake[];

/** Compiles a schema once. Validation fills in defaults. Check a user's schema with `checkSchema` first. */
export async function validator(schema: JsonSchema): Promise<Validate> {
  const known = compiled.get(schema);
  if (known) return known;
  const check = built(schema) ?? (await compiler()).compile(schema);
  const validate: Validate = (value) => (check(value) ? [] : mistakes([...check.errors!], value));
  compiled.set(schema, validate);
  return validate;
}

/** Throws if a schema is not a valid JSON Schema. */
export async function checkSchema(schema: JsonSchema): Promise<void> {
  (await compiler()).validateSchema(schema, true);
}

/** The compiled code of a built-in schema, which the build writes next to this file; undefined for other schemas and in a checkout. */
function built(schema: JsonSchema): ValidateFunction | undefined {
  const file = join(import.meta.dirname, 'schemas', builtName(schema));
  return existsSync(file) ? (createRequire(import.meta.url)(file) as ValidateFunction) : undefined;
}

/** The name of the file with the compiled code. */
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

function mistakes(errors: ErrorObject[], value: unknown): Mistake[] {
  return withoutAlternatives(errors).map((error) => mistake(error, value));
}

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
  const { keyword: rule, params, data: found } = error;
  const schema = (error.parentSchema ?? {}) as JsonSchema;
  const subject = path.length > 0 ? `"${dotted(path)}"` : 'this';
  const takes = (what: string) => ({ path, at: 'value' as const, rule, found, message: `${subject} takes ${what}, found ${shown(found)}` });
  const title = typeof schema.title === 'string' ? schema.title : undefined;
  switch (rule) {
    case 'additionalProperties': {
      const key = String(params.additionalProperty);
      return {
        path: [...path, key],
        at: 'key',
        rule,
        found,
        message: `unknown key "${key}"`,
        hint: didYouMean(key, Object.keys(schema.properties ?? {}), 'valid here'),
      };
    }
    case 'propertyNames': {
      const key = String(params.propertyName);
      const names = (error.schema as JsonSchema).title ?? describe(error.schema);
      return { path: [...path, key], at: 'key', rule, found, message: `"${key}" cannot be a name here`, hint: `It takes ${names}.` };
    }
    case 'required': {
      const key = String(params.missingProperty);
      return { path, at: 'key', rule, found: key, message: `missing "${dotted([...path, key])}"`, hint: described(schema, key) };
    }
    case 'dependencies': {
      const [key, missing] = [String(params.property), String(params.missingProperty)];
      return { path: [...path, key], at: 'key', rule, found, message: `"${dotted([...path, key])}" has no effect without "${missing}"` };
    }
    case 'type':
      return { ...takes(title ?? describe(schema)), hint: howTo(schema, found) };
    case 'enum': {
      const values = (params.allowedValues as unknown[]).map((allowed) => (typeof allowed === 'string' ? allowed : shown(allowed)));
      const hint = typeof found === 'string' ? didYouMean(found, values, 'valid') : `valid: ${values.join(', ')}`;
      return { path, at: 'value', rule, found, message: `${subject} cannot be ${shown(found)}`, hint };
    }
    case 'const':
      return takes(shown(params.allowedValue));
    case 'anyOf':
    case 'oneOf': {
      if (rule === 'oneOf' && Array.isArray(params.passingSchemas)) return takes('a value that matches exactly one of several forms');
      return takes(title ?? joined((error.schema as unknown[]).map(describe)));
    }
    case 'minimum':
      return takes(`a number of at least ${params.limit}`);
    case 'maximum':
      return takes(`a number of at most ${params.limit}`);
    case 'exclusiveMinimum':
      return takes(`a number above ${params.limit}`);
    case 'exclusiveMaximum':
      return takes(`a number below ${params.limit}`);
    case 'multipleOf':
      return takes(`a multiple of ${params.multipleOf}`);
    case 'pattern':
      return takes(title ?? `text that matches ${params.pattern}`);
    case 'format':
      return takes(title ?? `text in the format ${params.format}`);
    case 'minLength':
      return params.limit === 1 ? { ...takes(''), message: `${subject} cannot be empty` } : takes(`at least ${params.limit} characters`);
    case 'maxLength':
      return takes(`at most ${params.limit} characters`);
    case 'minItems':
    case 'minProperties':
      return params.limit === 1
        ? { ...takes(''), message: `${subject} cannot be empty` }
        : { ...takes(''), message: `${subject} needs at least ${params.limit} entries, found ${size(found)}` };
    case 'maxItems':
    case 'maxProperties':
      return { ...takes(''), message: `${subject} takes at most ${params.limit} entries, found ${size(found)}` };
    case 'uniqueItems': {
      const twice = (found as unknown[])[Math.max(params.i, params.j)];
      return {
        path: [...path, Math.max(params.i, params.j)],
        at: 'value',
        rule,
        found: twice,
        message: `${shown(twice)} occurs twice in ${subject}`,
      };
    }
    default:
      return { path, at: 'value', rule, found, message: `${subject} ${error.message ?? 'is not valid'}` };
  }
}

/** Hints for common errors such as `metrics: f1` instead of a list and `early_stopping: true` instead of a map. */
function howTo({ type, properties }: JsonSchema, found: unknown): string | undefined {
  if (typeof found === 'object') return undefined;
  if (
    [type].flat().some((one) => one === 'number' || one === 'integer') &&
    typeof found === 'string' &&
    /^[-+]?\d[\d.]*(e[-+]?\d+)?$/i.test(found)
  ) {
    return exactNumber(found) === undefined ? 'As a number, it would lose digits.' : 'Write it without quotes.';
  }
  if ((type === 'array' || type === 'object') && typeof found === 'string' && /^\s*[[{]/.test(found))
    return 'The text is not a list or map in JSON or YAML. Check its brackets and quotes.';
  if (type === 'array') return `Write a list: [${/^[\w.-]+$/.test(String(found)) ? found : shown(found)}]`;
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
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 39)}…` : value);
  if (value instanceof Literal) return value.typed ? shown(value.text) : value.text;
  if (Array.isArray(value)) return 'a list';
  return value !== null && typeof value === 'object' ? 'a map' : String(value);
}

/** Describes the values that a schema accepts. */
function describe(schema: unknown): string {
  const { title, const: only, enum: values, type, items, anyOf, oneOf } = Object(schema) as Record<string, any>;
  if (typeof title === 'string') return title;
  if (only !== undefined) return shown(only);
  if (values) return joined(values.map(shown));
  if (anyOf ?? oneOf) return joined((anyOf ?? oneOf).map(describe));
  if (Array.isArray(type)) return joined(type.map((one) => describe({ ...(schema as object), type: one })));
  if (type === 'array') {
    const names: unknown[] = Object(items).enum ?? [];
    if (names.length > 8) return `a list (of ${names.slice(0, 3).map(shown).join(', ')}, … (${names.length}))`;
    return items ? `a list (of ${describe(items)})` : 'a list';
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

function described(schema: JsonSchema, key: string): string | undefined {
  const property = Object(schema.properties)[key] as { description?: string } | undefined;
  return property?.description;
}

function size(value: unknown): number {
  return Object.keys(Object(value)).length;
}
