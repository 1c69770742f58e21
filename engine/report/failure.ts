/** The lines below a failed cell: the hint, the end of its log, and the path of the log. */
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
    // A step often logs its error message, too. A log tail with only that line adds nothing.
    ...(tail.length === 1 && tail[0] === failure.message ? [] : tail.map((line) => `  │ ${outputLine(line)}`)),
    // There is no log if the cell failed before its code started.
    ...(log ? [`  log: ${nearPath(log)}`] : []),
  ];
}

/** A path relative to the working folder if that is shorter. */
export function nearPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near === '' ? '.' : near.startsWith('../../..') || near.length > path.length ? path : near;
}
