/** The files that a cell reads and their contents. */

import { stat } from 'node:fs/promises';
import { basename, isAbsolute, relative, resolve } from 'node:path';
import { type Content, type ContentOptions, contentOf, listing } from '../../cache/content.ts';
import { sha256 } from '../../cache/digest.ts';
import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import type { Result } from '../../cache/index.ts';
import type { Address } from '../address.ts';
import type { Cell, CellInput, InputSource, Pipeline } from '../cell.ts';
import type { Pinned, RemoteSources } from '../fetch/fetch.ts';
import type { FetchProgress } from '../fetch/fetched-store.ts';
import { type LeavingOut, leftOutOf, matches, staticFolder } from '../files/glob.ts';
import { canonicalJson } from '../format/scalars.ts';
import { type CellOrigin, StepError } from '../step.ts';

/** By role. An optional input that is not given is absent. */
export type Inputs = Record<string, ResolvedInput>;

export interface ResolvedInput {
  /** Hash of names, contents and executable bits. */
  hash: string;
  sources: ResolvedSource[];
}

export interface ResolvedSource {
  /** The name in the fingerprint, without absolute paths and names of cells. */
  name: string;
  /** Absolute path; the address of a download until it is fetched. */
  path: string;
  content: Content;
  /** How to read a folder of the user. */
  reading?: ContentOptions;
  /** Excluded files and folders as absolute paths, without the contents of excluded folders. */
  leftOut?: string[];
  /** The cell that made the file. */
  origin?: CellOrigin;
  /** The address of a download. */
  pinned?: Pinned;
  /** The address of the downloaded file or folder. */
  address?: string;
  /** The repository that a download belongs to, with its commit or version. */
  repository?: string;
}

/** Results of earlier lookups, for checking many cells while nothing changes. */
export interface Seen {
  /** The matches of a glob or path, by pattern. */
  sources: Map<string, Promise<ResolvedSource[]>>;
  /** Results that will probably be needed, by fingerprint. */
  results: Map<string, Result>;
}

/** `outputsOf`: the outputs of another cell. */
export async function resolveInputs(
  cell: Cell,
  pipeline: Pipeline,
  { cache: { fileHashes: memo }, sources: elsewhere }: { cache: { fileHashes: FileHashCache }; sources: RemoteSources },
  outputsOf: (cell: string) => Record<string, Content>,
  seen: Seen['sources'] = new Map(),
): Promise<Inputs> {
  const inputs: Inputs = Object.create(null);
  for (const [role, input] of Object.entries(cell.inputs)) {
    const sources: ResolvedSource[] = [];
    for (const source of input.sources) {
      if (source.kind === 'output') sources.push(madeSource(source, cell, input, pipeline, outputsOf));
      else if (source.kind === 'path') sources.push(...(await pathSources(source, role, pipeline, memo, seen)));
      else sources.push(await remoteSource(source.address, role, elsewhere));
    }
    if (sources.length === 0 && input.declaration.optional) continue;
    check(role, cell, input, sources);
    const facts = sources.map(({ name, content: { kind, hash, executable } }) => [name, kind, hash, executable]);
    inputs[role] = { hash: sha256(canonicalJson(facts)), sources };
  }
  return inputs;
}

/** The same inputs after downloading remote files that are missing. One address may become several files. */
export async function fetched(
  inputs: Inputs,
  cell: Cell,
  { sources: elsewhere }: { sources: RemoteSources },
  work: FetchProgress,
): Promise<Inputs> {
  const here: Inputs = Object.create(null);
  for (const [role, input] of Object.entries(inputs)) {
    const sources: ResolvedSource[] = [];
    for (const source of input.sources) {
      if (!source.pinned) sources.push(source);
      else {
        const { address, revision } = source.pinned;
        if (address.kind !== 'web' && !address.text.includes(`@${revision}`)) work.log(`${address.text} is ${revision.slice(0, 12)}`);
        const files = await atInput(role, () => elsewhere.fetch(source.pinned!, work));
        sources.push(...files.map((file) => ({ ...source, ...file })));
      }
    }
    await checkFetched(role, cell, sources);
    here[role] = { ...input, sources };
  }
  return here;
}

/** Each file of an input, including files in folders. A later run compares them to report what changed. */
export async function manifestOf({ sources }: ResolvedInput, memo: FileHashCache): Promise<Manifest> {
  const manifest: Manifest = [];
  for (const { name, path, content, pinned, reading } of sources) {
    if (pinned) manifest.push([pinned.address.text, pinned.revision]);
    else if (content.kind === 'file') manifest.push([name, `${content.hash}${content.executable ? ' x' : ''}`]);
    else {
      for (const entry of Object.values(await listing(path, memo, reading ?? { follow: true }))) {
        manifest.push([`${name}/${entry.path}`, `${entry.hash}${entry.executable ? ' x' : ''}`]);
      }
    }
  }
  return manifest;
}

function madeSource(
  source: InputSource & { kind: 'output' },
  cell: Cell,
  input: CellInput,
  pipeline: Pipeline,
  outputsOf: (cell: string) => Record<string, Content>,
): ResolvedSource {
  const gather = input.declaration.many || input.sources.length > 1;
  // A command sees the paths of its inputs. A step sees only the matrix values of the cell that made an output.
  const name =
    cell.action.kind === 'shell'
      ? relative(pipeline.folder, source.path)
      : gather
        ? `${source.output} ${canonicalJson(source.matrix)}`
        : source.output;
  return { name, path: source.path, content: outputsOf(source.cell)[source.output]!, origin: { cell: source.cell, matrix: source.matrix } };
}

async function pathSources(
  { pattern, glob, exclude, gitignore }: InputSource & { kind: 'path' },
  role: string,
  { folder }: Pipeline,
  memo: FileHashCache,
  seen: Seen['sources'],
): Promise<ResolvedSource[]> {
  const leaving = { exclude, gitignore };
  const key = JSON.stringify([pattern, glob, leaving]);
  if (!seen.has(key)) seen.set(key, glob ? globSources(pattern, folder, memo, leaving) : pathSource(pattern, folder, memo, leaving));
  const sources = await seen.get(key)!;
  if (!glob && sources.length === 0) {
    throw new StepError(
      `input ${role}: ${pattern} does not exist`,
      'Create it, or correct the path. Paths are relative to the pipeline file.',
    );
  }
  return sources;
}

/** Its revision is the hash of its content. */
async function remoteSource(address: Address, role: string, elsewhere: RemoteSources): Promise<ResolvedSource> {
  const pinned = await atInput(role, () => elsewhere.pin(address));
  return { name: pinned.name, path: address.text, content: { kind: 'folder', hash: pinned.revision, size: 0, executable: false }, pinned };
}

/** Reports an error in an address at its position in the pipeline. */
async function atInput<T>(role: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof StepError ? new StepError(error.message, error.hint, [role]) : error;
  }
}

async function globSources(pattern: string, folder: string, memo: FileHashCache, leaving: LeavingOut): Promise<ResolvedSource[]> {
  const base = isAbsolute(pattern) ? staticFolder(pattern) : folder;
  const sources: ResolvedSource[] = [];
  for (const path of matches(pattern, folder, leaving)) {
    const source = await sourceAt(path, relative(base, path), memo, leaving);
    // A file that was removed after the listing counts as missing.
    if (source) sources.push(source);
  }
  return sources;
}

async function pathSource(pattern: string, folder: string, memo: FileHashCache, leaving: LeavingOut): Promise<ResolvedSource[]> {
  const path = resolve(folder, pattern);
  // Only the last part of an absolute path counts, because the rest differs between machines.
  const source = await sourceAt(path, isAbsolute(pattern) ? basename(path) : relative(folder, path), memo, leaving);
  return source ? [source] : [];
}

async function sourceAt(path: string, name: string, memo: FileHashCache, leaving: LeavingOut): Promise<ResolvedSource | undefined> {
  const reading: ContentOptions = { follow: true, leaveOut: leftOutOf(path, leaving) };
  const leftOut: string[] = [];
  const content = await contentOf(path, memo, { ...reading, onLeftOut: (left) => leftOut.push(left) });
  return content && { name, path, content, reading, leftOut };
}

function check(role: string, cell: Cell, { declaration, sources: written }: CellInput, sources: ResolvedSource[]): void {
  if (sources.length === 0) {
    const patterns = written
      .map((source) => (source.kind === 'path' ? source.pattern : source.kind === 'output' ? source.path : source.address.text))
      .join(', ');
    throw new StepError(`input ${role}: nothing matches ${patterns}`, 'Globs skip files that begin with a dot, and node_modules.');
  }
  if (cell.action.kind === 'shell') return;
  if (!declaration.many && sources.length > 1) {
    throw new StepError(
      `input ${role} takes one ${declaration.kind}, but ${sources.length} match`,
      'Name one of them, or narrow the pattern.',
    );
  }
  for (const { content, path, pinned } of sources) {
    if (!pinned && declaration.kind !== 'any' && content.kind !== declaration.kind) {
      throw new StepError(`input ${role} takes a ${declaration.kind}, but ${path} is a ${content.kind}`);
    }
  }
}

/** Checks downloads against the step's declaration, because their number and kind is known only now. */
async function checkFetched(role: string, cell: Cell, sources: ResolvedSource[]): Promise<void> {
  if (cell.action.kind === 'shell') return;
  const { declaration } = cell.inputs[role]!;
  const [first, ...others] = sources;
  if (first?.pinned && !declaration.many && others.length > 0) {
    const text = first.pinned.address.text;
    throw new StepError(`input ${role} takes one ${declaration.kind}, but ${sources.length} match ${text}`, 'Name one of them.', [role]);
  }
  for (const { path, address, pinned } of sources) {
    const kind = pinned && ((await stat(path)).isDirectory() ? 'folder' : 'file');
    if (kind && declaration.kind !== 'any' && declaration.kind !== kind)
      throw new StepError(`input ${role} takes a ${declaration.kind}, but ${address} is a ${kind}`, undefined, [role]);
  }
}

/** A file of an input or of a step's code: its name and its content. */
export type Manifest = [name: string, content: string][];
