/** Formats the differences between two fingerprints: values, files, and code line by line. */

import { structuredPatch } from 'diff';
import type { Colors } from '../format/terminal-text.ts';
import { count, oneLine } from '../format/text.ts';
import type { Difference, FileDifference, Texts } from '../run/change-reasons.ts';

export function differenceLines({ what, before, after, texts, files, total }: Difference, colors: Colors): string[] {
  if (texts) return [`${what} changed`, ...textLines(texts, colors)];
  const values = before === undefined && after === undefined ? ' changed' : `: ${shown(before)} → ${shown(after)}`;
  const many = files && total ? `: ${files.length.toLocaleString('en-US')} of ${count(total, 'file')}` : '';
  return [`${what}${values}${many}`, ...fileLines(files ?? [], colors)];
}

/** A unified diff with a limited number of lines. */
export function textLines({ before, after }: Texts, colors: Colors): string[] {
  const paint: Record<string, (text: string) => string> = { '+': colors.green, '-': colors.red, '@': colors.cyan, '\\': colors.dim };
  const all = unifiedLines(before, after);
  const lines = all.slice(0, LINES).map((line) => {
    const plain = `  ${line[0]}${oneLine(line.slice(1))}`;
    return paint[line[0]!]?.(plain) ?? plain;
  });
  return all.length > LINES ? [...lines, `  + ${count(all.length - LINES, 'more line')}`] : lines;
}

function fileLines(files: FileDifference[], colors: Colors): string[] {
  const lines = files
    .slice(0, FILES)
    .flatMap(({ name, change, texts }) => [`  ${change}  ${oneLine(name)}`, ...(texts ? textLines(texts, colors) : [])]);
  return files.length > FILES ? [...lines, `  + ${count(files.length - FILES, 'more file')}`] : lines;
}

const FILES = 20;
const LINES = 200;

function shown(value: string | undefined): string {
  return value === undefined ? 'unset' : oneLine(value);
}

/* Differences between two texts in the format of `diff -u`. */

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
