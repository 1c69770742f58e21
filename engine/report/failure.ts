/** Why a cell failed, as lines below its own: the hint, the end of its log, and where the log lies. */
import { relative } from 'node:path';
import { placeLines, placeName } from '../diagnostic.ts';
import type { Failure } from '../events.ts';
import { printableName } from '../printable.ts';
import type { Colors } from './colors.ts';
import { outputLine } from './text.ts';

export function failureLines(failure: Failure, colors: Colors): string[] {
  const { place, hint, stack = [], tail, log } = failure;
  return [
    ...stack.map(({ name, file, line, column }) => {
      const at = `${printableName(nearPath(file))}:${line}:${column}`;
      return `  at ${name === undefined ? at : `${printableName(name)} (${at})`}`;
    }),
    ...(place ? [`  ${printableName(placeName(place))}`, ...placeLines(place, colors)] : []),
    ...(hint ? hint.split('\n').map((line) => `  ${line}`) : []),
    // A step that says what is wrong has often logged it too: that line alone tells nothing more.
    ...(tail.length === 1 && tail[0] === failure.message ? [] : tail.map((line) => `  │ ${outputLine(line)}`)),
    // Without a log it failed before its code began.
    ...(log ? [`  log: ${nearPath(log)}`] : []),
  ];
}

/** Relative to the working folder where that is shorter to read. */
export function nearPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('../../..') || near.length > path.length ? path : near;
}
