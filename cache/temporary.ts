/** Names of temporary files. A name contains the process, so that files of a killed process can be removed. */
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, thisProcess } from './process.ts';

const PREFIX = '.tunesmith-';
/** Age in milliseconds after which an unchanged file of a process on another host counts as abandoned. */
const WEEK = 7 * 24 * 3600 * 1000;

let count = 0;

/** A unique path in `folder`. It is short, because the user's names may have the maximum length. */
export function temporaryIn(folder: string): string {
  const { host, boot, pid, start } = thisProcess();
  return join(folder, `${PREFIX}${host}-${boot}-${pid}-${start}-${++count}`);
}

/** Removes files of dead processes from `folder`. */
export function removeAbandoned(folder: string): void {
  for (const name of namesIn(folder)) {
    if (!name.startsWith(PREFIX)) continue;
    const [host = '', boot = '', pid = '', start = ''] = name.slice(PREFIX.length).split('-');
    const path = join(folder, name);
    const alive = isAlive({ host, boot, pid: Number(pid), start });
    if (alive ?? Date.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < WEEK) continue;
    try {
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Another process removes it, or it belongs to another user.
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
