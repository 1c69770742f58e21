/**
 * Verifies a lockfile: executes cells again, each in a clean folder with only its declared inputs, and compares the outputs
 * with the lockfile (without a lockfile, with the cache). The folder acts as the root of the file system: it contains the
 * project at the same path, so that no file of the user is written to.
 */

import { constants, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { type Content, readFolder } from '../../cache/content.ts';
import { sha256 } from '../../cache/digest.ts';
import { MissingObjectError } from '../../cache/error.ts';
import type { Cache } from '../../cache/open.ts';
import { type Cell, lockfilePath, type Pipeline, writesToHub } from '../contract/cell.ts';
import { InvalidError } from '../contract/errors.ts';
import { RemoteSources } from '../fetch/fetch.ts';
import { type LeavingOut, leftOutOf, matches, within } from '../files/glob.ts';
import { CellExecution } from './execute.ts';
import { fingerprintCell } from './fingerprint.ts';
import { type Lockfile, type LockfileEntry, lockfileEntry, otherBytes, readLockfile, whyOther } from './lockfile.ts';
import { planCells } from './plan.ts';
import { explained } from './process/failure.ts';
import { OrphanReaper } from './process/orphan-reaper.ts';
import { StepProcesses } from './process/process-reuse.ts';
import { openProject, type Project, projectPaths } from './project.ts';
import { lacksOf } from './requirements.ts';
import { machineFor } from './scheduler.ts';
import { cellsNamed, unknownCell } from './select-cells.ts';

interface VerifyOptions {
  /** Cells or steps; if empty, `count` cells are chosen at random. */
  words: string[];
  count: number;
  /** Seed of the random choice. */
  seed: number;
  signal: AbortSignal;
}

export interface Verified {
  cell: string;
  /** `same`: as locked; `differs`: different, but always the same; `random`: different each time; `unknown`: not verifiable. */
  state: 'same' | 'differs' | 'random' | 'unknown';
  seconds: number;
  /** The reason, unless `same`. */
  why?: string;
  /** The last lines of the log of a failed cell. */
  tail?: string[];
}

/** `report` is called for each verified cell. */
export async function verifyPipeline(pipeline: Pipeline, options: VerifyOptions, report: (verified: Verified) => void): Promise<void> {
  const project = openProject(pipeline, { readOnly: true });
  const base = mkdtempSync(join(tmpdir(), 'tunesmith-verify-'));
  const orphanReaper = new OrphanReaper();
  const stepProcesses = new StepProcesses(orphanReaper);
  try {
    const lock = readLockfile(lockfilePath(pipeline.file)) ?? (await known(pipeline, project));
    const verifier = new Verifier({ pipeline, project, lock, base, orphanReaper, stepProcesses, signal: options.signal });
    for (const cell of chosen(pipeline, lock, options)) {
      if (options.signal.aborted) return;
      const began = performance.now();
      const verdict = await verifier.verify(cell);
      if (options.signal.aborted) return;
      report({ cell: cell.name, seconds: Math.round(performance.now() - began) / 1000, ...verdict });
    }
  } finally {
    await stepProcesses.close();
    orphanReaper.close();
    project.close();
    rmSync(base, { recursive: true, force: true });
  }
}

/** Without a lockfile: the results in the cache for the current pipeline. */
async function known(pipeline: Pipeline, project: Project): Promise<Lockfile> {
  const lock: Lockfile = new Map();
  for (const [name, { freshness }] of await planCells(pipeline, project))
    if (freshness?.result) lock.set(name, lockfileEntry(freshness.fingerprint, freshness.result.outputs));
  return lock;
}

/** The given cells, or a random choice by the seed without those that need not be deterministic, such as with `cache: false`. */
function chosen(pipeline: Pipeline, lock: Lockfile, { words, count, seed }: VerifyOptions): Cell[] {
  const named = words.map((word) => ({ word, cells: cellsNamed(pipeline, word) }));
  const unknown = named.filter(({ cells }) => cells.length === 0);
  if (unknown.length > 0) throw new InvalidError(unknown.map(({ word }) => unknownCell(pipeline, word)));
  if (words.length > 0) return [...new Set(named.flatMap(({ cells }) => cells))];
  const drawn = pipeline.cells
    .filter((cell) => cell.enabled && cell.cache && lock.has(cell.name) && outsideOf(cell) === undefined)
    .map((cell) => ({ cell, lot: sha256(`${seed} ${cell.name}`) }))
    .sort((a, b) => (a.lot < b.lot ? -1 : 1))
    .slice(0, count);
  return pipeline.cells.filter((cell) => drawn.some((one) => one.cell === cell));
}

/** What the cell reads or changes besides its inputs and outputs: executing it again could give another result, or change it. */
function outsideOf(cell: Cell): string | undefined {
  if (writesToHub(cell)) return 'a repository on the hub';
  return cell.action.kind === 'step' ? cell.action.definition.outside : undefined;
}

type Verdict = Omit<Verified, 'cell' | 'seconds'>;

interface VerifierSetup {
  pipeline: Pipeline;
  project: Project;
  lock: Lockfile;
  /** The folder for the clean folders. */
  base: string;
  orphanReaper: OrphanReaper;
  stepProcesses: StepProcesses;
  signal: AbortSignal;
}

class Verifier {
  /** By cell, because a cell also runs for the cells that read it if no cache has its result. */
  readonly #verdicts = new Map<string, Promise<Verdict>>();
  #folders = 0;

  constructor(private readonly setup: VerifierSetup) {}

  verify(cell: Cell): Promise<Verdict> {
    let verdict = this.#verdicts.get(cell.name);
    if (!verdict) {
      verdict = this.#verify(cell);
      this.#verdicts.set(cell.name, verdict);
    }
    return verdict;
  }

  async #verify(cell: Cell): Promise<Verdict> {
    const entry = this.setup.lock.get(cell.name);
    if (!cell.enabled) return { state: 'unknown', why: 'its `when` is false' };
    if (!entry) return { state: 'unknown', why: 'it has no result yet; run it first' };
    const outside = outsideOf(cell);
    if (outside !== undefined) return { state: 'unknown', why: `it depends on ${outside} outside of its inputs and outputs` };
    const root = join(this.setup.base, String(++this.#folders));
    const moved = movedTo(root, this.setup.pipeline);
    const project = this.#openMoved(moved);
    try {
      return await this.#executeIn(root, cell, entry, moved, project);
    } catch (error) {
      return { state: 'unknown', why: explained(error).message };
    } finally {
      project.close();
      rmSync(root, { recursive: true, force: true });
    }
  }

  async #executeIn(root: string, cell: Cell, entry: LockfileEntry, moved: Pipeline, project: Project): Promise<Verdict> {
    const contents = new Map<string, Record<string, Content>>();
    for (const name of cell.reads) {
      const dependency = this.setup.pipeline.cells.find((other) => other.name === name)!;
      const outputs = await this.#restore(dependency, root, project.cache);
      if (!outputs)
        return { state: 'unknown', why: `its input from ${name} is not in the cache, and running ${name} again did not reproduce it` };
      contents.set(name, outputs);
    }
    await copyInputs(cell, this.setup.pipeline, root, project);
    const here = { ...moved.cells.find(({ name }) => name === cell.name)!, cache: true };
    const outputsOf = (name: string) => contents.get(name)!;
    const known = await fingerprintCell(here, { pipeline: moved, project, outputsOf });
    if (known.fingerprint !== entry.fingerprint)
      return { state: 'unknown', why: `it has changed since: ${await whyOther(entry.fingerprint, cell, known, this.setup.project)}` };

    const freshness = { ...known, state: 'run' as const, why: 'verify', differing: [] };
    const machine = await machineFor([here]);
    const [lack] = lacksOf(here, machine);
    if (lack) return { state: 'unknown', why: lack.message };
    const gpus = machine.gpus.slice(0, here.resources.gpu ?? 0);
    const context = { ...this.setup, pipeline: moved, project, run: 1, outputsOf, gpus, leases: [], emit: () => {} };
    const first = await new CellExecution(here, freshness, context).run();
    if (first.state === 'failed') return { state: 'unknown', why: `it failed: ${first.failure.message}`, tail: first.failure.tail };
    if (first.state === 'canceled') return { state: 'unknown', why: 'interrupted' };
    const other = otherBytes(entry.outputs, first.outputs);
    if (!other) return { state: 'same' };
    const second = await new CellExecution(here, freshness, context).run();
    if (second.state === 'canceled') return { state: 'unknown', why: 'interrupted' };
    const again =
      second.state === 'failed' || otherBytes(lockfileEntry(entry.fingerprint, first.outputs).outputs, second.outputs) !== undefined;
    return again
      ? { state: 'random', why: `it is not deterministic: ${other}; a second execution produced different outputs again` }
      : { state: 'differs', why: `two executions produced identical outputs, but they differ from the stored ones: ${other}` };
  }

  /** Puts the locked outputs of a cell that is read into the folder: from the cache, otherwise by running the cell. */
  async #restore(above: Cell, root: string, own: Cache): Promise<Record<string, Content> | undefined> {
    const entry = this.setup.lock.get(above.name);
    if (!entry) return undefined;
    const from = async ({ index, objects }: Cache) => {
      const outputs = index.find(entry.fingerprint)?.outputs;
      if (!outputs || otherBytes(entry.outputs, outputs)) return undefined;
      try {
        for (const [name, { path }] of Object.entries(above.outputs)) await objects.restore(outputs[name]!, join(root, path));
        return outputs;
      } catch (error) {
        if (error instanceof MissingObjectError) return undefined;
        throw error;
      }
    };
    const stored = await from(this.setup.project.cache);
    if (stored) return stored;
    return (await this.verify(above)).state === 'same' ? from(own) : undefined;
  }

  /** Opens the project in a clean folder, with one cache for all cells. Downloads are shared with the real project. */
  #openMoved(moved: Pipeline): Project {
    const places = { ...projectPaths(moved), cache: join(this.setup.base, 'cache'), memo: undefined };
    const project = openProject(moved, { signal: this.setup.signal, places });
    const sources = new RemoteSources({
      folder: join(this.setup.project.places.cache, 'sources'),
      fileHashes: project.cache.fileHashes,
      readOnly: false,
      notice: () => {},
      signal: this.setup.signal,
    });
    return { ...project, sources };
  }
}

function movedTo(root: string, pipeline: Pipeline): Pipeline {
  const at = (path: string) => join(root, path);
  mkdirSync(at(pipeline.folder), { recursive: true });
  return {
    ...pipeline,
    file: at(pipeline.file),
    folder: at(pipeline.folder),
    root: at(pipeline.root),
    cells: pipeline.cells.map((cell) => ({
      ...cell,
      inputs: Object.fromEntries(
        Object.entries(cell.inputs).map(([role, input]) => [
          role,
          { ...input, sources: input.sources.map((source) => (source.kind === 'output' ? { ...source, path: at(source.path) } : source)) },
        ]),
      ),
      outputs: Object.fromEntries(Object.entries(cell.outputs).map(([name, output]) => [name, { ...output, path: at(output.path) }])),
    })),
  };
}

/** Copies the declared input files of the cell. Absolute paths are read in place, and `#restore` provides outputs of cells. */
async function copyInputs(cell: Cell, { folder, cells }: Pipeline, root: string, { cache }: Project): Promise<void> {
  const made = cells.flatMap(({ outputs }) => Object.values(outputs).map(({ path }) => path));
  for (const { sources } of Object.values(cell.inputs)) {
    for (const source of sources) {
      if (source.kind !== 'path' || isAbsolute(source.pattern)) continue;
      const paths = source.glob ? matches(source.pattern, folder, source) : [resolve(folder, source.pattern)];
      for (const path of paths) {
        if (!existsSync(path) || made.some((output) => within(path, output))) continue;
        const to = join(root, path);
        mkdirSync(dirname(to), { recursive: true });
        if (!existsSync(to)) await copy(path, to, cache, source);
      }
    }
  }
}

/** Copies as a fingerprint reads: follows links that leave a folder and keeps the others as links. */
async function copy(path: string, to: string, { fileHashes: memo }: Cache, leaving: LeavingOut): Promise<void> {
  if (!statSync(path).isDirectory()) return copyFileSync(path, to, constants.COPYFILE_FICLONE);
  mkdirSync(to);
  for (const entry of await readFolder(path, memo, { follow: true, leaveOut: leftOutOf(path, leaving) })) {
    const at = join(to, entry.path);
    if (entry.kind === 'folder') mkdirSync(at);
    else if (entry.link !== undefined) symlinkSync(entry.link, at);
    else copyFileSync(join(path, entry.path), at, constants.COPYFILE_FICLONE);
  }
}

/** The name of what results are compared with. */
export function comparedWith(pipeline: Pipeline): string {
  const path = lockfilePath(pipeline.file);
  return existsSync(path) ? basename(path) : 'the results in the cache';
}
