/**
 * `<pipeline>.lock` beside the pipeline file: what each cell's fingerprint was, and which bytes it led to. Made for git:
 * sorted, the same bytes wherever it is written, and between what changes of two cells stands a line that does not, so
 * that changes of neighbours merge. It is YAML for whoever else reads it; here it is read line by line, strictly.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Content } from '../../cache/content.ts';
import { temporaryIn } from '../../cache/temporary.ts';
import { compareBytes } from '../pipeline/cell-name.ts';

export interface LockEntry {
  fingerprint: string;
  /** By name, as `lockedBytes` writes them. */
  outputs: Record<string, string>;
}

export type Lock = Map<string, LockEntry>;

/** Says what is wrong with a lock, or which cells differ from it. */
export class LockError extends Error {
  override name = 'LockError';
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

export function lockEntry(fingerprint: string, outputs: Record<string, Content>): LockEntry {
  return { fingerprint, outputs: Object.fromEntries(Object.entries(outputs).map(([name, content]) => [name, lockedBytes(content)])) };
}

/** `program` is a file that may be executed, which counts as content. */
export function lockedBytes({ kind, hash, executable }: Content): string {
  return `${executable ? 'program' : kind} ${hash}`;
}

/** As far as a lock knows it: what a fingerprint is made of. */
export function contentOfLocked(bytes: string): Content {
  const [kind, hash] = bytes.split(' ') as [string, string];
  return { kind: kind === 'folder' ? 'folder' : 'file', hash, size: 0, executable: kind === 'program' };
}

/** Undefined where there is none. Throws LockError where it is not as we write it. */
export function readLock(path: string): Lock | undefined {
  const text = textOf(path);
  return text === undefined ? undefined : parse(text, path);
}

/**
 * Writes what cells ended with: `ended` anew (undefined: its result is not to be relied upon), and the others of `cells`
 * as they were. Cells that the pipeline no longer has go. The file stays untouched where it would be the same.
 */
export function updateLock(path: string, cells: string[], ended: Map<string, LockEntry | undefined>): void {
  const text = textOf(path);
  // Where all cells are new, it does not matter what was there: not even whether it can be read.
  const former: Lock = text === undefined || cells.every((name) => ended.has(name)) ? new Map() : parse(text, path);
  const lock: Lock = new Map();
  for (const name of cells) {
    const entry = ended.has(name) ? ended.get(name) : former.get(name);
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

const HEADER = '# What `tunesmith run` made. Keep it in git: `run --locked` and `verify` hold results against it.';

function format(lock: Lock): string {
  const lines = [HEADER];
  for (const [name, { fingerprint, outputs }] of [...lock].sort(([a], [b]) => compareBytes(a, b))) {
    lines.push(`${key(name)}:`, `  fingerprint: ${fingerprint}`);
    const made = Object.entries(outputs).sort(([a], [b]) => compareBytes(a, b));
    if (made.length > 0) lines.push('  outputs:', ...made.map(([output, bytes]) => `    ${key(output)}: ${bytes}`));
  }
  return `${lines.join('\n')}\n`;
}

function parse(text: string, path: string): Lock {
  const lock: Lock = new Map();
  let entry: LockEntry | undefined;
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
      const what = /^(<{7}|={7}|>{7})/.test(line) ? 'two versions are not merged' : 'this is no line of a lock';
      throw new LockError(
        `${basename(path)}:${index + 1}: ${what}`,
        'Keep the lines of one version; or remove the file, and a run of the whole pipeline writes it anew.',
      );
    }
  }
  return lock;
}

/** Names that YAML reads as the same text stay bare. */
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
      throw new LockError(`${basename(path)} is a folder`, 'Move it away: a run of the whole pipeline writes the lock.');
    throw error;
  }
}
