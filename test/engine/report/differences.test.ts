/** Differences between two texts in the format of `diff -u`. */
import { expect, test } from 'vitest';
import { unifiedLines } from '../../../engine/report/differences.ts';

test('as `diff -u` writes it', () => {
  expect(unifiedLines('a\nb\nc\n', 'a\nb\nc\n')).toEqual([]);
  expect(unifiedLines('', 'a')).toEqual(['@@ -0,0 +1 @@', '+a']);
  expect(unifiedLines('a\nb', 'a\nc')).toEqual(['@@ -1,2 +1,2 @@', ' a', '-b', '+c']);
  expect(unifiedLines('a\nb', 'a\nb\n')).toEqual(['@@ -1,2 +1,2 @@', ' a', '-b', '\\ No newline at end of file', '+b']);
  expect(unifiedLines('1\n2\n3\n4\n5\n6\n7\n8\n9\n', '1\n2\n3\n4\n5 new\n6\n7\n8\n9\n', 1)).toEqual([
    '@@ -4,3 +4,3 @@',
    ' 4',
    '-5',
    '+5 new',
    ' 6',
  ]);
});

test('texts without common lines are replaced as a whole, fast', () => {
  const text = (word: string) => Array.from({ length: 5000 }, (_, i) => `${word} ${i}\n`).join('');
  expect(edits(unifiedLines(text('a'), text('b')))).toBe(10_000);
});

function edits(lines: string[]): number {
  return lines.filter((line) => /^[+-]/.test(line)).length;
}
