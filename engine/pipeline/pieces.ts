/**
 * Reads a large pipeline file in pieces of some steps each. A YAML parser holds several objects for each word until it is
 * done. For a file with many thousand steps, it would spend most of its time on garbage collection.
 */
import { isMap, type Tree } from './literal.ts';

/** Reads a self-contained piece; undefined if it has an error or refers to another piece, for example by an alias. */
export type ReadPiece = (text: string) => Tree | undefined;

/** The value of the file; undefined if it must be read as a whole, which also reports its errors. */
export function readInPieces(text: string, read: ReadPiece): Tree | undefined {
  const region = stepsIn(text);
  if (!region) return undefined;
  const frame = read(text.slice(0, region.start) + text.slice(region.end));
  if (!isMap(frame) || frame.steps !== null) return undefined;
  const steps = new Map<string, Tree>();
  for (const piece of piecesOf(text.slice(region.start, region.end)) ?? ['']) {
    const found = read(piece);
    if (!isMap(found)) return undefined;
    for (const [name, step] of Object.entries(found)) {
      if (steps.has(name)) return undefined;
      steps.set(name, step);
    }
  }
  return { ...frame, steps: Object.fromEntries(steps) };
}

/** The text below `steps:`, up to the next key of the file. */
function stepsIn(text: string): { start: number; end: number } | undefined {
  const key = /^steps:[ \t]*(?:#.*)?\r?\n/m.exec(text);
  if (!key) return undefined;
  const start = key.index + key[0].length;
  const next = /^[^\s#]/gm;
  next.lastIndex = start;
  return { start, end: next.exec(text)?.index ?? text.length };
}

/** Splits the text where a step begins: at lines indented like the first one. Undefined if a line is indented less. */
function piecesOf(steps: string): string[] | undefined {
  const indent = /^( +)[^\s#]/m.exec(steps)?.[1]?.length;
  if (indent === undefined) return undefined;
  const pieces: string[] = [];
  let [start, count] = [0, 0];
  for (let line = 0; line < steps.length; line = steps.indexOf('\n', line) + 1 || steps.length) {
    let at = line;
    while (steps[at] === ' ') at++;
    if (at - line > indent || '#\r\n'.includes(steps[at] ?? '\n')) continue;
    if (at - line < indent) return undefined;
    if (count++ === STEPS) {
      pieces.push(steps.slice(start, line));
      [start, count] = [line, 1];
    }
  }
  return [...pieces, steps.slice(start)];
}

const STEPS = 200;
