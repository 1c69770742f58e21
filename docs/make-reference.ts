/**
 * Generates docs/reference.md from the schemas: `npm run docs`. A test compares the page with the output of this file, so
 * every key of a pipeline and every option of a step is documented, with its default.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileSchema, inputsOf, outputsOf, stepSchema } from '../engine/pipeline/schema.ts';
import { builtin, builtinNames } from '../steps/registry.ts';

const PAGE = join(import.meta.dirname, 'reference.md');

export async function reference(): Promise<string> {
  const steps = await Promise.all(builtinNames().map(async (name) => aboutStep(name, (await builtin(name))!)));
  return [
    '# Reference',
    '',
    'This page lists every key of a pipeline file and every option of the built-in steps. `npm run docs` generates it from the schemas that also check your files. `tunesmith schema` prints these schemas for your editor.',
    '',
    '## Pipeline files',
    '',
    ...table(
      ['key', 'meaning'],
      Object.entries(fileSchema.properties).map(([key, s]) => [code(key), s.description]),
    ),
    '',
    '## Steps',
    '',
    ...table(
      ['key', 'meaning', 'default'],
      Object.entries<Schema>(stepSchema.properties).map(([key, s]) => [code(key), s.description ?? '', preset(s)]),
    ),
    '',
    '## Built-in steps',
    '',
    'Inputs and outputs have a kind: `file`, `folder`, or `any` (a file or a folder). In the pipeline, give both the inputs and the options of a built-in step under `with`.',
    '',
    ...steps.flat(),
  ].join('\n');
}

function aboutStep(name: string, step: NonNullable<Awaited<ReturnType<typeof builtin>>>): string[] {
  const optional = new Set<string>(step.optional ?? []);
  const options = Object.entries(step.options ?? {}).flatMap(([option, schema]) => rows(option, schema as Schema, optional.has(option)));
  return [
    `### ${name}`,
    '',
    step.description ?? '',
    '',
    ...table(
      ['input', 'kind', 'meaning'],
      Object.entries(inputsOf(step)).map(([role, i]) => [
        code(role),
        `${i.many ? 'list of ' : ''}${i.kind}${need(role, i.optional)}`,
        i.description ?? '',
      ]),
    ),
    '',
    ...(options.length ? [...table(['option', 'type', 'default', 'meaning'], options), ''] : []),
    ...table(
      ['output', 'kind', 'meaning'],
      Object.entries(outputsOf(step)).map(([output, o]) => [code(output), o.kind, o.description ?? '']),
    ),
    '',
  ];
}

/** Whether an input may be left out. The input `distill.teacher` belongs to the option `distill`. */
function need(role: string, optional = false): string {
  if (optional) return ', optional';
  return role.includes('.') ? `, required with ${code(role.slice(0, role.lastIndexOf('.')))}` : '';
}

/** The parts of a JSON Schema that the page shows. */
interface Schema {
  description?: string;
  default?: unknown;
  defaultInMatrix?: unknown;
  fingerprint?: false;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}

/** The row of an option, followed by the rows of its fields if it is, or can be, an object. */
function rows(name: string, schema: Schema, optional: boolean): string[][] {
  const own = [code(name), type(schema), preset(schema) || (optional ? '' : 'required'), described(schema)];
  const fields = [schema, ...(schema.anyOf ?? [])].flatMap(({ properties = {}, required = [] }) =>
    Object.entries(properties).flatMap(([field, s]) => rows(`${name}.${field}`, s, !required.includes(field))),
  );
  return [own, ...fields];
}

function described({ description = '', fingerprint }: Schema): string {
  return fingerprint === false ? `${description} If only this option changes, no cell runs again.` : description;
}

function type(schema: Schema): string {
  if (schema.enum) return schema.enum.map((v) => code(String(v))).join(', ');
  if (schema.const !== undefined) return code(String(schema.const));
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.map(type).join(' or ');
  if (schema.type === 'array') return `list of ${schema.items ? type(schema.items) : 'any'}`;
  if (schema.type === 'object')
    return schema.properties
      ? 'map'
      : `map to ${typeof schema.additionalProperties === 'object' ? type(schema.additionalProperties) : 'any'}`;
  const limits = [
    schema.minimum !== undefined && `≥ ${schema.minimum}`,
    schema.exclusiveMinimum !== undefined && `> ${schema.exclusiveMinimum}`,
    schema.maximum !== undefined && `≤ ${schema.maximum}`,
    schema.exclusiveMaximum !== undefined && `< ${schema.exclusiveMaximum}`,
  ].filter(Boolean);
  return [[schema.type ?? 'any'].flat().join(' or '), ...limits].join(' ');
}

function preset(schema: Schema): string {
  const inMatrix = schema.defaultInMatrix === undefined ? '' : `; in a matrix ${code(JSON.stringify(schema.defaultInMatrix))}`;
  return schema.default === undefined ? '' : `${code(JSON.stringify(schema.default))}${inMatrix}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

function table(head: string[], body: string[][]): string[] {
  const line = (cells: string[]) => `| ${cells.map((c) => c.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...body.map(line)];
}

if (import.meta.filename === process.argv[1]) writeFileSync(PAGE, await reference());
