/**
 * Reads a large pipeline file step by step. A YAML parser holds several objects for each word until it is done. For a file with
 * many thousand steps, it would spend most of its time on garbage collection. Such files are written by programs, so most of
 * their steps have the same form as others (forms.ts).
 */
import { Forms, type Parsed } from './forms.ts';
import { isMap, type Tree } from './literal.ts';

/** Parses a self-contained piece; undefined if it has an error or refers to another piece, for example by an alias. */
export type ParsePiece = (text: string) => Parsed | undefined;

/** The value of the file; undefined if it must be read as a whole, which also reports its errors. */
export function readInPieces(text: string, parse: ParsePiece): Tree | undefined {
  // A piece would not know the directives of the file.
  const region = text.startsWith('%') || text.includes('\n%') || text.includes('\0') ? undefined : stepsIn(text);
  if (!region) return undefined;
  const frame = wholeValue(parse(text.slice(0, region.start) + text.slice(region.end)));
  if (!isMap(frame) || frame.steps !== null) return undefined;
  const steps = readSteps(text, region, parse);
  return steps && { ...frame, steps: Object.fromEntries(steps) };
}

function wholeValue(parsed: Parsed | undefined): Tree | undefined {
  return parsed?.valueOf(parsed.contents);
}

interface Region {
  start: number;
  end: number;
}

/** The text below `steps:`, up to the next key of the file. */
function stepsIn(text: string): Region | undefined {
  const key = /^steps:[ \t]*(?:#.*)?\r?\n/m.exec(text);
  if (!key) return undefined;
  const start = key.index + key[0].length;
  const next = /^[^\s#]/gm;
  next.lastIndex = start;
  return { start, end: next.exec(text)?.index ?? text.length };
}

function readSteps(text: string, region: Region, parse: ParsePiece): Map<string, Tree> | undefined {
  const starts = startsIn(text, region);
  if (!starts) return undefined;
  const steps = new Map<string, Tree>();
  const add = (found: Tree | undefined) => {
    if (!isMap(found)) return false;
    for (const name of Object.keys(found)) {
      if (steps.has(name)) return false;
      steps.set(name, found[name]!);
    }
    return true;
  };
  const forms = new Forms(parse);
  // Steps without a form are parsed in groups.
  let [pending, count] = [region.start, 0];
  const parsePending = (end: number) => {
    const piece = text.slice(pending, end);
    [pending, count] = [end, 0];
    if (piece === '') return true;
    const parsed = parse(piece);
    // Steps that are merged into the map of steps come before all others, so the file must be read as a whole.
    return add(parsed?.merges ? undefined : wholeValue(parsed));
  };
  for (const [i, start] of starts.entries()) {
    const end = starts[i + 1] ?? region.end;
    const found = forms.read(text.slice(start, end));
    if (found === undefined) {
      if (++count === STEPS && !parsePending(end)) return undefined;
      continue;
    }
    if (!parsePending(start) || !add(found)) return undefined;
    pending = end;
  }
  return parsePending(region.end) ? steps : undefined;
}

/**
 * The start of each step: a line that is indented like the first one. Comments before the first step belong to it.
 * Undefined if a line is indented less, or begins with the mark of a list or of an explicit key.
 */
function startsIn(text: string, { start, end }: Region): number[] | undefined {
  const first = /^( +)[^\s#]/m.exec(text.slice(start, end));
  if (!first) return undefined;
  const indent = first[1]!.length;
  const starts: number[] = [];
  for (let line = start; line < end; line = text.indexOf('\n', line) + 1 || end) {
    let at = line;
    while (text[at] === ' ') at++;
    if (at - line > indent || at >= end || '#\r\n'.includes(text[at]!)) continue;
    if (at - line < indent || /[-?:]/.test(text[at]!)) return undefined;
    starts.push(starts.length === 0 ? start : line);
  }
  return starts;
}

const STEPS = 200;
