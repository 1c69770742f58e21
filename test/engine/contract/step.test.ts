/** The step contract: the types in `run` that follow from a declaration, and the documentation of each field. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, expectTypeOf, test } from 'vitest';
import { defineStep } from '../../../engine/index.ts';
import { root } from '../../rig.ts';

test('options, inputs and outputs have the types that they are declared with', () => {
  const step = defineStep({
    name: 'typed',
    version: 1,
    options: {
      size: { type: 'integer', default: 3 },
      mode: { enum: ['a', 'b'], default: 'a' },
      words: { type: 'array', items: { type: 'string' }, default: [] },
    },
    inputs: {
      data: 'file',
      model: { kind: 'folder', description: 'A model.' },
      all: { kind: 'any', many: true },
      extra: { kind: 'file', optional: true },
      more: { kind: 'file', many: true, optional: true },
    },
    outputs: { report: 'file', folder: { kind: 'folder' } },
    run({ options, inputs, outputs }) {
      expectTypeOf(options).toEqualTypeOf<{ size: number; mode: 'a' | 'b'; words: string[] }>();
      expectTypeOf(inputs).toEqualTypeOf<{
        data: string;
        model: string;
        all: string[];
        extra: string | undefined;
        more: string[] | undefined;
      }>();
      expectTypeOf(outputs).toEqualTypeOf<{ report: string; folder: string }>();
      // @ts-expect-error an input that is not declared
      inputs.date;
      // @ts-expect-error an output that is not declared
      outputs.reprot;
    },
  });
  expect(step.name).toBe('typed');
});

test('a step without options or inputs has none', () => {
  defineStep({
    name: 'bare',
    version: 1,
    outputs: { out: 'file' },
    run({ inputs, options }) {
      // @ts-expect-error nothing is declared
      inputs.data;
      // @ts-expect-error nothing is declared
      options.seed;
    },
  });
});

test('every field of the contract is documented', () => {
  const lines = readFileSync(join(root, 'engine/contract/step.ts'), 'utf8').split('\n');
  const undocumented: string[] = [];
  let inside = false;
  for (const [i, line] of lines.entries()) {
    if (/^export interface /.test(line)) inside = true;
    else if (line === '}') inside = false;
    const field = inside ? /^ {2}(\w+)(\??:|\()/.exec(line)?.[1] : undefined;
    if (field !== undefined && !/(\*\/|^ {2}\/\/.*)$/.test(lines[i - 1]!)) undocumented.push(field);
  }
  expect(undocumented).toEqual([]);
});
