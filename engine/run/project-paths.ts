/** The paths below `.tunesmith/`, and the only function that creates the folder. */

import { existsSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { CacheError, printablePath } from '../../cache/error.ts';
import type { GcRootOwner } from '../../cache/gc-roots.ts';
import { fileName, type Pipeline } from '../cell.ts';

export interface ProjectPaths {
  /** `.tunesmith/` itself. */
  own: string;
  /** Index and objects: in `TUNESMITH_CACHE`, otherwise in `.tunesmith/`. */
  cache: string;
  state: string;
  /** Hashes of this project's files, if the cache is shared and elsewhere. */
  memo?: string;
  /** Staged and former outputs of running cells (see output-transaction.ts). */
  work: string;
  kept: string;
  /** Checkpoints of steps by fingerprint (see checkpoints.ts). */
  checkpoints: string;
  log(run: number, cell: string): string;
  failed(cell: string): string;
}

export function projectPaths(pipeline: Pick<Pipeline, 'root'>): ProjectPaths {
  const own = join(pipeline.root, '.tunesmith');
  const shared = process.env.TUNESMITH_CACHE;
  return {
    own,
    cache: shared ? resolve(shared) : own,
    state: join(own, 'state.sqlite'),
    memo: shared ? join(own, 'memo.sqlite') : undefined,
    work: join(own, 'work'),
    kept: join(own, 'kept'),
    checkpoints: join(own, 'checkpoints'),
    log: (run, cell) => join(own, 'logs', String(run), `${fileName(cell)}.log`),
    failed: (cell) => join(own, 'failed', fileName(cell)),
  };
}

/** The project's name in the index of the cache. A project with its own cache keeps its name when it moves. */
export function userOf(root: string, { memo }: Pick<ProjectPaths, 'memo'>): GcRootOwner {
  return memo === undefined ? { host: '', folder: '.' } : { host: hostname(), folder: root };
}

/** Creates `.tunesmith/`, ignored by git. */
export function makeOwnFolder({ own }: ProjectPaths): void {
  try {
    mkdirSync(own, { recursive: true });
  } catch (error) {
    // A file or a broken link.
    if (lstatSync(own, { throwIfNoEntry: false })?.isDirectory() ?? true) throw error;
    throw new CacheError(
      `${printablePath(own)} is not a folder`,
      'Move it away, because tunesmith stores results, records and logs in this folder.',
    );
  }
  const ignore = join(own, '.gitignore');
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
}
