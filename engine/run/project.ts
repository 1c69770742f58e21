/** A project opened for a run (or, touching nothing, for a plan): its cache, its records, its places. */
import { realpathSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Lease } from '../../cache/lease.ts';
import { type Cache, openCache } from '../../cache/open.ts';
import type { Pipeline } from '../pipeline/pipeline.ts';
import { Sources } from '../sources/sources.ts';
import { makeOwnFolder, type Places, placesOf } from './places.ts';
import { Records } from './records.ts';

export interface Project {
  root: string;
  places: Places;
  cache: Cache;
  records: Records;
  /** What lies elsewhere. */
  sources: Sources;
  /** Says something that the user should not miss. */
  notice(message: string, cell?: string): void;
  /** Waits until nobody else writes at any of these paths. */
  leaseOutputs(paths: string[], waiting?: Waiting): Promise<Lease[]>;
  close(): void;
}

export interface Waiting {
  signal?: AbortSignal;
  onWait?(pid: number): void;
}

export function openProject(
  { root }: Pick<Pipeline, 'root'>,
  readOnly: boolean,
  notice: Project['notice'],
  signal?: AbortSignal,
  places = placesOf({ root }),
): Project {
  if (!readOnly) makeOwnFolder(places);
  const cache = openCache(places.cache, { readOnly, memo: places.memo, staging: join(places.own, 'tmp'), notice });
  const records = openRecords(root, readOnly, cache);
  return {
    root,
    places,
    cache,
    records,
    sources: new Sources({
      // A cache of others that we may only read is no place for what we fetch.
      folder: join(cache.readOnly && !readOnly ? places.own : places.cache, 'sources'),
      memo: cache.memo,
      readOnly,
      notice,
      signal,
    }),
    notice,
    async leaseOutputs(paths, waiting) {
      const leases: Lease[] = [];
      try {
        // Always in the same order: two cells that want the same two outputs must not wait for each other.
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

/** One name for one place, whichever links lead to it; what the last part of the path is, the cell decides. */
function realOf(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path; // its folder is not there yet
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
