/**
 * The permissions of an output that are not those that the umask gives: a private file is private again when it is restored. They are kept
 * beside the content, not in its hash: the same bytes are the same content whatever the umask of who made them.
 */
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** By path below the output; the output itself is ''. */
export type Modes = Record<string, number>;

/** Undefined where all are as the umask has them. */
export function modesOf(path: string): Modes | undefined {
  const modes: [string, number][] = [];
  const mask = process.umask();
  const look = (at: string, name: string) => {
    const stat = lstatSync(at);
    if (stat.isSymbolicLink()) return;
    const mode = stat.mode & 0o777;
    const usual = (stat.isDirectory() || (mode & 0o100) !== 0 ? 0o777 : 0o666) & ~mask;
    if (mode !== usual) modes.push([name, mode]);
    if (stat.isDirectory()) for (const below of readdirSync(at)) look(join(at, below), name === '' ? below : `${name}/${below}`);
  };
  look(path, '');
  return modes.length > 0 ? Object.fromEntries(modes) : undefined;
}

/** Folders last: what is in one that may not be written to has its mode by then. */
export function applyModes(path: string, modes: Modes, names: Set<string>): void {
  for (const [name, mode] of Object.entries(modes).sort(([a], [b]) => (a < b ? 1 : -1))) {
    // They may have come with an archive from elsewhere.
    if (name !== '' && !names.has(name)) continue;
    const at = name === '' ? path : join(path, name);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat && !stat.isSymbolicLink()) chmodSync(at, mode & 0o777);
  }
}
