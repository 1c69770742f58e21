/** A pipeline while it is checked: shared state, steps as written, the points of their matrices, and a draft of each cell. */

import { relative } from 'node:path';
import type { Cell, StepAction } from '../contract/cell.ts';
import type { Diagnostic, Problems } from '../contract/errors.ts';
import type { InputDeclaration, StepDefinition } from '../contract/step.ts';
import type { Environment } from './environment.ts';
import type { Expression } from './interpolate.ts';
import type { Tree } from './literals.ts';
import type { Params } from './params.ts';
import type { Declaration } from './schema.ts';
import type { Validate } from './schema-check.ts';
import type { Path, SourcePath, SourceText, Within } from './source.ts';

export class ParseContext {
  params!: Params;
  checkStep!: Validate;
  readonly #prefix: string;
  readonly #reported = new Map<string, string>();

  constructor(
    readonly source: SourceText,
    readonly problems: Problems,
    readonly file: string,
    readonly folder: string,
    readonly root: string,
    readonly readOnly: boolean,
    readonly environment: Environment,
  ) {
    this.#prefix = folder.endsWith('/') ? folder : `${folder}/`;
  }

  report(path: Path, message: string, hint?: string, at: 'key' | 'value' = 'value', within?: Within): void {
    this.problems.add(this.source.diagnostic(path, at, message, hint, within));
  }

  /** Reports an error of one cell. Other cells of its step have the same error at the same position, so it is reported once. */
  reportForCell({ name, step }: { name: string; step: string }, diagnostic: Diagnostic): void {
    const { file, line, column } = diagnostic;
    const id = JSON.stringify([step, file, line, column]);
    const first = this.#reported.get(id) ?? name;
    this.#reported.set(id, first);
    if (first === name) this.problems.add(diagnostic);
  }

  /** `path` is absolute and normal. */
  relative(path: string): string {
    // A fast path for paths below the folder, which are the most common ones.
    if (path.startsWith(this.#prefix)) return path.slice(this.#prefix.length);
    return relative(this.folder, path) || '.';
  }
}

export interface Step {
  name: string;
  path: Path;
  /** Its keys, except those with an invalid type. */
  body: Record<string, Tree>;
  /** Keys with an error (`matrix`, `with.seed`), whose consequential errors are not reported. */
  faulty: Faults;
  used?: ResolvedStep;
  /** The names of its outputs; undefined if an error hides them. */
  outputs?: string[];
  inputs: Record<string, InputDeclaration>;
  references: StepReference[];
  /** Steps that it refers to without `[*]`, and whose dimensions it inherits. */
  parents: ReadonlySet<Step>;
  gathers: ReadonlySet<Step>;
  needs: ReadonlySet<Step>;
  /** Names of its own and inherited dimensions; known after it has been expanded. */
  dimensions: ReadonlySet<string>;
}

export interface ResolvedStep {
  uses: string;
  module: StepAction['module'];
  definition: Declaration;
  /** The functions of a built-in step. Code of a custom step runs only in its own process. */
  check?: StepDefinition['check'];
  foresee?: StepDefinition['foresee'];
}

/** A set that uses no memory while it is empty, which it usually is. */
export class Faults {
  #keys: Set<string> | undefined;

  add(key: string): void {
    this.#keys ??= new Set();
    this.#keys.add(key);
  }

  has(key: string): boolean {
    return this.#keys?.has(key) ?? false;
  }

  some(test: (key: string) => boolean): boolean {
    return [...(this.#keys ?? [])].some(test);
  }
}

interface StepReference {
  expression: Expression;
  path: Path;
}

export type Steps = Map<string, Step>;

/** A cell before it is checked, with the positions that the checks need. */
export interface Draft {
  cell: Cell;
  step: Step;
  point: Point;
  /** Positions of the sources of each input, in their order. */
  inputPlaces?: Map<string, SourcePath[]>;
  /** Cells whose outputs a path of an input refers to, with the position of that path. */
  pathEdges?: Map<string, SourcePath>;
}

export type Drafts = Map<Step, Draft[]>;

export interface Point {
  matrix: Record<string, Tree>;
  places: Map<string, SourcePath>;
  /** The cells that it reads and inherits its values from. */
  parents: Map<Step, Draft>;
  /** An error hides its real dimensions. */
  broken: boolean;
}
