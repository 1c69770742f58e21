/**
 * The fingerprint of a cell: the SHA-256 of everything that may change its result, and of nothing else. Its components
 * are kept with the result, so that a later run can say what changed.
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import type { Code } from '../code.ts';
import { oncePerRun } from '../once.ts';
import { canonicalJson } from '../pipeline/cell-name.ts';
import { packageFolder, packageVersion } from '../pipeline/packages.ts';
import type { Cell, StepAction } from '../pipeline/pipeline.ts';
import type { Json, OptionSchemas } from '../step.ts';
import type { Inputs, ResolvedInput } from './inputs.ts';

export interface Components {
  /** A change of this very list must not match results of the old one. */
  schema: number;
  /** Another step does other work. Not the name that the pipeline gives it: renaming it changes nothing. */
  step?: string;
  /** Its author raises it when the same inputs and options give another result. */
  version?: number;
  /** The pipeline's own `version`: for what has changed where nobody sees it, such as a program that a command calls. */
  stepVersion?: string | number;
  /** A user's step, and what it imports: nobody raises a version while writing code. */
  code?: Code;
  /** The packages that decide the result: an upgraded tokenizer must not hand back old results in silence. */
  libraries?: Record<string, string>;
  /** With defaults filled in: leaving an option out is the same as writing its default. Without those that cannot change the result. */
  options?: Record<string, Json>;
  /** A shell step's code. Paths stand in it relative to the pipeline, so a checkout can move; what globs match is in `inputs`. */
  commands?: string[];
  /** `sh` and `bash` read the same text differently. */
  shell?: string;
  /** What it reads, by role. */
  inputs: Record<string, InputComponent>;
  /** Hashed, since values may be private; null where the variable is not set, which is not the same as empty. */
  env: Record<string, string | null>;
  /** Only for people: what commands and variables were made of. Enters no fingerprint. */
  written?: Cell['written'];
  /** Which results to look for; not where, since bytes do not depend on their place. */
  outputs: string[];
}

export interface InputComponent {
  /** Of names, contents and executable bits. All else is only for people. */
  hash: string;
  files: number;
  /** Addresses as they were written, and what they meant: `hf://owner/name@main` and a commit. */
  revisions?: Record<string, string>;
}

const SCHEMA = 1;

export async function componentsOf(cell: Cell, inputs: Inputs): Promise<Components> {
  return {
    schema: SCHEMA,
    ...(cell.action.kind === 'shell' ? { commands: cell.action.commands, shell: cell.action.shell } : await codeComponents(cell.action)),
    ...(cell.version === undefined ? {} : { stepVersion: cell.version }),
    inputs: Object.fromEntries(Object.entries(inputs).map(([role, input]) => [role, inputComponent(input)])),
    env: Object.fromEntries(Object.entries(cell.env).map(([name, value]) => [name, value === undefined ? null : sha256(value)])),
    ...(cell.written ? { written: cell.written } : {}),
    outputs: Object.keys(cell.outputs).sort(),
  };
}

function inputComponent({ hash, sources }: ResolvedInput): InputComponent {
  const revisions = sources.flatMap(({ pinned }) => (pinned ? [[pinned.address.text, pinned.revision] as const] : []));
  return { hash, files: sources.length, ...(revisions.length > 0 ? { revisions: Object.fromEntries(revisions) } : {}) };
}

/** Every field with its name and length before it, so that no two lists of components read the same. */
export function fingerprintOf(components: Components): string {
  const fields: Record<string, Json | undefined> = {
    ...(components as unknown as Record<string, Json>),
    written: undefined,
    code: components.code?.hash,
    inputs: Object.fromEntries(Object.entries(components.inputs).map(([role, input]) => [role, input.hash])),
  };
  let text = '';
  for (const name of Object.keys(fields).sort()) {
    const value = fields[name];
    if (value === undefined) continue;
    const json = canonicalJson(value);
    text += `${name.length}:${name}${Buffer.byteLength(json)}:${json}`;
  }
  return sha256(text);
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function codeComponents({ module, definition, options }: StepAction): Promise<Partial<Components>> {
  const common = { step: definition.name, version: definition.version, options: decisive(options, definition.options) };
  const from = 'path' in module ? dirname(module.path) : import.meta.dirname;
  const libraries = Object.fromEntries((definition.libraries ?? []).map((name) => [name, versionOf(name, from)]));
  if ('builtin' in module) return { ...common, libraries };
  // Bundling to find the imports is slow, and its result is remembered by the files' stamps: loaded where one is needed.
  const { codeOf } = await import('../code.ts');
  return { ...common, libraries, code: await codeOf(module.path) };
}

/** The options that can change what the step makes. */
function decisive(options: Record<string, Json>, schemas: OptionSchemas = {}): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !Object.hasOwn(schemas, name) || schemas[name]!.fingerprint !== false),
  );
}

const versions = oncePerRun<string>();

function versionOf(name: string, from: string): string {
  const key = `${name}\n${from}`;
  let version = versions.get(key);
  if (version === undefined) {
    const folder = packageFolder(name, from);
    version = folder ? packageVersion(folder) : 'not installed';
    versions.set(key, version);
  }
  return version;
}
