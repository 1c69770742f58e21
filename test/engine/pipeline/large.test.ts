/** A large file is read in pieces: the same values as with the library, and the same errors at the same positions. */
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { type InvalidError, Problems } from '../../../engine/contract/errors.ts';
import { plain } from '../../../engine/pipeline/literals.ts';
import { readSource } from '../../../engine/pipeline/source.ts';

const STEP = [
  (i: number) => `  s${i}: { run: "echo ${i} > \${{ outputs.o }}", outputs: { o: out/${i} } }\n`,
  (i: number) =>
    `  s${i}:\n    # a comment\n    run: |\n      echo one\n        two: ${i}\n\n      three\n    env: { A: 3e-4, B: 'it''s', C: "a\\n b" }\n`,
  (i: number) =>
    `# between\n\n  "s${i}":\n      run: >-\n        folded\n        text ${i}\n      inputs:\n        i: [a.txt,\n          b.txt]\n`,
];
const steps = (count: number) => Array.from({ length: count }, (_, i) => STEP[i % 3]!(i)).join('');

test.each([
  ['', ''],
  ['name: x # steps:\nparams: { a: 1 }\n', 'description: |\n  steps:\n    no: step\n'],
])('values of all forms, %j before and %j after', (head, tail) => {
  const text = `${head}steps: # here\n${steps(2400)}${tail}`;
  for (const one of head === '' ? [text, text.replaceAll('\n', '\r\n')] : [text]) {
    expect(one.length).toBeGreaterThan(200_000);
    const { value } = readSource('/large.yaml', new Problems(), one);
    expect(plain(value)).toEqual(parse(one));
    expect(Object.keys((value as any).steps)).toHaveLength(2400);
  }
});

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
