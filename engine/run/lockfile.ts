/**
 * The lockfile `<pipeline>.lock` beside the pipeline file: the fingerprint of each cell and the hashes of its outputs. It is
 * made for git: sorted, identical on every machine, and with an unchanged line between the entries of two cells, so that
 * changes of neighbours merge. It is valid YAML, but tunesmith reads it line by line and accepts only its own format.
 */

import { readFileSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { replaceFile } from '../../cache/atomic-move.ts';
import type { Content } from '../../cache/content.ts';
import { type Cell, lockfilePath, type Pipeline } from '../contract/cell.ts';
import { compareBytes } from '../format/scalars.ts';
import { own, phrase } from './change-reasons.ts';
import { type Fingerprinted, fingerprintCell } from './fingerprint.ts';
import { differencesFrom, type Freshness } from './freshness.ts';
import { type PlannedCell, readsAtItsPlace } from './plan.ts';
import { explained } from './process/failure.ts';
import type { Project } from './project.ts';

export interface LockfileEntry {
  fingerprint: string;
  /** Outputs by name, in the format of `lockedBytes`. */
  outputs: Record<string, string>;
}

export type Lockfile = Map<string, LockfileEntry>;

/** The lockfile is invalid, or cells differ from it. */
export class LockfileError extends Error {
  override name = 'LockError';
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

export function lockfileEntry(fingerprint: string, outputs: Record<string, Content>): LockfileEntry {
  return { fingerprint, outputs: Object.fromEntries(Object.entries(outputs).map(([name, content]) => [name, lockedBytes(content)])) };
}

/** `program` is an executable file. The executable bit counts as content. */
export function lockedBytes({ kind, hash, executable }: Content): string {
  return `${executable ? 'program' : kind} ${hash}`;
}

/** The components of a fingerprint that a lockfile can provide. */
export function contentOfLocked(bytes: string): Content {
  const [kind, hash] = bytes.split(' ') as [string, string];
  return { kind: kind === 'folder' ? 'folder' : 'file', hash, size: 0, executable: kind === 'program' };
}

/** Reads a lockfile; undefined if there is none. Throws LockfileError for an invalid format. */
export function readLockfile(path: string): Lockfile | undefined {
  const text = textOf(path);
  return text === undefined ? undefined : parse(text, path);
}

/**
 * Writes the lockfile after a run: new entries for the cells of `entries` (undefined: no reliable result), and unchanged
 * entries for the other cells. Takes a lease, because other engines may be writing it for other cells of this pipeline.
 */
export async function writeLockfile(
  { file, cells }: Pipeline,
  { root, records, notice }: Project,
  entries: Map<string, LockfileEntry | undefined>,
): Promise<void> {
  const path = lockfilePath(file);
  const lease = await records.leases.acquire(`lock ${path}`);
  const names = cells.map(({ name }) => name);
  try {
    updateLockfile(path, names, entries);
  } catch (error) {
    // The results are stored, so a missing lockfile is no reason to fail.
    notice(`could not write ${relative(root, path)}: ${explained(error).message}`);
  } finally {
    lease.release();
  }
}

/** Removes cells that the pipeline no longer has. Does not touch the file if nothing changes. */
function updateLockfile(path: string, cells: string[], entries: Map<string, LockfileEntry | undefined>): void {
  const text = textOf(path);
  // If all entries are new, the old file does not matter, even if it is invalid.
  const former: Lockfile = text === undefined || cells.every((name) => entries.has(name)) ? new Map() : parse(text, path);
  const lock: Lockfile = new Map();
  for (const name of cells) {
    const entry = entries.has(name) ? entries.get(name) : former.get(name);
    if (entry) lock.set(name, entry);
  }
  const now = format(lock);
  if (now !== text) replaceFile(path, now);
}

const HEADER = '# Written by `tunesmith run`. Commit it to git: `run --locked` and `verify` compare results with it.';

function format(lock: Lockfile): string {
  const lines = [HEADER];
  for (const [name, { fingerprint, outputs }] of [...lock].sort(([a], [b]) => compareBytes(a, b))) {
    lines.push(`${key(name)}:`, `  fingerprint: ${fingerprint}`);
    const made = Object.entries(outputs).sort(([a], [b]) => compareBytes(a, b));
    if (made.length > 0) lines.push('  outputs:', ...made.map(([output, bytes]) => `    ${key(output)}: ${bytes}`));
  }
  return `${lines.join('\n')}\n`;
}

function parse(text: string, path: string): Lockfile {
  const lock: Lockfile = new Map();
  let entry: LockfileEntry | undefined;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#')) continue;
    const [, cell] = /^(\S.*):$/.exec(line) ?? [];
    const [, fingerprint] = /^ {2}fingerprint: ([\da-f]{64})$/.exec(line) ?? [];
    const [, output, bytes] = /^ {4}(\S.*): ((?:file|program|folder) [\da-f]{64})$/.exec(line) ?? [];
    const name = unquoted(cell ?? output);
    if (cell !== undefined && name !== undefined && !lock.has(name)) {
      entry = { fingerprint: '', outputs: Object.create(null) };
      lock.set(name, entry);
    } else if (entry && fingerprint !== undefined) entry.fingerprint = fingerprint;
    else if (entry && output !== undefined && name !== undefined) entry.outputs[name] = bytes!;
    else if (!entry || line !== '  outputs:') {
      const what = /^(<{7}|={7}|>{7})/.test(line) ? 'there is a merge conflict' : 'this line is not valid in a lockfile';
      throw new LockfileError(
        `${basename(path)}:${index + 1}: ${what}`,
        'Keep the lines of one version. Or remove the file and run the whole pipeline, which writes it again.',
      );
    }
  }
  return lock;
}

/** Quotes names unless YAML reads them as the same text without quotes. */
function key(name: string): string {
  return /^[A-Za-z_][\w.+=,[\]-]*$/.test(name) && !/^(null|true|false)$/i.test(name) ? name : JSON.stringify(name);
}

function unquoted(name: string | undefined): string | undefined {
  if (!name?.startsWith('"')) return name;
  try {
    return JSON.parse(name);
  } catch {
    return undefined;
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if (code === 'EISDIR')
      throw new LockfileError(`${basename(path)} is a folder`, 'Move it away. A run of the whole pipeline writes the lockfile.');
    throw error;
  }
}

/**
 * `run --locked`: no result may differ from the lockfile. As much as possible is checked before any cell runs, assuming that
 * cells produce the outputs in the lockfile. The rest is checked when cells end.
 */
export class LockfileCheck {
  private constructor(
    readonly path: string,
    private readonly lock: Lockfile,
    private readonly project: Project,
  ) {}

  static read(pipeline: Pipeline, project: Project): LockfileCheck {
    const path = lockfilePath(pipeline.file);
    const lock = readLockfile(path);
    if (lock) return new LockfileCheck(path, lock, project);
    throw new LockfileError(`there is no ${basename(path)} to compare results with`, 'Run without --locked to write it.');
  }

  /** Throws LockfileError with all cells that already differ. */
  async checkPlan(pipeline: Pipeline, selected: Set<string>, plan: Map<string, PlannedCell>): Promise<void> {
    const wrong: string[] = [];
    for (const cell of pipeline.cells) {
      const planned = plan.get(cell.name);
      if (!selected.has(cell.name) || !planned || planned.state === 'off') continue;
      const known = planned.freshness ?? (await this.#expected(cell, pipeline, plan));
      const why = known && ((await this.#whyOther(cell, known)) ?? (planned.outputs && this.#whyOtherBytes(cell, planned.outputs)));
      if (why) wrong.push(`${cell.name}: ${why}`);
      else if (!known && !this.lock.has(cell.name)) wrong.push(`${cell.name}: it is not in the lockfile`);
    }
    if (wrong.length === 0) return;
    const shown = [...wrong.slice(0, SHOWN), ...(wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`] : [])];
    throw new LockfileError(
      `${wrong.length === 1 ? '1 cell differs' : `${wrong.length} cells differ`} from ${basename(this.path)}; no cell was run`,
      [...shown, ACCEPT].join('\n  '),
    );
  }

  /** Throws LockfileError if the cell's fingerprint differs from the lockfile. */
  async checkCell(cell: Cell, freshness: Freshness): Promise<void> {
    const why = await this.#whyOther(cell, freshness);
    if (why) throw new LockfileError(`differs from ${basename(this.path)}: ${why}`, ACCEPT);
    if (freshness.state !== 'run') this.checkOutputs(cell, freshness.result!.outputs);
  }

  /** Throws LockfileError if the cell's outputs differ from the lockfile. */
  checkOutputs(cell: Cell, outputs: Record<string, Content>): void {
    const why = this.#whyOtherBytes(cell, outputs);
    if (why)
      throw new LockfileError(
        `differs from ${basename(this.path)}: ${why}`,
        'The same code, options and inputs produced different outputs. `tunesmith verify` shows whether the step is deterministic. Run without --locked to accept the new outputs.',
      );
  }

  async #whyOther(cell: Cell, known: Fingerprinted): Promise<string | undefined> {
    const entry = this.lock.get(cell.name);
    if (!entry) return 'it is not in the lockfile';
    return entry.fingerprint === known.fingerprint ? undefined : whyOther(entry.fingerprint, cell, known, this.project);
  }

  #whyOtherBytes(cell: Cell, outputs: Record<string, Content>): string | undefined {
    const entry = this.lock.get(cell.name);
    return entry && otherBytes(entry.outputs, outputs);
  }

  /** The fingerprint of a cell if the cells before it produce the locked outputs; undefined if it is not known yet. */
  async #expected(cell: Cell, pipeline: Pipeline, plan: Map<string, PlannedCell>): Promise<Fingerprinted | undefined> {
    const above = pipeline.cells.filter(({ name }) => cell.reads.includes(name));
    if (above.some((other) => !this.lock.has(other.name) || readsAtItsPlace(cell, other, pipeline))) return undefined;
    const outputsOf = (name: string) =>
      plan.get(name)?.outputs ??
      Object.fromEntries(Object.entries(this.lock.get(name)!.outputs).map(([output, bytes]) => [output, contentOfLocked(bytes)]));
    // A missing entry or input is reported when the cell's turn comes.
    if (above.some(({ name, outputs }) => Object.keys(outputs).some((output) => !Object.hasOwn(outputsOf(name), output)))) return undefined;
    return fingerprintCell(cell, { pipeline, project: this.project, outputsOf }).catch(() => undefined);
  }
}

/** Describes how a cell differs from the result with this fingerprint. */
export async function whyOther(
  fingerprint: string,
  cell: Cell,
  known: Pick<Fingerprinted, 'inputs' | 'components'>,
  project: Project,
): Promise<string> {
  const result = project.cache.index.find(fingerprint);
  if (!result) return `its fingerprint differs (the locked result is not in this cache, so the reason is unknown)`;
  return phrase(await differencesFrom(result, cell, known, project));
}

/** The outputs that differ from before; undefined if none does. */
export function otherBytes(before: Record<string, string>, now: Record<string, Content>): string | undefined {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const after = lockfileEntry('', now).outputs;
  const other = names.filter((name) => own(before, name) !== own(after, name));
  const changes = other.map((name) => `output ${name} (${brief(own(before, name))} → ${brief(own(after, name))})`);
  return changes.length > 0 ? changes.join(', ') : undefined;
}

function brief(bytes: string | undefined): string {
  return bytes === undefined ? 'none' : bytes.slice(0, bytes.indexOf(' ') + 9);
}

const SHOWN = 20;
const ACCEPT = 'Run without --locked to accept the change and update the lockfile.';
