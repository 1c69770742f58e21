/** What all parts share while one pipeline file is read. */
import { statSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import type { Diagnostic } from '../diagnostic.ts';
import { matches } from './glob.ts';
import { packageFolder } from './packages.ts';
import type { Params } from './params.ts';
import type { Problems } from './problems.ts';
import type { Path, Source, Within } from './source.ts';
import type { Validate } from './validate.ts';

export class Reading {
  params!: Params;
  /** The shape of a step's keys. */
  checkStep!: Validate;
  readonly #told = new Map<string, string>();
  readonly #packages = new Map<string, string | undefined>();
  readonly #looked = new Map<string, { count: number; kind?: 'file' | 'folder' }>();

  constructor(
    readonly source: Source,
    readonly problems: Problems,
    readonly file: string,
    readonly folder: string,
    readonly root: string,
    readonly readOnly: boolean,
    readonly env: NodeJS.ProcessEnv = process.env,
  ) {}

  report(path: Path, message: string, hint?: string, at: 'key' | 'value' = 'value', within?: Within): void {
    this.problems.add(this.source.diagnostic(path, at, message, hint, within));
  }

  /** A mistake of one cell. At the same place, other cells of its step have the same one, in words of their own: told once. */
  tell({ name, step }: { name: string; step: string }, diagnostic: Diagnostic): void {
    const { file, line, column } = diagnostic;
    const id = JSON.stringify([step, file, line, column]);
    const first = this.#told.get(id) ?? name;
    this.#told.set(id, first);
    if (first === name) this.problems.add(diagnostic);
  }

  /** Relative to the pipeline's folder, so that the path is the same in a moved checkout; undefined where it is not installed. */
  packageFolder(name: string): string | undefined {
    if (!this.#packages.has(name)) {
      const found = packageFolder(name, this.folder);
      this.#packages.set(name, found && this.relative(found));
    }
    return this.#packages.get(name);
  }

  relative(path: string): string {
    return relative(this.folder, path) || '.';
  }

  /** What a path or glob leads to now: how many files, and of what kind the one is. */
  look(pattern: string, glob = false): { count: number; kind?: 'file' | 'folder' } {
    const id = `${glob ? 'glob' : 'path'} ${pattern}`;
    let found = this.#looked.get(id);
    if (!found) {
      found = glob ? { count: matches(pattern, this.folder).length } : lookAt(resolve(this.folder, pattern));
      this.#looked.set(id, found);
    }
    return found;
  }
}

function lookAt(path: string): { count: number; kind?: 'file' | 'folder' } {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat ? { count: 1, kind: stat.isDirectory() ? 'folder' : 'file' } : { count: 0 };
  } catch {
    return { count: 0 }; // a folder on the way cannot be read
  }
}
