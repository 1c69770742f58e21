/**
 * Files that no run removes: `.tunesmith/kept/<time>/`, users' files that were at the paths of outputs, and
 * `.tunesmith/failed/<cell>/`, partial outputs of cells that have not succeeded since.
 */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { removeTree } from '../../cache/atomic-move.ts';
import { projectPaths } from './project-paths.ts';
import { readRecords } from './records.ts';

export type LeftoverKind = 'kept' | 'failed';

export interface Leftover {
  kind: LeftoverKind;
  path: string;
  files: number;
  bytes: number;
}

/** `olderThan`: only leftovers that have not changed for this time in milliseconds, since they were put there. */
export function leftovers(root: string, olderThan = 0): Leftover[] {
  const { kept, own } = projectPaths({ root });
  const folders = [
    ['kept', kept],
    ['failed', join(own, 'failed')],
  ] as const;
  return folders.flatMap(([kind, folder]) =>
    namesIn(folder).flatMap((name) => {
      const path = join(folder, name);
      // Moving a file does not change its mtime. The folder's mtime shows when the file was put there.
      const isOld = Date.now() - lstatSync(path).mtimeMs >= olderThan;
      return isOld ? [{ kind, path, ...measured(path) }] : [];
    }),
  );
}

/** Throws if one cannot be removed. */
export function removeLeftovers(leftovers: Leftover[]): void {
  for (const { path } of leftovers) removeTree(path);
}

/** Whether a run is in progress, which may store files in `failed/`. */
export function isRunning(root: string): boolean {
  return readRecords(root, (records) => records.runs(Number.MAX_SAFE_INTEGER).some(({ state }) => state === 'running')) ?? false;
}

function measured(path: string): { files: number; bytes: number } {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return { files: 1, bytes: stat.size };
  const inner = namesIn(path).map((name) => measured(join(path, name)));
  return { files: inner.reduce((sum, { files }) => sum + files, 0), bytes: inner.reduce((sum, { bytes }) => sum + bytes, 0) };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // missing or unreadable
  }
}
