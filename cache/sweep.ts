/**
 * Removes results with their objects: the objects that no other result refers to, and objects that no result ever referred to
 * (of killed processes). The plan comes first, so that it can be printed. Then results are removed before their objects.
 */
import type { Content } from './content.ts';
import type { ResultEntry } from './index.ts';
import type { Cache } from './open.ts';

export interface Sweep {
  results: ResultEntry[];
  objects: string[];
  /** Disk usage of the objects to remove, in bytes. */
  bytes: number;
  /** Disk usage of the remaining objects, in bytes. */
  left: number;
}

export interface SweepOptions {
  /** Results that may be removed, in the order of removal. */
  candidates: ResultEntry[];
  /** Remove results only until all objects together have at most this size in bytes; by default, remove all. */
  maxSize?: number;
  /** Contents to keep even if no result has them. */
  keep: Pick<Content, 'kind' | 'hash'>[];
}

export function planSweep(cache: Cache, { candidates, maxSize, keep }: SweepOptions): Sweep {
  const sizes = cache.objects.sizes();
  const objectsOf = cachedByHash((content) => cache.objects.objectsOf(content));
  /** Number of results that need each object. */
  const needs = new Map<string, number>();
  const need = (contents: Pick<Content, 'kind' | 'hash'>[], change: 1 | -1): string[] => {
    const unneeded: string[] = [];
    for (const hash of new Set(contents.flatMap(objectsOf))) {
      const count = (needs.get(hash) ?? 0) + change;
      needs.set(hash, count);
      if (count === 0) unneeded.push(hash);
    }
    return unneeded;
  };
  for (const { outputs } of cache.index.all()) need(Object.values(outputs), 1);
  need(keep, 1);

  const goes = new Set([...sizes.keys()].filter((hash) => !needs.get(hash)));
  let left = [...sizes].reduce((sum, [hash, size]) => sum + (goes.has(hash) ? 0 : size), 0);
  const results: ResultEntry[] = [];
  for (const result of candidates) {
    if (maxSize !== undefined && left <= maxSize) break;
    results.push(result);
    for (const hash of need(Object.values(result.outputs), -1)) {
      if (!sizes.has(hash)) continue;
      goes.add(hash);
      left -= sizes.get(hash)!;
    }
  }
  const objects = [...goes];
  return { results, objects, bytes: objects.reduce((sum, hash) => sum + sizes.get(hash)!, 0), left };
}

/** Removes objects. Only while no process publishes (`GcLock`). */
export async function sweep(cache: Cache, { results, objects }: Sweep): Promise<void> {
  cache.index.remove(results.map(({ fingerprint }) => fingerprint));
  await cache.objects.remove(objects);
}

type Stored = Pick<Content, 'kind' | 'hash'>;

/** Reads the listing of a folder once, even if many results have it. */
function cachedByHash(objectsOf: (content: Stored) => string[]): (content: Stored) => string[] {
  const known = new Map<string, string[]>();
  return (content) => {
    let objects = known.get(content.hash);
    if (!objects) {
      objects = objectsOf(content);
      known.set(content.hash, objects);
    }
    return objects;
  };
}
