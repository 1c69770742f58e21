/** A position in a source, for error messages. */
import type { Problems } from './problems.ts';
import type { Path, Source, Within } from './source.ts';

export interface Place {
  source: Source;
  path: Path;
}

export function report(problems: Problems, at: Place, message: string, hint?: string, within?: Within): void {
  problems.add(at.source.diagnostic(at.path, 'value', message, hint, within));
}
