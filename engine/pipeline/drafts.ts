/** What a pipeline is while it is checked: steps as written, the points of their matrices, and a draft of each cell. */

import type { Cell } from '../cell.ts';
import type { InputDeclaration } from '../step.ts';
import type { Expression } from './interpolate.ts';
import type { Tree } from './literals.ts';
import type { Used } from './resolve-step.ts';
import type { Path, SourcePath } from './source.ts';

export interface Step {
  name: string;
  /** Position in the file. */
  path: Path;
  /** Its keys, except those with an invalid type. */
  body: Record<string, Tree>;
  /** Keys with an error (`matrix`, `with.seed`), whose consequential errors are not reported. */
  faulty: Faults;
  /** The step that it `uses`, if found. */
  used?: Used;
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

export interface StepReference {
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
  /** The position of each value. */
  places: Map<string, SourcePath>;
  /** The cells that it reads and inherits its values from. */
  parents: Map<Step, Draft>;
  /** An error hides its real dimensions. */
  broken: boolean;
}
