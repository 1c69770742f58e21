/** A pipeline after reading, checking and expansion: cells with concrete values, in topological order. */
import type { Diagnostic } from '../diagnostic.ts';
import type { Address } from '../sources/address.ts';
import type { CellOrigin, InputDeclaration, Json, OutputDeclaration, StepDefinition } from '../step.ts';
import type { LeavingOut } from './left-out.ts';

export interface Pipeline {
  name: string;
  description?: string;
  /** Absolute path of the YAML file. */
  file: string;
  /** Its folder: the base of every path, and the working folder of shell steps. */
  folder: string;
  /** The project root: where `.tunesmith/` lies. */
  root: string;
  text: string;
  /** Resolved parameters. */
  params: Record<string, Json>;
  /** In topological order; ties in the order of the file. */
  cells: Cell[];
  /** Writes down what the text was found to say, for the next reading: a run does when it begins, what is refused leaves nothing behind. */
  remember?(): void;
  /** A diagnostic at a step (or at one of its keys), for mistakes found after reading. */
  locate(step: string, path: (string | number)[], message: string, hint?: string): Promise<Diagnostic>;
}

export interface Cell extends CellOrigin {
  /** Canonical name: `train[batch_size=32,learning_rate=0.0001]` (see `CellOrigin.cell`, the same string). */
  name: string;
  step: string;
  description?: string;
  action: ShellAction | StepAction;
  inputs: Record<string, CellInput>;
  outputs: Record<string, CellOutput>;
  /** Cells whose outputs this one reads. */
  reads: string[];
  /** Cells that it only waits for (`needs`). */
  waits: string[];
  /** Declared variables with their values; undefined = declared and not set. */
  env: Record<string, string | undefined>;
  /** What its commands and variables were made of, for people: what changed is told in the words of the pipeline. */
  written?: Written;
  /** Names of variables passed and masked. */
  secrets: string[];
  /** Milliseconds. */
  timeout?: number;
  /** `delay` before the first further attempt (ms), each next one `factor` times as long, at most `longest`. */
  retry: { times: number; delay: number; factor: number; longest: number };
  /** What it takes of the machine while it runs, where the pipeline says; memory in bytes. */
  resources: { cpu?: number; gpu?: number; memory?: number };
  /** The pipeline's own word, which enters the fingerprint. */
  version?: string | number;
  cache: boolean;
  /** It never runs: its last outputs stand. */
  frozen: boolean;
  /** False when `when` says so: the cell and what reads it are skipped. */
  enabled: boolean;
}

export interface Written {
  /** SHA-256 of the commands as the pipeline has them, with their expressions. */
  commands?: string;
  /** The same of each variable whose value has expressions. */
  env: Record<string, string>;
  /** The value of each expression in them, as it was written or typed. */
  values: Record<string, string>;
}

export interface ShellAction {
  kind: 'shell';
  /** Rendered, with every path relative to the pipeline's folder. Only what the globs of an input match, and where
   *  something lies that is fetched, is put in when the cell starts, by `withMatches` of shell.ts. */
  commands: string[];
  shell: 'sh' | 'bash';
}

export interface StepAction {
  kind: 'step';
  /** As written in `uses`. */
  uses: string;
  /** How the child process loads it: a built-in's name, or the absolute path of a module. */
  module: { builtin: string } | { path: string };
  definition: Omit<StepDefinition, 'run' | 'check' | 'foresee'>;
  /** With defaults filled in. */
  options: Record<string, Json>;
}

export interface CellInput {
  declaration: InputDeclaration;
  /** In order. Globs are not yet matched: what they match may be made by another cell. */
  sources: InputSource[];
}

export type InputSource =
  /** The output `output` of the cell `cell`; `path` is where it lies. `name` enters the fingerprint. */
  | { kind: 'output'; cell: string; output: string; path: string; matrix: Record<string, Json> }
  /** A file, folder or glob relative to the pipeline's folder (absolute only where the user wrote it so).
   *  Where it lies within cells' outputs, those cells are in `Cell.reads`. */
  | ({ kind: 'path'; pattern: string; glob: boolean } & LeavingOut)
  /** Lies elsewhere, and is fetched when the cell executes. */
  | { kind: 'remote'; address: Address };

export interface CellOutput {
  declaration: OutputDeclaration;
  /** Absolute. A shell step writes here itself; a step writes elsewhere and is moved here. */
  path: string;
}
