/** Names for files that are not finished yet. A name says whose it is, so that what a killed process left can be removed. */
import { lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive, thisProcess } from './process.ts';

const PREFIX = '.tunesmith-';
/** A process on another host cannot be asked; what it left untouched for so long is nobody's. */
const WEEK = 7 * 24 * 3600 * 1000;

let count = 0;

/** A path in `folder` that no other process, and no other call, is given. Short: the names around it may be as long as allowed. */
export function temporaryIn(folder: string): string {
  const { host, boot, pid, start } = thisProcess();
  return join(folder, `${PREFIX}${host}-${boot}-${pid}-${start}-${++count}`);
}

/** Removes what dead processes left in `folder`. */
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
      // Another process is removing it as well, or may and we may not.
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
