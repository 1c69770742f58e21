/** Differences between two texts in the format of `diff -u`. */
import { structuredPatch } from 'diff';

/**
 * The hunks without a heading; empty for equal texts. `context`: number of unchanged lines around a change. "No newline at end
 * of file" appears only if it is a difference, because commands usually have no final newline.
 */
export function unifiedLines(before: string, after: string, context = 3): string[] {
  const ended = (before === '' ? after : before).endsWith('\n') === after.endsWith('\n');
  const whole = (text: string) => (ended && text !== '' && !text.endsWith('\n') ? `${text}\n` : text);
  const patch = structuredPatch('', '', whole(before), whole(after), undefined, undefined, { context, maxEditLength: MOST });
  if (!patch) return replaced(before, after);
  return patch.hunks.flatMap(({ oldStart, oldLines, newStart, newLines, lines }) => [
    `@@ -${range(oldStart, oldLines)} +${range(newStart, newLines)} @@`,
    ...lines,
  ]);
}

/** Maximum number of edits. Beyond it, the search would take long, and the whole text counts as replaced. */
const MOST = 500;

function replaced(before: string, after: string): string[] {
  const [olds, news] = [before, after].map((text) => text.replace(/\n$/, '').split('\n')) as [string[], string[]];
  return [
    `@@ -${range(1, olds.length)} +${range(1, news.length)} @@`,
    ...olds.map((line) => `-${line}`),
    ...news.map((line) => `+${line}`),
  ];
}

/** For an empty range, `diff` gives the number of the line before it. */
const range = (start: number, length: number): string => (length === 1 ? String(start) : `${length === 0 ? start - 1 : start},${length}`);
