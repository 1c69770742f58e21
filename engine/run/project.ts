/** A project that is open for a run, or read-only for a plan: its cache, records and paths. */

import { existsSync, lstatSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { CacheError, printablePath, refuseFilesAt } from '../../cache/error.ts';
import type { GcRootOwner } from '../../cache/gc.ts';
import type { Lease } from '../../cache/lease.ts';
import { type Cache, openCache } from '../../cache/open.ts';
import { fileName, type Pipeline } from '../contract/cell.ts';
import { RemoteSources } from '../fetch/fetch.ts';
import { Records } from './records.ts';

export interface Project {
  root: string;
  places: ProjectPaths;
  cache: Cache;
  records: Records;
  /** Remote models and data. */
  sources: RemoteSources;
  /** Reports something that the user should not miss. */
  notice(message: string, cell?: string): void;
  /** Waits until no other run writes to these paths. */
  leaseOutputs(paths: string[], waiting?: Parameters<Records['leases']['acquire']>[1]): Promise<Lease[]>;
  close(): void;
}

interface ProjectOptions extends Partial<Pick<Project, 'places' | 'notice'>> {
  readOnly?: boolean;
  signal?: AbortSignal;
}

/** Opens the project for some work. */
export async function withProject<T>(
  pipeline: Pick<Pipeline, 'root'>,
  options: ProjectOptions,
  work: (project: Project) => T | Promise<T>,
): Promise<T> {
  const project = openProject(pipeline, options);
  try {
    return await work(project);
  } finally {
    project.close();
  }
}

export function openProject(
  { root }: Pick<Pipeline, 'root'>,
  { readOnly = false, notice = () => {}, signal, places = projectPaths({ root }) }: ProjectOptions,
): Project {
  if (!readOnly) makeOwnFolder(places);
  const cache = openCache(places.cache, { readOnly, fileHashes: places.memo, staging: join(places.own, 'tmp'), notice });
  const records = openRecords(root, readOnly, cache);
  return {
    root,
    places,
    cache,
    records,
    sources: new RemoteSources({
      // Downloads do not go to a read-only cache.
      folder: join(cache.readOnly && !readOnly ? places.own : places.cache, 'sources'),
      fileHashes: cache.fileHashes,
      readOnly,
      notice,
      signal,
    }),
    notice,
    async leaseOutputs(paths, waiting) {
      const leases: Lease[] = [];
      try {
        // Always in the same order, so that two cells with the same outputs cannot deadlock.
        for (const path of paths.map(realOf).sort()) leases.push(await records.leases.acquire(`output ${path}`, waiting));
        return leases;
      } catch (error) {
        for (const lease of leases) lease.release();
        throw error;
      }
    },
    close() {
      try {
        cache.close();
      } finally {
        records.close();
      }
    },
  };
}

/** Resolves links in the folders of a path, so that each place has one name. The last part is not resolved. */
function realOf(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path; // the folder does not exist yet
  }
}

function openRecords(root: string, readOnly: boolean, cache: Cache): Records {
  try {
    return new Records(root, { readOnly });
  } catch (error) {
    cache.close();
    throw error;
  }
}

/** The paths below `.tunesmith/`. */
export interface ProjectPaths {
  /** `.tunesmith/` itself. */
  own: string;
  /** Index and objects: in `TUNESMITH_CACHE`, otherwise in `.tunesmith/`. */
  cache: string;
  /** Hashes of this project's files, if the cache is shared and elsewhere. */
  memo?: string;
  /** Staged and former outputs of running cells (see output-transaction.ts). */
  work: string;
  kept: string;
  /** Checkpoints of steps by fingerprint (see step-checkpoints.ts). */
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
export function makeOwnFolder({ own, work }: ProjectPaths): void {
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
  // Every execution needs it. A file in the place of another folder only breaks what needs that folder.
  refuseFilesAt([work]);
  const ignore = join(own, '.gitignore');
  if (!existsSync(ignore)) writeFileSync(ignore, '*\n');
}
