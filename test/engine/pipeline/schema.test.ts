/** The JSON Schema for editors accepts and rejects the same as the engine. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { pipelineSchema } from '../../../engine/pipeline/schema.ts';
import { validator } from '../../../engine/pipeline/schema-check.ts';
import { builtin, builtinNames } from '../../../steps/registry.ts';
import { Project } from './project.ts';

const schema = (await pipelineSchema()) as any;
const accepts = new Ajv({ allErrors: true, strict: false }).compile(schema);
const step = (body: object) => ({ steps: { s: body } });

test('is a draft 7 schema and accepts the pipelines of the package', () => {
  expect(schema.$schema).toBe('http://json-schema.org/draft-07/schema#');
  const spam = parse(readFileSync(resolve(import.meta.dirname, '../../../pipelines/spam.yaml'), 'utf8'), { merge: true });
  expect(accepts(spam), JSON.stringify(accepts.errors)).toBe(true);
});

test('accepts an expression instead of any value', () => {
  const x = '${{ params.x }}';
  expect(
    accepts(
      step({
        uses: 'clean',
        with: { data: x, lowercase: x, remove: x, min_length: x },
        timeout: x,
        retry: { times: x },
        when: x,
        cache: x,
      }),
    ),
  ).toBe(true);
  expect(accepts(step({ uses: 'clean', with: { data: 'd', remove: [x] } }))).toBe(true);
  expect(accepts(step({ run: 'echo', matrix: x, env: x }))).toBe(true);
  expect(accepts(step({ run: 'echo', matrix: { a: x, exclude: x } }))).toBe(true);
});

test('rejects unknown keys, wrong types and keys that exclude each other', () => {
  expect(accepts(step({ uses: 'clean', with: { data: 'd', lowercse: true } }))).toBe(false);
  expect(accepts(step({ uses: 'clean', with: { data: 'd', lowercase: 'maybe' } }))).toBe(false);
  expect(accepts(step({ uses: 'clean' }))).toBe(false);
  expect(accepts(step({ run: 'echo', tmeout: '5s' }))).toBe(false);
  expect(accepts(step({ run: 'echo', uses: 'clean' }))).toBe(false);
  expect(accepts(step({}))).toBe(false);
  expect(accepts({ steps: {} })).toBe(false);
  expect(accepts(step({ uses: './mine.ts', with: { anything: 1 } }))).toBe(true);
});

test.each(builtinNames())('%s: every option and input has a description, and a default if there is one', async (name) => {
  const definition = (await builtin(name))!;
  expect(definition.name).toBe(name);
  const { then } = schema.definitions.step.allOf.find((rule: any) => rule.if.properties.uses.const === name);
  const { properties } = then.properties.with;
  for (const [option, declared] of Object.entries(definition.options ?? {}) as [string, any][]) {
    expect(properties[option].description, option).toBe(declared.description);
    expect(properties[option].description, option).toBeTruthy();
    expect(properties[option].default, option).toEqual(declared.default);
  }
  for (const role of Object.keys(definition.inputs ?? {})) if (!role.includes('.')) expect(Object.keys(properties)).toContain(role);
});

test('an input in the map of an option is required there, and no key of `with`', () => {
  const train = (more: object) => step({ uses: 'train', with: { tokens: 't', model: 'm', ...more } });
  expect(accepts(train({ distill: { teacher: 'base', alpha: 1 } }))).toBe(true);
  expect(accepts(train({ distill: { teacher: '${{ steps.large.model }}' } }))).toBe(true);
  expect(accepts(train({ distill: { alpha: 1 } }))).toBe(false);
  expect(accepts(train({ distill: { teacher: 1 } }))).toBe(false);
  expect(accepts(train({ 'distill.teacher': 'base' }))).toBe(false);
});

test.each(builtinNames())('%s: option names of other tools lead to an option or an input, or are explained', async (name) => {
  const { aliases = {}, options = {}, inputs = {} } = (await builtin(name))!;
  const names = [...Object.keys(options), ...Object.keys(inputs)];
  for (const [alias, here] of Object.entries(aliases)) {
    expect(names, alias).not.toContain(alias);
    if (!here.endsWith('.')) expect(names, `${alias}: ${here}`).toContain(/^\w+/.exec(here)![0]);
  }
});

test.each([
  ['train', 'num_train_epochs', 'did you mean "epochs"?'],
  ['train', 'numTrainEpochs', 'did you mean "epochs"?'],
  ['train', 'per_device_train_batch_size', 'did you mean "batch_size"?'],
  ['train', 'lr', 'did you mean "learning_rate"?'],
  ['train', 'optimizer', 'did you mean "optim"?'],
  ['train', 'fp16', 'did you mean "precision"?'],
  ['train', 'weight-decay', 'did you mean "weight_decay"?'],
  ['train', 'weightDecay', 'did you mean "weight_decay"?'],
  ['train', 'warmup_ratio', 'did you mean "warmup_steps"?'],
  ['train', 'early_stopping_patience', 'did you mean `early_stopping: { patience: … }`?'],
  ['train', 'max_seq_length', 'Use max_length of the step tokenize.'],
  ['train', 'learning_rat', 'did you mean "learning_rate"?'],
  ['tokenize', 'max_seq_length', 'did you mean "max_length"?'],
  ['tokenize', 'doc_stride', 'did you mean "stride"?'],
  ['split', 'test_size', 'did you mean "ratios"?'],
  ['evaluate', 'eval_batch_size', 'did you mean "batch_size"?'],
])('%s: %s suggests the right name', async (uses, option, hint) => {
  const screen = await new Project().screen(`steps: { s: { uses: ${uses}, with: { ${option}: 1 } } }\n`);
  expect(screen).toContain(`unknown option "${option}"`);
  expect(screen).toContain(`= ${hint}\n`);
});

test('a hint lists only the similar ones of many names', async () => {
  const screen = await new Project().screen('steps: { s: { uses: train, with: { gradient_flow: 1, xyz: 2, lora: { lora_alpha: 3 } } } }\n');
  expect(screen).toMatch(/= train takes: gradient_accumulation_steps, gradient_checkpointing, … \(\d+\)\n/);
  expect(screen).not.toMatch(/.{400}/);
});

/** The error messages for a value. */
async function messages(of: object, value: unknown): Promise<string[]> {
  return (await validator({ type: 'object', properties: { x: of } }))({ x: value }).map(({ message }) => message);
}

test('one message per error, also with alternatives', async () => {
  const duration = { type: 'string', pattern: '^\\d+s$', title: 'a time' };
  const either = {
    anyOf: [
      { type: 'integer', minimum: 0 },
      { type: 'object', properties: { times: { type: 'integer' }, delay: duration }, required: ['times'], additionalProperties: false },
    ],
  };
  expect(await messages(either, 'x')).toEqual(['"x" takes a whole number or a map, found "x"']);
  expect(await messages(either, -1)).toEqual(['"x" takes a number of at least 0, found -1']);
  expect(await messages(either, { delay: 3, tims: 1 })).toEqual([
    'missing "x.times"',
    'unknown key "tims"',
    '"x.delay" takes a time, found 3',
  ]);
  const variants = {
    oneOf: [
      { type: 'object', properties: { kind: { const: 'a' }, n: { type: 'integer' } }, required: ['kind', 'n'] },
      { type: 'object', properties: { kind: { const: 'b' }, s: { type: 'string' } }, required: ['kind', 's'] },
    ],
  };
  expect(await messages(variants, { kind: 'b', s: 1 })).toEqual(['"x.s" takes text, found 1']);
  expect(
    await messages({ anyOf: [{ type: 'null' }, { anyOf: [{ type: 'boolean' }, { type: 'array', items: { type: 'number' } }] }] }, [1, 'y']),
  ).toEqual(['"x[1]" takes a number, found "y"']);
});

test.each([
  [{ type: 'number' }, 'abc', '"x" takes a number, found "abc"'],
  [{ type: 'boolean' }, 'yes', '"x" takes true or false, found "yes"'],
  [{ type: ['string', 'null'] }, 1, '"x" takes text or null, found 1'],
  [{ type: 'array', items: { type: 'string' } }, {}, '"x" takes a list (of text), found a map'],
  [{ enum: ['adam', 'sgd'] }, 'adm', '"x" cannot be "adm"'],
  [{ const: 1 }, 2, '"x" takes 1, found 2'],
  [{ minimum: 1 }, 0, '"x" takes a number of at least 1, found 0'],
  [{ exclusiveMaximum: 1 }, 1, '"x" takes a number below 1, found 1'],
  [{ multipleOf: 8 }, 9, '"x" takes a multiple of 8, found 9'],
  [{ minItems: 1 }, [], '"x" cannot be empty'],
  [{ minItems: 2 }, [1], '"x" needs at least 2 entries, found 1'],
  [{ maxItems: 1 }, [1, 2], '"x" takes at most 1 entries, found 2'],
  [{ uniqueItems: true }, ['a', 'b', 'a'], '"a" occurs twice in "x"'],
  [{ minLength: 1 }, '', '"x" cannot be empty'],
  [{ pattern: '^a+$' }, 'b', '"x" takes text that matches ^a+$, found "b"'],
  [{ not: { const: 1 } }, 1, '"x" must NOT be valid'],
  [{ type: 'string' }, 'x'.repeat(100), undefined],
])('%j says of %j: %s', async (of, value, message) => {
  expect(await messages(of, value)).toEqual(message === undefined ? [] : [message]);
});
