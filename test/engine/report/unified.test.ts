/** A unified diff is right where `patch` makes the one text of the other, and short where it has no more edits than `diff --minimal`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { unifiedLines } from '../../../engine/report/unified.ts';

test('as `diff -u` writes it', () => {
  expect(unifiedLines('a\nb\nc\n', 'a\nb\nc\n')).toEqual([]);
  expect(unifiedLines('', 'a')).toEqual(['@@ -0,0 +1 @@', '+a', '\\ No newline at end of file']);
  expect(unifiedLines('1\n2\n3\n4\n5\n6\n7\n8\n9\n', '1\n2\n3\n4\n5 new\n6\n7\n8\n9\n', 1)).toEqual([
    '@@ -4,3 +4,3 @@',
    ' 4',
    '-5',
    '+5 new',
    ' 6',
  ]);
});

test('patch applies it, and diff finds no shorter one', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tunesmith-diff-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const at = (name: string) => join(folder, name);
  const random = generator(7);
  for (let round = 0; round < 40; round++) {
    const lines = Array.from({ length: random(30) }, () => 'abcdef'[random(6)]);
    const before = lines.join('\n') + (random(3) ? '\n' : '');
    const after = random(2)
      ? lines.filter(() => random(5)).join('\n')
      : Array.from({ length: random(30) }, () => 'abcdef'[random(6)]).join('\n');
    const found = unifiedLines(before, after);
    writeFileSync(at('before'), before);
    writeFileSync(at('after'), after);
    const reference = spawnSync('diff', ['-u', '--minimal', at('before'), at('after')], { encoding: 'utf8' })
      .stdout.split('\n')
      .slice(2);
    expect(edits(found)).toBe(edits(reference));
    if (found.length === 0) continue;
    writeFileSync(at('patch'), ['--- before', '+++ after', ...found, ''].join('\n'));
    execFileSync('patch', ['-s', at('before'), at('patch')]);
    expect(readFileSync(at('before'), 'utf8')).toBe(after);
  }
});

test('texts with nothing in common are replaced, in no time', () => {
  const text = (word: string) => Array.from({ length: 5000 }, (_, i) => `${word} ${i}\n`).join('');
  expect(edits(unifiedLines(text('a'), text('b')))).toBe(10_000);
});

function edits(lines: string[]): number {
  return lines.filter((line) => /^[+-]/.test(line)).length;
}

function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
