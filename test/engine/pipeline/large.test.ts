/** A large file is read in pieces: the same values as with the library, and the same errors at the same positions. */
import { expect, test } from 'vitest';
import { type InvalidError, Problems } from '../../../engine/contract/errors.ts';
import { readSource } from '../../../engine/pipeline/source.ts';
import { sameValues, steps } from './large.ts';

test('values of all forms, between other keys', () =>
  sameValues('name: x # steps:\nparams: { a: 1 }\n', 'description: |\n  steps:\n    no: step\n'));

test('anchors, merges and a duplicate step have the same effect as in a small file', () => {
  const anchored = `steps:\n${steps(1400)}  a: &a { run: echo }\n${steps(1400)
    .replaceAll(/\\bs(?=\\d)/g, 't')
    .replaceAll('  s', '  t')
    .replaceAll('"s', '"t')}  b: *a\n  c: { <<: *a, shell: bash }\n`;
  const { value } = readSource('/large.yaml', new Problems(), anchored);
  expect((value as any).steps.c).toEqual({ run: 'echo', shell: 'bash' });
  expect((value as any).steps.b).toEqual({ run: 'echo' });
  const problems = new Problems();
  readSource('/large.yaml', problems, `steps:\n${steps(2400)}  s7: { run: echo }\n`);
  expect(() => problems.throwIfAny()).toThrow('duplicate key "s7"');
});

test('an error is reported at its position', () => {
  const text = `steps:\n${steps(2400)}  last: { run: echo }\n`;
  const lines = text.split('\n').length;
  const { line, column, source } = readSource('/large.yaml', new Problems(), text).diagnostic(['steps', 'last', 'run'], 'value', 'wrong');
  expect([line, column, source]).toEqual([lines - 1, 16, '  last: { run: echo }']);
  let failed: unknown;
  try {
    readSource('/large.yaml', new Problems(), text.replace('last: {', 'last: ['));
  } catch (error) {
    failed = error;
  }
  expect((failed as InvalidError).diagnostics[0]).toMatchObject({ line: lines - 1 });
});
