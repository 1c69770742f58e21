/**
 * The fingerprint of a cell: the SHA-256 of everything that may change its result, and of nothing else. The components are
 * stored with the result, so that a later run can report what changed.
 */

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { sha256 } from '../../cache/digest.ts';
import type { Cell, StepAction, WrittenCell } from '../contract/cell.ts';
import type { OptionSchemas } from '../contract/step.ts';
import { type Code, createRunCache } from '../contract/step-code.ts';
import { installedVersion } from '../files/packages.ts';
import { canonicalJson, type Json } from '../format/scalars.ts';
import { type InputContext, type Inputs, type ResolvedInput, resolveInputs } from './resolve-inputs.ts';

export interface Components {
  /** Version of this list, so that a changed list never matches old results. */
  schema: number;
  /** The step that is used. Not its name in the pipeline, because renaming changes no result. */
  step?: string;
  /** The step's author raises it when the same inputs and options give another result. */
  version?: number;
  /** `version` in the pipeline: for changes that tunesmith cannot detect, such as a program that a command calls. */
  stepVersion?: string | number;
  /** The code of a custom step and its imports, because nobody raises a version while developing. */
  code?: Code;
  /** Versions of packages that decide the result. After an upgrade of a tokenizer, old results must not be reused. */
  libraries?: Record<string, string>;
  /** With defaults filled in, because leaving an option out equals writing its default. Without options that cannot change the result. */
  options?: Record<string, Json>;
  /** The commands of a shell step. Paths in them are relative to the pipeline, so that a checkout can move. `inputs` has the matches of globs. */
  commands?: string[];
  /** `sh` and `bash` interpret the same text differently. */
  shell?: string;
  /** The inputs by role. */
  inputs: Record<string, InputComponent>;
  /** Hashes, because values may be private. Null if the variable is not set, which differs from empty. */
  env: Record<string, string | null>;
  /** Hashes of the templates of commands and variables, for messages only. Does not enter the fingerprint. */
  written?: WrittenCell & { commands?: string };
  /** The names and kinds of outputs, but not their paths, which do not change the bytes. */
  outputs: string[];
}

interface InputComponent {
  /** Hash of names, contents and executable bits. The other fields are for messages only. */
  hash: string;
  files: number;
  /** Addresses as written and what they resolved to: `hf://owner/name@main` and a commit. */
  revisions?: Record<string, string>;
}

const SCHEMA = 1;

export interface Fingerprinted {
  inputs: Inputs;
  components: Components;
  fingerprint: string;
}

export async function fingerprintCell(cell: Cell, context: InputContext): Promise<Fingerprinted> {
  const inputs = await resolveInputs(cell, context);
  const components = await componentsOf(cell, inputs);
  return { inputs, components, fingerprint: fingerprintOf(components) };
}

export async function componentsOf(cell: Cell, inputs: Inputs): Promise<Components> {
  return {
    schema: SCHEMA,
    ...(cell.action.kind === 'shell' ? { commands: cell.action.commands, shell: cell.action.shell } : await codeComponents(cell.action)),
    ...(cell.version === undefined ? {} : { stepVersion: cell.version }),
    inputs: Object.fromEntries(Object.entries(inputs).map(([role, input]) => [role, inputComponent(input)])),
    env: Object.fromEntries(Object.entries(cell.env).map(([name, value]) => [name, value === undefined ? null : sha256(value)])),
    ...(cell.written ? { written: writtenComponent(cell.written) } : {}),
    outputs: Object.keys(cell.outputs).sort(),
  };
}

/** Hashes, because the texts may be long. */
function writtenComponent({ commands, env, values }: WrittenCell): Components['written'] {
  return {
    commands: commands === undefined ? undefined : sha256(JSON.stringify(commands)),
    env: Object.fromEntries(Object.entries(env).map(([name, text]) => [name, sha256(text)])),
    values,
  };
}

function inputComponent({ hash, sources }: ResolvedInput): InputComponent {
  const revisions = sources.flatMap(({ pinned }) => (pinned ? [[pinned.address.text, pinned.revision] as const] : []));
  return { hash, files: sources.length, ...(revisions.length > 0 ? { revisions: Object.fromEntries(revisions) } : {}) };
}

/** Prefixes each field with its name and length, so that no two lists of components give the same bytes. */
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

async function codeComponents({ module, definition, options }: StepAction): Promise<Partial<Components>> {
  const common = { step: definition.name, version: definition.version, options: decisive(options, definition.options) };
  const from = 'path' in module ? dirname(module.path) : import.meta.dirname;
  const libraries = Object.fromEntries((definition.libraries ?? []).map((name) => [name, versionOf(name, from)]));
  if ('builtin' in module) return { ...common, libraries };
  // Loaded on demand, because finding the imports needs a bundler.
  const { codeOf } = await import('../contract/step-code.ts');
  return { ...common, libraries, code: await codeOf(module.path) };
}

/** The options that can change the outputs. */
function decisive(options: Record<string, Json>, schemas: OptionSchemas = {}): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !Object.hasOwn(schemas, name) || schemas[name]!.fingerprint !== false),
  );
}

const versions = createRunCache<string>();

function versionOf(name: string, from: string): string {
  const key = `${name}\n${from}`;
  let version = versions.get(key);
  if (version === undefined) {
    version = installedVersion(name, from);
    versions.set(key, version);
  }
  return version;
}

/**
 * The source files of a custom step by SHA-256, so that a later run can report which lines changed. Leaves out binary files, very
 * large files, and files that have changed in the meantime.
 */
export function codeTexts({ action }: Cell, { code }: Components): Map<string, string> {
  const texts = new Map<string, string>();
  if (!code || action.kind !== 'step' || !('path' in action.module)) return texts;
  const folder = dirname(action.module.path);
  for (const [file, hash] of Object.entries(code.files)) {
    const text = textAt(resolve(folder, file));
    if (text !== undefined && sha256(text) === hash) texts.set(hash, text);
  }
  return texts;
}

function textAt(path: string): string | undefined {
  try {
    const bytes = readFileSync(path);
    return bytes.length > LARGEST || bytes.includes(0) ? undefined : bytes.toString();
  } catch {
    return undefined;
  }
}

const LARGEST = 1 << 20;
