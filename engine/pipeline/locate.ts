/** Finds the position of a step in the text of a pipeline, for errors that occur during a run. */
import type { Diagnostic } from '../diagnostic.ts';
import { Problems } from './problems.ts';
import type { Given } from './read.ts';
import { type Path, readSource, type Source } from './source.ts';

export function locateIn({ file, text }: Pick<Given, 'file' | 'text'>, step: string, at: Path, message: string, hint?: string): Diagnostic {
  return placeIn(readSource(file, new Problems(), text), step, at, message, hint);
}

/** The position of a step or of one of its keys. */
export function placeIn(source: Source, step: string, at: Path, message: string, hint?: string): Diagnostic {
  return source.diagnostic(['steps', step, ...at], at.length === 0 ? 'key' : 'value', message, hint);
}
