/**
 * The JSON Schema of a pipeline file: the one source for validation, completion in editors and docs.
 * It is draft 7, which editors support. The options of built-in steps come from their declarations.
 */
import { builtin, builtinNames } from '../../steps/registry.ts';
import type { ArtifactKind, InputDeclaration, OutputDeclaration, StepDefinition } from '../contract/step.ts';

export type JsonSchema = Record<string, unknown>;

/** A step's declaration without its functions, which only its own process can call. */
export type Declaration = Omit<StepDefinition, 'run' | 'check' | 'foresee'>;

/** The schema of a whole file for editors: with the options of all built-in steps, and with expressions allowed as values. */
export async function pipelineSchema(): Promise<JsonSchema> {
  const builtins = await Promise.all(builtinNames().map(async (name) => ({ name, definition: (await builtin(name))! })));
  // A step as a whole cannot be an expression, but the values of its keys can.
  const properties = Object.entries(stepSchema.properties).map(([name, schema]) => [name, withExpressions(schema) as JsonSchema] as const);
  const step = { ...stepSchema, properties: Object.fromEntries(properties) };
  const uses = {
    ...step.properties.uses,
    anyOf: [
      ...builtins.map(({ name, definition }) => ({ const: name, description: definition.description })),
      { type: 'string', description: 'Your own step: ./my-step.ts, or an npm package.' },
    ],
  };
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'A tunesmith pipeline',
    ...fileSchema,
    properties: {
      ...fileSchema.properties,
      steps: { ...fileSchema.properties.steps, additionalProperties: { $ref: '#/definitions/step' } },
    },
    definitions: {
      expression: { type: 'string', pattern: '\\$\\{\\{.*\\}\\}', description: 'A value from elsewhere: ${{ params.seed }}' },
      step: {
        ...step,
        properties: { ...step.properties, uses },
        oneOf: [{ required: ['uses'] }, { required: ['run'] }],
        allOf: builtins.map(({ name, definition }) => ({
          if: { properties: { uses: { const: name } }, required: ['uses'] },
          // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
          then: withOf(definition),
        })),
      },
    },
  };
}

/** The schema of a step's options after all expressions are resolved. Returns the same object each time, so it is compiled once. */
export function optionsSchema(definition: Declaration): JsonSchema {
  let schema = schemas.get(definition);
  if (!schema) {
    schema = schemaOf(definition);
    schemas.set(definition, schema);
  }
  return schema;
}

const schemas = new WeakMap<Declaration, JsonSchema>();

function schemaOf({ options = {}, optional = [] }: Declaration): JsonSchema {
  const required = Object.entries(options).filter(
    ([name, schema]) => !Object.hasOwn(Object(schema), 'default') && !optional.includes(name),
  );
  return { type: 'object', properties: options, required: required.map(([name]) => name), additionalProperties: false };
}

export function inputsOf({ inputs = {} }: Declaration): Record<string, InputDeclaration> {
  return declarations(inputs);
}

/** Where an input is written below `with`: under its own name or, for `option.key`, in the map of an option. */
export function inputPath(role: string): [name: string, ...keys: string[]] {
  return role.split('.') as [string, ...string[]];
}

export function outputsOf({ outputs }: Declaration): Record<string, OutputDeclaration> {
  return declarations(outputs);
}

function declarations<T extends { kind: ArtifactKind }>(written: Record<string, ArtifactKind | T>): Record<string, T> {
  return Object.fromEntries(Object.entries(written).map(([name, what]) => [name, typeof what === 'string' ? ({ kind: what } as T) : what]));
}

const QUERY = {
  type: 'object',
  properties: {
    url: { type: 'string', description: 'postgres://host:port/database or sqlite:FILE, without a password.' },
    query: { type: 'string', description: 'A SELECT statement.' },
  },
  required: ['url', 'query'],
  additionalProperties: false,
};

/** The schema of `with`, which holds options and inputs together. */
function withOf(definition: Declaration): JsonSchema {
  const options = optionsSchema(definition) as { properties: JsonSchema; required: string[] };
  const path = { anyOf: [{ type: 'string' }, SELECTED] };
  const required = [...options.required];
  const ownOptions: Record<string, JsonSchema> = { ...(options.properties as Record<string, JsonSchema>) };
  const ownInputs: Record<string, JsonSchema> = {};
  for (const [role, { many, query, optional, description }] of Object.entries(inputsOf(definition))) {
    const schema = query
      ? { description, ...QUERY }
      : { title: PATH, description, anyOf: [...path.anyOf, ...(many ? [{ type: 'array', items: path }] : [])] };
    const [name, ...keys] = inputPath(role);
    if (keys.length > 0) ownOptions[name] = withKey(ownOptions[name]!, keys, schema);
    else {
      ownInputs[name] = schema;
      if (!optional) required.push(name);
    }
  }
  const properties = { ...(withExpressions({ properties: ownOptions }) as { properties: JsonSchema }).properties, ...ownInputs };
  return {
    properties: { with: { type: 'object', properties, required, additionalProperties: false } },
    ...(required.length > 0 ? { required: ['with'] } : {}),
  };
}

/** The schema of a map with one more key, which is required in the map that contains it. */
function withKey(map: JsonSchema, [key, ...inner]: string[], schema: JsonSchema): JsonSchema {
  const properties = Object(map.properties) as Record<string, JsonSchema>;
  if (inner.length > 0) return { ...map, properties: { ...properties, [key!]: withKey(properties[key!]!, inner, schema) } };
  return { ...map, properties: { ...properties, [key!]: schema }, required: [...((map.required as string[] | undefined) ?? []), key!] };
}

/** Extends a schema so that every value which is not plain text may also be an expression. */
function withExpressions(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withExpressions);
  if (schema === null || typeof schema !== 'object') return schema;
  const { description, default: preset, title, ...rest } = schema as JsonSchema;
  const inner: JsonSchema = { ...rest };
  for (const key of ['properties', 'patternProperties']) {
    if (inner[key])
      inner[key] = Object.fromEntries(Object.entries(inner[key] as JsonSchema).map(([name, value]) => [name, withExpressions(value)]));
  }
  for (const key of ['items', 'additionalProperties', 'anyOf', 'oneOf', 'allOf', 'contains'])
    if (inner[key]) inner[key] = withExpressions(inner[key]);
  const about = Object.fromEntries(Object.entries({ title, description, default: preset }).filter(([, value]) => value !== undefined));
  const text = inner.type === 'string' && inner.enum === undefined && inner.pattern === undefined;
  const constrains = ['type', 'enum', 'const', 'anyOf', 'oneOf'].some((key) => key in inner);
  if (text || !constrains) return { ...about, ...inner };
  return { ...about, anyOf: [inner, { $ref: '#/definitions/expression' }] };
}

const NAME = { pattern: '^[A-Za-z_][A-Za-z0-9_-]*$', title: 'a name of letters, digits, _ and - that does not begin with a digit' };
const VARIABLE = {
  type: 'string',
  pattern: '^[A-Za-z_][A-Za-z0-9_]*$',
  title: 'the name of an environment variable (letters, digits and _)',
};
const SCALAR = { type: ['string', 'number', 'boolean', 'null'], title: 'text, a number, true or false' };
const DURATION = { type: 'string', pattern: '^([0-9]+(\\.[0-9]+)?[smh])+$', title: 'a time such as 90s, 5m, 2h or 1h30m' };
const SIZE = { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)? ?([kMGT]i?)?B$', title: 'a size such as 512MB, 8GB or 1.5GiB' };
/** An input with excluded files. It is checked where it is read. */
const SELECTED = {
  type: 'object',
  properties: {
    path: { description: 'A path or glob, or a list of these.' },
    exclude: { description: 'Files to leave out, as patterns of .gitignore.' },
    gitignore: { description: 'true: also leave out files that git ignores.' },
  },
};
const PATH = 'a path';
const POINT = { type: 'object', propertyNames: NAME, minProperties: 1 };

/** The schema of the file. `stepSchema` checks each of its steps. */
export const fileSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, description: "The pipeline's name (default: the name of the file without .yaml)." },
    description: { type: 'string', description: 'What the pipeline is for.' },
    params: {
      type: 'object',
      propertyNames: NAME,
      description: 'Values that steps use as ${{ params.NAME }}. Set them with -p NAME=VALUE or --params FILE.',
    },
    steps: { type: 'object', minProperties: 1, propertyNames: NAME, description: 'The steps, by name.' },
  },
  required: ['steps'],
  additionalProperties: false,
};

export const stepSchema = {
  type: 'object',
  properties: {
    uses: { type: 'string', minLength: 1, description: 'The code of the step: a built-in step, ./my-step.ts, or an npm package.' },
    with: { type: 'object', description: 'Options and inputs of the step named by `uses`.' },
    run: {
      description: 'A shell command, or a list of commands that run in order. The value of an expression is quoted for the shell.',
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1 },
      ],
    },
    shell: { enum: ['sh', 'bash'], description: '`sh` (the default): /bin/sh -e -c; `bash`: bash -eo pipefail -c.' },
    inputs: {
      type: 'object',
      propertyNames: NAME,
      additionalProperties: {
        anyOf: [{ type: 'string', minLength: 1 }, { type: 'array', items: { type: 'string', minLength: 1 } }, SELECTED],
      },
      description:
        'The files that the command reads, by name: a path, a glob, an address such as hf://owner/name, a list of these, an output (${{ steps.STEP.OUTPUT }}), or {path, exclude, gitignore}. ${{ steps.STEP[*].OUTPUT }} takes all cells, sorted by name as text: step[n=100] before step[n=9].',
    },
    outputs: {
      type: 'object',
      propertyNames: NAME,
      additionalProperties: { type: 'string', minLength: 1 },
      description: 'The files and folders that the command writes, as a map from names to paths.',
    },
    env: {
      title: 'a list of names, or a map of names and values',
      description: 'Environment variables of the step: names, or names with values. The values enter the fingerprint.',
      anyOf: [
        { type: 'array', items: VARIABLE, uniqueItems: true },
        { type: 'object', propertyNames: VARIABLE, additionalProperties: SCALAR },
      ],
    },
    secrets: {
      type: 'array',
      items: VARIABLE,
      uniqueItems: true,
      title: 'a list of names of variables',
      description:
        'Names of environment variables that are passed to the step and masked in logs. Their values do not enter the fingerprint. The variables must be set when a cell of the step runs.',
    },
    matrix: {
      type: 'object',
      minProperties: 1,
      propertyNames: NAME,
      properties: {
        include: {
          type: 'array',
          items: {
            ...POINT,
            additionalProperties: { type: ['string', 'number', 'boolean', 'null', 'object'], title: 'a scalar or a map' },
          },
        },
        exclude: { type: 'array', items: POINT },
      },
      additionalProperties: {
        type: 'array',
        minItems: 1,
        items: { type: ['string', 'number', 'boolean', 'null', 'object'], title: 'a scalar or a map' },
      },
      description: 'Lists of values. The step has one cell for each combination. `include` and `exclude` work as in GitHub Actions.',
    },
    needs: {
      description: 'Steps to wait for without reading their outputs.',
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, uniqueItems: true }],
    },
    timeout: { ...DURATION, description: 'Maximum duration of a cell: 90s, 5m, 2h.' },
    retry: {
      title: 'a count, or a map with `times`, `delay`, `factor` and `max_delay`',
      description:
        'Number of retries after a failure, or {times, delay, factor, max_delay}. `delay` is the pause before the first retry. Each further pause is `factor` times as long, at most `max_delay`. `factor` needs `delay`, and `max_delay` needs `factor`.',
      anyOf: [
        { type: 'integer', minimum: 0 },
        {
          type: 'object',
          properties: {
            times: { type: 'integer', minimum: 1 },
            delay: DURATION,
            factor: { type: 'number', minimum: 1 },
            max_delay: DURATION,
          },
          required: ['times'],
          dependencies: { factor: ['delay'], max_delay: ['factor'] },
          additionalProperties: false,
        },
      ],
    },
    resources: {
      type: 'object',
      minProperties: 1,
      properties: {
        cpu: { type: 'integer', minimum: 1, description: 'Cores.' },
        gpu: {
          type: 'integer',
          minimum: 0,
          description: 'Number of GPUs for the cell alone, passed as CUDA_VISIBLE_DEVICES. 0 hides all GPUs.',
        },
        memory: { ...SIZE, description: 'Memory: 8GB, 512MB, 1.5GiB.' },
      },
      additionalProperties: false,
      description:
        'Resources that a cell uses while it runs, {cpu, gpu, memory}. Cells run at the same time as long as their resources fit on the machine. `resources` does not enter the fingerprint.',
    },
    frozen: {
      type: 'boolean',
      default: false,
      description: 'true: never run the step again, whatever changes. Its last outputs stay valid.',
    },
    version: {
      title: 'a whole number or text',
      anyOf: [{ type: 'integer' }, { type: 'string', minLength: 1 }],
      description:
        'A value that enters the fingerprint. Change it to run the step again when something changed that tunesmith cannot detect.',
    },
    cache: { type: 'boolean', default: true, description: 'false: always run the step and do not store its result.' },
    when: { type: 'boolean', default: true, description: 'false: skip the step and all steps that read its outputs.' },
    description: { type: 'string', description: 'What the step is for.' },
  },
  additionalProperties: false,
};
