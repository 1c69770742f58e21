/** Formats the differences between two fingerprints: values, files, and code line by line. */
import type { Difference, FileDifference, Texts } from '../run/why.ts';
import type { Colors } from './colors.ts';
import { count, oneLine } from './text.ts';
import { unifiedLines } from './unified.ts';

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
