/** The code that the build makes of our schemas finds just what Ajv finds when it compiles them anew. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { expect, test } from 'vitest';
import { fileSchema, type JsonSchema, optionsSchema, stepSchema } from '../../../engine/pipeline/schema.ts';
import { AJV_OPTIONS, builtName } from '../../../engine/pipeline/schema-check.ts';
import { builtin, builtinNames } from '../../../steps/registry.ts';
import { root } from '../../rig.ts';

const ours: [string, JsonSchema][] = [
  ['the file', fileSchema],
  ['a step', stepSchema],
  ...(await Promise.all(builtinNames().map(async (name): Promise<[string, JsonSchema]> => [name, optionsSchema((await builtin(name))!)]))),
];

const VALUES = [
  null,
  true,
  -1,
  0,
  1,
  0.5,
  1e30,
  '',
  'text',
  'café ',
  '90s',
  '8GB',
  [],
  ['a', 'a'],
  [1],
  {},
  { times: 0, factor: 2 },
  { 'a b': 1 },
];

test.each(ours)('%s', (_, schema) => {
  const file = join(root, 'dist/engine/pipeline/schemas', builtName(schema));
  expect(existsSync(file)).toBe(true);
  const built = createRequire(import.meta.url)(file) as ValidateFunction;
  const compiled = new Ajv(AJV_OPTIONS).compile(schema);
  const properties = Object.keys(schema.properties as JsonSchema);
  const cases = [...VALUES, { unknown: 1 }, ...properties.flatMap((key) => VALUES.map((value) => ({ [key]: value })))];
  let wrong = 0;
  for (const value of cases) {
    // Checking fills in defaults.
    const [one, other] = [structuredClone(value), structuredClone(value)];
    expect(built(one)).toBe(compiled(other));
    expect(built.errors).toEqual(compiled.errors);
    expect(one).toEqual(other);
    if (built.errors) wrong++;
  }
  expect(wrong).toBeGreaterThan(VALUES.length / 2);
});
