/** A pipeline after parsing, checking and expansion: cells with concrete values, in topological order. */

import type { Address } from './address.ts';
import type { Diagnostic } from './errors.ts';
import type { LeavingOut } from './files/glob.ts';
import type { Json } from './format/scalars.ts';
import type { CellOrigin, InputDeclaration, OutputDeclaration, StepDefinition } from './step.ts';

export interface Pipeline {
  name: string;
  description?: string;
  /** Absolute path of the YAML file. */
  file: string;
  /** Its folder: the base of relative paths and the working folder of shell steps. */
  folder: string;
  /** The project root: the folder that contains `.tunesmith/`. */
  root: string;
  text: string;
  /** Resolved parameters. */
  params: Record<string, Json>;
  /** In topological order; ties in the order of the file. */
  cells: Cell[];
  /** Caches the parsed pipeline for the next reading. A run calls it when it starts, so that a refused run writes nothing. */
  remember?(): void;
  /** A diagnostic at a step or at one of its keys, for errors found after reading. */
  locate(step: string, path: (string | number)[], message: string, hint?: string): Promise<Diagnostic>;
}

export interface Cell extends CellOrigin {
  /** Canonical name: `train[batch_size=32,learning_rate=0.0001]`, the same string as `CellOrigin.cell`. */
  name: string;
  step: string;
  description?: string;
  action: ShellAction | StepAction;
  inputs: Record<string, CellInput>;
  outputs: Record<string, CellOutput>;
  /** Cells whose outputs this one reads. */
  reads: string[];
  /** Cells that it waits for without reading their outputs (`needs`). */
  waits: string[];
  /** Declared variables with their values; undefined if declared but not set. */
  env: Record<string, string | undefined>;
  /** The templates of its commands and variables, so that changes can be reported in terms of the pipeline. */
  written?: WrittenCell;
  /** Names of variables that are passed to the step and masked in logs. */
  secrets: string[];
  /** Milliseconds. */
  timeout?: number;
  /** `delay` before the first retry in milliseconds, each further delay `factor` times as long, at most `longest`. */
  retry: { times: number; delay: number; factor: number; longest: number };
  /** Resources that it uses while it runs, if declared; memory in bytes. */
  resources: { cpu?: number; gpu?: number; memory?: number };
  /** A value that the user chooses and that enters the fingerprint. */
  version?: string | number;
  cache: boolean;
  /** The cell never runs; its last outputs stay valid. */
  frozen: boolean;
  /** False if `when` is false: the cell and all cells that read it are skipped. */
  enabled: boolean;
}

export interface WrittenCell {
  /** SHA-256 of the commands with their expressions unresolved. */
  commands?: string;
  /** SHA-256 of each variable whose value has expressions, unresolved. */
  env: Record<string, string>;
  /** The value of each expression in the commands and variables, as it was written or typed. */
  values: Record<string, string>;
}

export interface ShellAction {
  kind: 'shell';
  /**
   * The commands with resolved expressions and paths relative to the pipeline's folder. When the cell starts, `withMatches`
   * of shell.ts inserts the matches of globs and the paths of downloads.
   */
  commands: string[];
  shell: 'sh' | 'bash';
}

export interface StepAction {
  kind: 'step';
  /** As written in `uses`. */
  uses: string;
  /** What the child process loads: the name of a built-in step, or the absolute path of a module. */
  module: { builtin: string } | { path: string };
  definition: Omit<StepDefinition, 'run' | 'check' | 'foresee'>;
  /** With defaults filled in. */
  options: Record<string, Json>;
}

export interface CellInput {
  declaration: InputDeclaration;
  /** In order. Globs are not matched yet, because another cell may make the files. */
  sources: InputSource[];
}

export type InputSource =
  /** The output `output` of the cell `cell` at `path`. `name` enters the fingerprint. */
  | { kind: 'output'; cell: string; output: string; path: string; matrix: Record<string, Json> }
  /**
   * A file, folder or glob relative to the pipeline's folder (absolute only if the user wrote it so). If it is inside outputs
   * of cells, these cells are in `Cell.reads`.
   */
  | ({ kind: 'path'; pattern: string; glob: boolean } & LeavingOut)
  /** A remote input, which is downloaded when the cell runs. */
  | { kind: 'remote'; address: Address };

export interface CellOutput {
  declaration: OutputDeclaration;
  /** Absolute. A shell step writes here itself; the output of another step is written elsewhere and moved here. */
  path: string;
}

/** The path of a pipeline's lockfile, which is beside the pipeline file. */
export function lockfilePath(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/i, '')}.lock`;
}
