/** A pipeline after parsing, checking and expansion: cells with concrete values and unique names, in topological order. */

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { sha256 } from '../../cache/digest.ts';
import type { LeavingOut } from '../files/glob.ts';
import { canonicalJson, compareBytes, type Json, OTHER_TYPE } from '../format/scalars.ts';
import { inJson } from '../format/terminal-text.ts';
import type { Address } from './address.ts';
import type { Diagnostic } from './errors.ts';
import type { CellOrigin, InputDeclaration, OutputDeclaration, StepDefinition, Upstream } from './step.ts';

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
  /** The commands with their expressions unresolved. */
  commands?: Json;
  /** The variables whose values have expressions, unresolved. */
  env: Record<string, string>;
  /** The value of each expression in the commands and variables, as it was written or typed. */
  values: Record<string, string>;
}

export interface ShellAction {
  kind: 'shell';
  /** Paths are relative to the pipeline's folder. `withMatches` of pipeline/shell.ts inserts what is known only when the cell starts. */
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
  /** Relative to the pipeline's folder unless written absolute. `Cell.reads` has the cells whose outputs it is in. */
  | ({ kind: 'path'; pattern: string; glob: boolean } & LeavingOut)
  | { kind: 'remote'; address: Address };

export interface CellOutput {
  declaration: OutputDeclaration;
  /** Absolute. A shell step writes here itself; the output of another step is written elsewhere and moved here. */
  path: string;
}

/** `train[batch_size=32,learning_rate=0.0001]`: sorted keys, and values that YAML reads back unchanged. */
export function cellName(step: string, matrix: Record<string, Json>): string {
  const keys = Object.keys(matrix).sort(compareBytes);
  return keys.length === 0 ? step : `${step}[${keys.map((key) => `${key}=${valueName(matrix[key]!)}`).join(',')}]`;
}

/** The parts of a cell's name; undefined if the text has another form. */
export function cellNameParts(name: string): { step: string; values: Map<string, string> } | undefined {
  const open = name.indexOf('[');
  if (open < 0) return { step: name, values: new Map() };
  if (open === 0 || !name.endsWith(']')) return undefined;
  const values = new Map<string, string>();
  for (const entry of entriesIn(name.slice(open + 1, -1))) {
    const [, key, value] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/s.exec(entry) ?? [];
    if (key === undefined || values.has(key)) return undefined;
    values.set(key, value!);
  }
  return { step: name.slice(0, open), values };
}

/** Splits at commas outside of quotes and brackets. */
function entriesIn(text: string): string[] {
  const entries: string[] = [];
  let [start, depth, quote] = [0, 0, ''];
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (quote !== '') {
      if (character === '\\' && quote === '"') at++;
      else if (character === quote) quote = '';
    } else if ((character === '"' || character === "'") && /[=,:[{\s]/.test(text[at - 1] ?? ',')) quote = character;
    else if (character === '[' || character === '{') depth++;
    else if (character === ']' || character === '}') depth--;
    else if (character === ',' && depth === 0) {
      entries.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...entries, text.slice(start)];
}

function valueName(value: Json): string {
  return typeof value === 'string' && isBare(value) ? value : inJson(canonicalJson(value));
}

/** A string that needs no quotes, because YAML does not read it as a number, true, false or null. */
function isBare(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && !OTHER_TYPE.test(text);
}

/**
 * A key that is equal for names that some file system treats as one. macOS and Windows ignore case. macOS also ignores the
 * composition of Unicode characters, and its full case folding makes `ß` equal to `ss`. tunesmith refuses such pairs of names
 * on every system.
 */
export function placeKey(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (/^[\x00-\x7f]*$/.test(name)) return name.toLowerCase();
  // Not every lower-case character is the lower case of its own upper case: `ẞ` is `ß` in lower case, which is `SS` in upper case.
  return name.normalize('NFD').toLowerCase().toUpperCase().toLowerCase().normalize('NFD');
}

export function onlyDiffer(a: string, b: string): string {
  return a.normalize('NFC') === b.normalize('NFC') ? 'look the same but consist of different Unicode characters' : 'differ only in case';
}

/** The name of a cell or pipeline as a file name: unchanged if that is safe, otherwise shortened and with a hash. */
export function fileName(name: string): string {
  const safe = name.replace(/[^A-Za-z0-9._=,[\]{}@+-]/g, '_').replace(/^\.+/, '_');
  if (safe === name && name.length <= 200) return name;
  return `${safe.slice(0, 180)}-${sha256(name).slice(0, 12)}`;
}

export const SHARED = 'macOS and Windows may treat them as the same name. Rename one of them.';

/** The path of a pipeline's lockfile, which is beside the pipeline file. */
export function lockfilePath(pipelineFile: string): string {
  return `${pipelineFile.replace(/\.ya?ml$/i, '')}.lock`;
}

/** Whether the cell writes to the hub, with the account in the environment. */
export function writesToHub({ action }: Pick<Cell, 'action'>): boolean {
  if (action.kind !== 'step' || action.definition.writesToHub === undefined) return false;
  const { option, value } = action.definition.writesToHub;
  return action.options[option] === value;
}

/** The local files and folders of each input that exist, for `foresee` of a step. `folder`: the pipeline's. */
export function presentPaths(
  cell: Cell,
  cells: ReadonlyMap<string, Cell>,
  exists: (cell: string) => boolean,
  folder: string,
): Record<string, string[]> {
  const sources = Object.values(cell.inputs).flatMap((input) => input.sources);
  const makers = sources.flatMap((source) => (source.kind === 'output' ? source.cell : []));
  // A path may lie in an output of another cell, which replaces it.
  const final = cell.reads.every((name) => makers.includes(name) || exists(name));
  const pathsOf = (source: InputSource): string[] => {
    if (source.kind === 'output') return exists(source.cell) ? [cells.get(source.cell)!.outputs[source.output]!.path] : [];
    if (source.kind !== 'path' || source.glob || !final) return [];
    const path = resolve(folder, source.pattern);
    return existsSync(path) ? [path] : [];
  };
  return Object.fromEntries(Object.entries(cell.inputs).map(([role, input]) => [role, input.sources.flatMap(pathsOf)]));
}

/** The options of a cell; a command has none. */
export const optionsIn = ({ action }: Pick<Cell, 'action'>): Record<string, Json> => (action.kind === 'step' ? action.options : {});

/** The path of `early_stopping.patience`, `ratios[0]` or `ratios.0`. Keys of the options may contain dots. */
export function optionPath(option: string, options: Json): (string | number)[] {
  const path: (string | number)[] = [];
  const keys = option.split(/[.[\]]+/).filter((key) => key !== '');
  for (let at: unknown = options; keys.length > 0; ) {
    const count = keys.findLastIndex((_, i) => Object.hasOwn(Object(at), keys.slice(0, i + 1).join('.'))) + 1;
    const key = keys.splice(0, count || 1).join('.');
    path.push(/^\d+$/.test(key) ? Number(key) : key);
    at = count > 0 ? (at as Record<string, unknown>)[key] : undefined;
  }
  return path;
}

/** The inputs of a cell that refer only to outputs of steps, for `foresee` of a step. */
export const onlyFromSteps = ({ inputs }: Cell): ReadonlySet<string> =>
  new Set(Object.keys(inputs).filter((role) => inputs[role]!.sources.every(({ kind }) => kind === 'output')));

/** The cells that a cell's inputs come from, for `foresee` of a step, built on demand. `exists`: whether a cell's outputs exist. */
export function upstreamOf(cell: Cell, cells: ReadonlyMap<string, Cell>, exists: (cell: string) => boolean): Record<string, Upstream[]> {
  return Object.fromEntries(
    Object.entries(cell.inputs).map(([role, { sources }]) => [
      role,
      sources.flatMap((source): Upstream[] => {
        const above = source.kind === 'output' ? cells.get(source.cell) : undefined;
        if (source.kind !== 'output' || !above) return [];
        const { action, outputs } = above;
        return [
          {
            cell: above.name,
            ...(action.kind === 'step' && { uses: action.uses }),
            options: optionsIn(above),
            output: source.output,
            ...(exists(above.name) && { path: outputs[source.output]!.path }),
            get inputs() {
              return upstreamOf(above, cells, exists);
            },
          },
        ];
      }),
    ]),
  );
}
