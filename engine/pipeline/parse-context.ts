/** The state that all parts share while one pipeline file is read. */

import { relative } from 'node:path';
import type { Diagnostic } from '../errors.ts';
import type { Environment } from './environment.ts';
import type { Params } from './params.ts';
import type { Problems } from './problems.ts';
import type { Validate } from './schema-check.ts';
import type { Path, SourceText, Within } from './source.ts';

export class ParseContext {
  params!: Params;
  /** Checks the types of a step's keys. */
  checkStep!: Validate;
  readonly #below: string;
  readonly #told = new Map<string, string>();

  constructor(
    readonly source: SourceText,
    readonly problems: Problems,
    readonly file: string,
    readonly folder: string,
    readonly root: string,
    readonly readOnly: boolean,
    readonly outside: Environment,
  ) {
    this.#below = folder.endsWith('/') ? folder : `${folder}/`;
  }

  report(path: Path, message: string, hint?: string, at: 'key' | 'value' = 'value', within?: Within): void {
    this.problems.add(this.source.diagnostic(path, at, message, hint, within));
  }

  /** Reports an error of one cell. Other cells of its step have the same error at the same position, so it is reported once. */
  tell({ name, step }: { name: string; step: string }, diagnostic: Diagnostic): void {
    const { file, line, column } = diagnostic;
    const id = JSON.stringify([step, file, line, column]);
    const first = this.#told.get(id) ?? name;
    this.#told.set(id, first);
    if (first === name) this.problems.add(diagnostic);
  }

  /** `path` is absolute and normal. */
  relative(path: string): string {
    // A fast path for paths below the folder, which are the most common ones.
    if (path.startsWith(this.#below)) return path.slice(this.#below.length);
    return relative(this.folder, path) || '.';
  }
}
