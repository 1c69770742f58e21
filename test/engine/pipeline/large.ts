/** Large pipelines, read in pieces and by the library. */
import { expect } from 'vitest';
import { parse } from 'yaml';
import { Problems } from '../../../engine/contract/errors.ts';
import { plain } from '../../../engine/pipeline/literals.ts';
import { readSource } from '../../../engine/pipeline/source.ts';

export const STEP = [
  (i: number) => `  s${i}: { run: "echo ${i} > \${{ outputs.o }}", outputs: { o: out/${i} } }\n`,
  (i: number) =>
    `  s${i}:\n    # a comment\n    run: |\n      echo one\n        two: ${i}\n\n      three\n    env: { A: 3e-4, B: 'it''s', C: "a\\n b" }\n`,
  (i: number) =>
    `# between\n\n  "s${i}":\n      run: >-\n        folded\n        text ${i}\n      inputs:\n        i: [a.txt,\n          b.txt]\n`,
];

export const steps = (count: number) => Array.from({ length: count }, (_, i) => STEP[i % 3]!(i)).join('');

export function sameValues(head: string, tail: string): void {
  const text = `${head}steps: # here\n${steps(2400)}${tail}`;
  for (const one of head === '' ? [text, text.replaceAll('\n', '\r\n')] : [text]) {
    expect(one.length).toBeGreaterThan(200_000);
    const { value } = readSource('/large.yaml', new Problems(), one);
    expect(plain(value)).toEqual(parse(one));
    expect(Object.keys((value as any).steps)).toHaveLength(2400);
  }
}
