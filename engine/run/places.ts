/** Where things lie below `.tunesmith/`, and the one place that makes it. */
import { existsSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { CacheError, shown } from '../../cache/error.ts';
import type { User } from '../../cache/uses.ts';
import { fileName } from '../pipeline/cell-name.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';

export interface Places {
  /** `.tunesmith/` itself. */
  own: string;
  /** Index and objects: `TUNESMITH_CACHE`, else `.tunesmith/`. */
  cache: string;
  state: string;
  /** Hashes of this project's files, where the cache is shared and lies elsewhere. */
  memo?: string;
  /** What running cells stage, and what they moved aside (see aside.ts). */
  work: string;
  kept: string;
  /** What steps keep of attempts that were cut off, by fingerprint (see checkpoints.ts). */
  checkpoints: string;
  log(run: number, cell: string): string;
  failed(cell: string): string;
}

export function placesOf(pipeline: Pick<Pipeline, 'root'>): Places {
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

/** As whom the index of the cache knows the project. One that has the cache to itself is known wherever it is moved to. */
export function userOf(root: string, { memo }: Pick<Places, 'memo'>): User {
  return memo === undefined ? { host: '', folder: '.' } : { host: hostname(), folder: root };
}

/** Makes `.tunesmith/`, invisible to git. */
export function makeOwnFolder({ own }: Places): void {
  try {
    mkdirSync(own, { recursive: true });
  } catch (error) {
    // A file, or a link that leads nowhere.
    if (lstatSync(own, { throwIfNoEntry: false })?.isDirectory() ?? true) throw error;
    throw new CacheError(`${shown(own)} is not a folder`, 'Move it away: it is where tunesmith keeps results, records and logs.');
  }
  const ignore = join(own, '.gitignore');
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
}
