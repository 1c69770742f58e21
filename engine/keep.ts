/**
 * Keeps a text below `.tunesmith/` that only saves time: whole or not at all, and that it cannot be kept is no trouble.
 * Not for results, which must be on the disk before anybody hears of them (cache/durable.ts).
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { sealed, unsealed } from '../cache/sealed.ts';

/** `path` is two levels below `.tunesmith/`, which is made, invisible to git, where it is not there. */
export function keepText(path: string, text: string): void {
  const partial = `${path}.${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    try {
      writeFileSync(`${dirname(dirname(path))}/.gitignore`, '*\n', { flag: 'wx' });
    } catch {
      // It is there.
    }
    writeFileSync(partial, sealed(text));
    renameSync(partial, path);
  } catch {
    // A full disk, a folder that is not ours.
  }
}

/** What was kept there; undefined where it is not there, or damaged. */
export function keptText(path: string): string | undefined {
  try {
    return unsealed(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
