/**
 * The JSON Schema of a pipeline file: one source for validation, completion in editors and docs.
 * Draft 7, which editors take. Options of the built-in steps come from their own declarations.
 */
import { builtin, builtinNames } from '../registry.ts';
import type { ArtifactKind, InputDeclaration, OutputDeclaration, StepDefinition } from '../step.ts';

export type Schema = Record<string, unknown>;

/** A step's declaration, without what only its own process can do. */
export type Declaration = Omit<StepDefinition, 'run' | 'check' | 'foresee'>;

/** The whole file, for editors: with the options of every built-in step, and `${{ … }}` allowed in the place of any value. */
export async function pipelineSchema(): Promise<Schema> {
  const builtins = await Promise.all(builtinNames().map(async (name) => ({ name, definition: (await builtin(name))! })));
  // The step itself is no value; each of its keys is.
  const properties = Object.entries(stepSchema.properties).map(([name, schema]) => [name, withExpressions(schema) as Schema] as const);
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
          // biome-ignore lint/suspicious/noThenProperty: JSON Schema's own word
          then: withOf(definition),
        })),
      },
    },
  };
}

/** The options of a step, as they must be once all expressions are resolved. The same schema each time: it is compiled once. */
export function optionsSchema(definition: Declaration): Schema {
  let schema = schemas.get(definition);
  if (!schema) {
    schema = schemaOf(definition);
    schemas.set(definition, schema);
  }
  return schema;
}

const schemas = new WeakMap<Declaration, Schema>();

function schemaOf({ options = {}, optional = [] }: Declaration): Schema {
  const required = Object.entries(options).filter(
    ([name, schema]) => !Object.hasOwn(Object(schema), 'default') && !optional.includes(name),
  );
  return { type: 'object', properties: options, required: required.map(([name]) => name), additionalProperties: false };
}

export function inputsOf({ inputs = {} }: Declaration): Record<string, InputDeclaration> {
  return declarations(inputs);
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
    url: { type: 'string', description: 'postgres://host:port/database, or sqlite:FILE; without a password.' },
    query: { type: 'string', description: 'A SELECT.' },
  },
  required: ['url', 'query'],
  additionalProperties: false,
};

/** `with` of a step: options and inputs side by side. */
function withOf(definition: Declaration): Schema {
  const options = optionsSchema(definition) as { properties: Schema; required: string[] };
  const inputs = Object.entries(inputsOf(definition));
  const required = [...options.required, ...inputs.filter(([, input]) => !input.optional).map(([role]) => role)];
  const path = { anyOf: [{ type: 'string' }, SELECTED] };
  const roles = inputs.map(([role, { many, query, description }]) => [
    role,
    query
      ? { description, ...QUERY }
      : { title: PATH, description, anyOf: [...path.anyOf, ...(many ? [{ type: 'array', items: path }] : [])] },
  ]);
  const properties = {
    ...(withExpressions({ properties: options.properties }) as { properties: Schema }).properties,
    ...Object.fromEntries(roles),
  };
  return {
    properties: { with: { type: 'object', properties, required, additionalProperties: false } },
    ...(required.length > 0 ? { required: ['with'] } : {}),
  };
}

/** Any value may be an expression: wherever a schema says other than plain text, it says "or an expression" as well. */
function withExpressions(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withExpressions);
  if (schema === null || typeof schema !== 'object') return schema;
  const { description, default: preset, title, ...rest } = schema as Schema;
  const inner: Schema = { ...rest };
  for (const key of ['properties', 'patternProperties']) {
    if (inner[key])
      inner[key] = Object.fromEntries(Object.entries(inner[key] as Schema).map(([name, value]) => [name, withExpressions(value)]));
  }
  for (const key of ['items', 'additionalProperties', 'anyOf', 'oneOf', 'allOf', 'contains'])
    if (inner[key]) inner[key] = withExpressions(inner[key]);
  const about = Object.fromEntries(Object.entries({ title, description, default: preset }).filter(([, value]) => value !== undefined));
  const text = inner.type === 'string' && inner.enum === undefined && inner.pattern === undefined;
  const constrains = ['type', 'enum', 'const', 'anyOf', 'oneOf'].some((key) => key in inner);
  if (text || !constrains) return { ...about, ...inner };
  return { ...about, anyOf: [inner, { $ref: '#/definitions/expression' }] };
}

const NAME = { pattern: '^[A-Za-z_][A-Za-z0-9_-]*$', title: 'a name: letters, digits, _ and -, no digit first' };
const VARIABLE = { type: 'string', pattern: '^[A-Za-z_][A-Za-z0-9_]*$', title: 'the name of a variable (letters, digits and _)' };
const SCALAR = { type: ['string', 'number', 'boolean', 'null'], title: 'text, a number, true or false' };
const DURATION = { type: 'string', pattern: '^([0-9]+(\\.[0-9]+)?[smh])+$', title: 'a time such as 90s, 5m, 2h or 1h30m' };
const SIZE = { type: 'string', pattern: '^[0-9]+(\\.[0-9]+)? ?([kMGT]i?)?B$', title: 'a size such as 512MB, 8GB or 1.5GiB' };
/** An input with something left out: checked where it is read. */
const SELECTED = {
  type: 'object',
  properties: {
    path: { description: 'A path or glob, or a list of these.' },
    exclude: { description: 'What does not count in it: patterns as in .gitignore.' },
    gitignore: { description: 'true: nor does what git ignores.' },
  },
};
const PATH = 'a path';
const POINT = { type: 'object', propertyNames: NAME, minProperties: 1 };

/** The file itself; its steps are checked one by one by `stepSchema`. */
export const fileSchema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, description: "The pipeline's name; the file's name without .yaml where it is left out." },
    description: { type: 'string', description: 'What the pipeline is for.' },
    params: {
      type: 'object',
      propertyNames: NAME,
      description: 'Values used by steps as ${{ params.NAME }}; set by -p NAME=VALUE and --params FILE.',
    },
    steps: { type: 'object', minProperties: 1, propertyNames: NAME, description: 'The steps, by name.' },
  },
  required: ['steps'],
  additionalProperties: false,
};

export const stepSchema = {
  type: 'object',
  properties: {
    uses: { type: 'string', minLength: 1, description: 'What the step does: a built-in step, ./my-step.ts, or an npm package.' },
    with: { type: 'object', description: 'Options and inputs of the step named by `uses`.' },
    run: {
      description: 'A shell command, or a list of commands run in order. Values in it become safely quoted words.',
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
        'What the command reads, by name: a path, a glob, an address such as hf://owner/name, a list of these, ${{ steps.STEP.OUTPUT }}, ${{ steps.STEP[*].OUTPUT }} (of all cells of a step, in text order of their names, so that step[n=100] comes before step[n=9]), or {path, exclude, gitignore}.',
    },
    outputs: {
      type: 'object',
      propertyNames: NAME,
      additionalProperties: { type: 'string', minLength: 1 },
      description: 'What the command writes, by name: the path of a file or folder.',
    },
    env: {
      title: 'a list of names, or a map of names and values',
      description: 'Variables that the step sees: names, or names with values. They enter its fingerprint.',
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
      description: 'Names of variables passed to the step and masked in logs; they enter no fingerprint.',
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
      description: 'Lists of values: the step becomes a cell for every combination. `include` and `exclude` as in GitHub Actions.',
    },
    needs: {
      description: 'Steps to wait for, although nothing of theirs is read.',
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' }, uniqueItems: true }],
    },
    timeout: { ...DURATION, description: 'How long a cell may take: 90s, 5m, 2h.' },
    retry: {
      title: 'a count, or a map with `times`, `delay`, `factor` and `max_delay`',
      description:
        'How often to try again after a failure: a count, or {times, delay, factor, max_delay}: `delay` before the first time, each further one `factor` times as long, at most `max_delay`.',
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
        gpu: { type: 'integer', minimum: 0, description: 'GPUs of its own: CUDA_VISIBLE_DEVICES names them. 0: it sees none.' },
        memory: { ...SIZE, description: 'Memory: 8GB, 512MB, 1.5GiB.' },
      },
      additionalProperties: false,
      description:
        'What a cell takes of the machine while it runs, {cpu, gpu, memory}: cells run at once as far as all of them fit. Enters no fingerprint.',
    },
    frozen: {
      type: 'boolean',
      default: false,
      description: 'true: never run; the outputs of the last time stand, whatever has changed.',
    },
    version: {
      title: 'a whole number or text',
      anyOf: [{ type: 'integer' }, { type: 'string', minLength: 1 }],
      description:
        'Enters the fingerprint: change it where the step would make something else now, and nothing that is seen here has changed.',
    },
    cache: { type: 'boolean', default: true, description: 'false: always run, store nothing.' },
    when: { type: 'boolean', default: true, description: 'false: skip the step and what reads it.' },
    description: { type: 'string', description: 'What the step is for.' },
  },
  additionalProperties: false,
};
