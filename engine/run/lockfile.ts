/**
 * The lockfile `<pipeline>.lock` beside the pipeline file: the fingerprint of each cell and the hashes of its outputs. It is
 * made for git: sorted, identical on every machine, and with an unchanged line between the entries of two cells, so that
 * changes of neighbours merge. It is valid YAML, but tunesmith reads it line by line and accepts only its own format.
 */

import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, relative } from 'node:path';
import { temporaryIn } from '../../cache/atomic-move.ts';
import type { Content } from '../../cache/content.ts';
import { lockfilePath, type Pipeline } from '../cell.ts';
import { compareBytes } from '../format/scalars.ts';
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
  if (now === text) return;
  const temporary = temporaryIn(dirname(path));
  try {
    writeFileSync(temporary, now);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
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
