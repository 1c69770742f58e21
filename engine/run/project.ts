/** A project that is open for a run, or read-only for a plan: its cache, records and paths. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Lease } from '../../cache/lease.ts';
import { type Cache, openCache } from '../../cache/open.ts';
import type { Pipeline } from '../cell.ts';
import { RemoteSources } from '../fetch/fetch.ts';
import { makeOwnFolder, type ProjectPaths, projectPaths } from './project-paths.ts';
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
  leaseOutputs(paths: string[], waiting?: LeaseOptions): Promise<Lease[]>;
  close(): void;
}

export interface LeaseOptions {
  signal?: AbortSignal;
  onWait?(pid: number): void;
}

export function openProject(
  { root }: Pick<Pipeline, 'root'>,
  readOnly: boolean,
  notice: Project['notice'],
  signal?: AbortSignal,
  places = projectPaths({ root }),
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
