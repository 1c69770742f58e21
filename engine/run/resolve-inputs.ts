/** The files that a cell reads and their contents. */

import { stat } from 'node:fs/promises';
import { basename, isAbsolute, relative, resolve } from 'node:path';
import { type Content, type ContentOptions, contentOf, listing } from '../../cache/content.ts';
import { sha256 } from '../../cache/digest.ts';
import type { FileHashCache } from '../../cache/file-hash-cache.ts';
import type { Address } from '../contract/address.ts';
import type { Cell, CellInput, InputSource, Pipeline } from '../contract/cell.ts';
import { type CellOrigin, StepError } from '../contract/step.ts';
import type { RemoteSources } from '../fetch/fetch.ts';
import type { FetchProgress } from '../fetch/fetched-store.ts';
import type { Pinned } from '../fetch/provider.ts';
import { type LeavingOut, leftOutOf, matches, staticFolder } from '../files/glob.ts';
import { canonicalJson } from '../format/scalars.ts';

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

/** What a cell can read. */
export interface InputContext {
  pipeline: Pipeline;
  project: { cache: { fileHashes: FileHashCache }; sources: RemoteSources };
  /** The outputs of another cell, by name. */
  outputsOf(cell: string): Record<string, Content>;
  /** The matches of globs and paths by pattern, to look each up once for many cells while nothing changes. */
  matches?: Map<string, Promise<ResolvedSource[]>>;
}

export async function resolveInputs(cell: Cell, context: InputContext): Promise<Inputs> {
  const inputs: Inputs = Object.create(null);
  for (const [role, input] of Object.entries(cell.inputs)) {
    const sources: ResolvedSource[] = [];
    for (const source of input.sources) {
      if (source.kind === 'output') sources.push(madeSource(source, cell, input, context));
      else if (source.kind === 'path') sources.push(...(await pathSources(source, role, context)));
      else sources.push(await remoteSource(source.address, role, context));
    }
    if (sources.length === 0 && input.declaration.optional) continue;
    check(role, cell, input, sources);
    const facts = sources.map(({ name, content: { kind, hash, executable } }) => [name, kind, hash, executable]);
    inputs[role] = { hash: sha256(canonicalJson(facts)), sources };
  }
  return inputs;
}

/** The same inputs after downloading remote files that are missing. One address may become several files. */
export async function fetched(inputs: Inputs, cell: Cell, remote: RemoteSources, work: FetchProgress): Promise<Inputs> {
  const here: Inputs = Object.create(null);
  for (const [role, input] of Object.entries(inputs)) {
    const sources: ResolvedSource[] = [];
    for (const source of input.sources) {
      if (!source.pinned) sources.push(source);
      else {
        const { address, revision } = source.pinned;
        if (address.kind !== 'web' && !address.text.includes(`@${revision}`)) work.log(`${address.text} is ${revision.slice(0, 12)}`);
        const files = await atInput(role, () => remote.fetch(source.pinned!, work));
        sources.push(...files.map((file) => ({ ...source, ...file })));
      }
    }
    await checkFetched(role, cell, sources);
    here[role] = { ...input, sources };
  }
  return here;
}

/** Each file of an input, including files in folders. A later run compares them to report what changed. */
export async function manifestOf({ sources }: ResolvedInput, hashes: FileHashCache): Promise<Manifest> {
  const manifest: Manifest = [];
  for (const { name, path, content, pinned, reading } of sources) {
    if (pinned) manifest.push([pinned.address.text, pinned.revision]);
    else if (content.kind === 'file') manifest.push([name, `${content.hash}${content.executable ? ' x' : ''}`]);
    else {
      for (const entry of Object.values(await listing(path, hashes, reading ?? { follow: true }))) {
        manifest.push([`${name}/${entry.path}`, `${entry.hash}${entry.executable ? ' x' : ''}`]);
      }
    }
  }
  return manifest;
}

type Source<Kind> = InputSource & { kind: Kind };

function madeSource(source: Source<'output'>, cell: Cell, input: CellInput, { pipeline, outputsOf }: InputContext): ResolvedSource {
  const gather = input.declaration.many || input.sources.length > 1;
  // A command sees the paths of its inputs. Unless it asks for names, a step sees only the matrix values of the cell that made an output.
  const name =
    cell.action.kind === 'shell'
      ? relative(pipeline.folder, source.path)
      : input.declaration.named
        ? `steps.${source.cell}.${source.output}`
        : gather
          ? `${source.output} ${canonicalJson(source.matrix)}`
          : source.output;
  return { name, path: source.path, content: outputsOf(source.cell)[source.output]!, origin: { cell: source.cell, matrix: source.matrix } };
}

async function pathSources(source: Source<'path'>, role: string, { pipeline, project, matches }: InputContext): Promise<ResolvedSource[]> {
  const { pattern, glob, exclude, gitignore } = source;
  const key = JSON.stringify([pattern, glob, exclude, gitignore]);
  const lookup = matches?.get(key) ?? (glob ? globSources : pathSource)(source, pipeline.folder, project.cache.fileHashes);
  matches?.set(key, lookup);
  const sources = await lookup;
  if (!glob && sources.length === 0) {
    throw new StepError(
      `input ${role}: ${pattern} does not exist`,
      'Create it, or correct the path. Paths are relative to the pipeline file.',
    );
  }
  return sources;
}

/** Its revision is the hash of its content. */
async function remoteSource(address: Address, role: string, { project }: InputContext): Promise<ResolvedSource> {
  const pinned = await atInput(role, () => project.sources.pin(address));
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

async function globSources(source: Source<'path'>, folder: string, hashes: FileHashCache): Promise<ResolvedSource[]> {
  const base = isAbsolute(source.pattern) ? staticFolder(source.pattern) : folder;
  const sources: ResolvedSource[] = [];
  for (const path of matches(source.pattern, folder, source)) sources.push(...(await sourceAt(path, relative(base, path), source, hashes)));
  return sources;
}

async function pathSource(source: Source<'path'>, folder: string, hashes: FileHashCache): Promise<ResolvedSource[]> {
  const path = resolve(folder, source.pattern);
  // Only the last part of an absolute path counts, because the rest differs between machines.
  return sourceAt(path, isAbsolute(source.pattern) ? basename(path) : relative(folder, path), source, hashes);
}

/** Empty if the path does not exist, for example because it was removed after a glob matched it. */
async function sourceAt(path: string, name: string, leaving: LeavingOut, hashes: FileHashCache): Promise<ResolvedSource[]> {
  const reading: ContentOptions = { follow: true, leaveOut: leftOutOf(path, leaving) };
  const leftOut: string[] = [];
  const content = await contentOf(path, hashes, { ...reading, onLeftOut: (left) => leftOut.push(left) });
  return content ? [{ name, path, content, reading, leftOut }] : [];
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
