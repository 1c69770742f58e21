/** What is different between two texts, line by line, in the form of `diff -u`. */
import { structuredPatch } from 'diff';

/**
 * Without a heading; nothing where they are the same. `context`: how many lines around a change are shown. That a last line has no
 * end is said only where it differs: a command has none, and nobody misses it.
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

/** So many edits are no longer read, and finding them would take long: all is replaced then. */
const MOST = 500;

function replaced(before: string, after: string): string[] {
  const [olds, news] = [before, after].map((text) => text.replace(/\n$/, '').split('\n')) as [string[], string[]];
  return [
    `@@ -${range(1, olds.length)} +${range(1, news.length)} @@`,
    ...olds.map((line) => `-${line}`),
    ...news.map((line) => `+${line}`),
  ];
}

/** `diff` names the line before where there is none. */
const range = (start: number, length: number): string => (length === 1 ? String(start) : `${length === 0 ? start - 1 : start},${length}`);
