/**
 * Writes a text below `.tunesmith/` that only saves time later. The write is atomic, and a failure is ignored.
 * Not for results, which must be on the disk before they are reported (cache/atomic-move.ts).
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { replaceFile } from '../../cache/atomic-move.ts';
import { sealed, unsealed } from '../../cache/database.ts';

/** `path` is two levels below `.tunesmith/`. Creates that folder, ignored by git, if it is missing. */
export function writeCachedText(path: string, text: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    try {
      writeFileSync(`${dirname(dirname(path))}/.gitignore`, '*\n', { flag: 'wx' });
    } catch {
      // It exists.
    }
    replaceFile(path, sealed(text));
  } catch {
    // For example a full disk or missing permission.
  }
}

/** The stored value; undefined if it is missing or damaged. */
export function readCachedText(path: string): string | undefined {
  try {
    return unsealed(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
