/**
 * Permissions of outputs that differ from the umask's default, so that a private file is private again after restoring. They are
 * stored beside the content and not in its hash, because the umask must not change the content.
 */
import { chmodSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Modes by path inside the output; '' is the output itself. */
export type Modes = Record<string, number>;

/** Undefined if all are the umask's default. */
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

/** Sets modes, folders last, because files in a read-only folder need theirs first. */
export function applyModes(path: string, modes: Modes, names: Set<string>): void {
  for (const [name, mode] of Object.entries(modes).sort(([a], [b]) => (a < b ? 1 : -1))) {
    // The modes may come from an imported archive.
    if (name !== '' && !names.has(name)) continue;
    const at = name === '' ? path : join(path, name);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat && !stat.isSymbolicLink()) chmodSync(at, mode & 0o777);
  }
}
