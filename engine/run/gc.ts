/**
 * What `tunesmith gc` removes: results, and files that no run removes. A result is kept while something refers to it: a lockfile
 * in this project or in another one with the same cache, a run in progress, any run of another project, or a run of this project
 * that the scope keeps.
 */

import { type Dirent, existsSync, lstatSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { namesIn, removeTree } from '../../cache/atomic-move.ts';
import type { Content } from '../../cache/content.ts';
import { CacheError } from '../../cache/error.ts';
import { type GcRoot, planRemoval, type Removal, removeResults } from '../../cache/gc.ts';
import type { ResultEntry } from '../../cache/index.ts';
import { type Cache, openCache } from '../../cache/open.ts';
import { type ProjectPaths, projectPaths, userOf } from './project.ts';
import { type LogRecord, readRecords } from './records.ts';

/** Rules for removal. A result is removed only if all given rules allow it. */
export interface GcScope {
  /** Number of runs to keep for each pipeline of this project. */
  keepRuns?: number;
  /** Minimum time since the last use, in milliseconds. */
  olderThan?: number;
  /** Maximum size of all objects in bytes. The least recently used results are removed first. */
  maxSize?: number;
}

export interface Collection extends Removal {
  results: Candidate[];
  /** Number of results before the removal. */
  total: number;
  /** Number of results that are still referred to, by the kind of reference. */
  kept: Record<Referrer, number>;
  /** Logs of removed results, of runs that the scope does not keep. */
  logs: string[];
}

export type Candidate = ResultEntry & { lastUsed: string };
type Referrer = 'lock' | 'running' | 'other project';

/** What would be removed. Changes nothing. */
export function planCollection(root: string, scope: GcScope): Collection {
  const places = projectPaths({ root });
  const cache = openCache(places.cache, { readOnly: true, fileHashes: places.memo });
  try {
    return plan(root, places, cache, scope).collection;
  } finally {
    cache.close();
  }
}

/** Removes it. Other engines may be running; they wait with storing results during the removal. */
export async function collect(root: string, scope: GcScope, signal: AbortSignal): Promise<Collection> {
  const places = projectPaths({ root });
  const cache = openCache(places.cache, { fileHashes: places.memo });
  try {
    if (cache.readOnly) throw new CacheError(`the cache ${places.cache} is read-only, so nothing can be removed`);
    const turn = await cache.gcLock.remove(signal);
    try {
      const { collection, forgotten } = plan(root, places, cache, scope);
      await removeResults(cache, collection);
      cache.gcRoots.forget(forgotten.uses, forgotten.users);
      for (const log of collection.logs) rmSync(log, { force: true });
      return collection;
    } finally {
      turn.release();
    }
  } finally {
    cache.close();
  }
}

/** `forgotten`: uses that the scope does not keep, and uses of projects that no longer exist. */
function plan(
  root: string,
  places: ProjectPaths,
  cache: Cache,
  scope: GcScope,
): { collection: Collection; forgotten: { uses: number[]; users: number[] } } {
  const results = cache.index.all();
  const users = new Map(cache.gcRoots.users().map((user) => [user.id, user]));
  const own = userOf(root, places);
  const isOwn = (use: GcRoot) => users.get(use.user)?.folder === own.folder && users.get(use.user)?.host === own.host;
  const uses = cache.gcRoots.all();
  const gone = goneUsers(users, uses);
  const reliesOn = reliance(cache, results, uses);

  const kept = new Map<string, Referrer>();
  const mark = (fingerprints: Iterable<string>, referrer: Referrer) => {
    for (const fingerprint of fingerprints) if (!kept.has(fingerprint)) kept.set(fingerprint, referrer);
  };
  const lockedBytes: Pick<Content, 'kind' | 'hash'>[] = [];
  const reachable = [...users.values()].filter(({ host }) => host === hostname()).map(({ folder }) => folder);
  for (const folder of new Set([root, ...reachable])) {
    for (const { fingerprints, contents } of locksBelow(folder)) {
      mark(fingerprints, 'lock');
      lockedBytes.push(...contents);
    }
  }
  for (const use of uses) if (use.state === 'running') mark(reliesOn(use), 'running');
  for (const use of uses) if (!isOwn(use) && !gone.includes(use.user)) mark(reliesOn(use), 'other project');

  const lastUsed = lastUses(uses, reliesOn);
  const past = new PastRuns(scope);
  const keptUses = new Set(past.keep(uses.filter(isOwn).map(({ id, label, began }) => ({ id, pipeline: label, began }))));
  const keptByScope = new Set(uses.filter(({ id }) => keptUses.has(id)).flatMap(reliesOn));
  const candidates = results
    .filter(({ fingerprint }) => !kept.has(fingerprint))
    .map((result): Candidate => ({ ...result, lastUsed: later(result.created, lastUsed.get(result.fingerprint)) }))
    .filter(({ fingerprint, lastUsed }) => (scope.keepRuns === undefined || !keptByScope.has(fingerprint)) && past.isOld(lastUsed))
    .sort((a, b) => (a.lastUsed < b.lastUsed ? -1 : a.lastUsed > b.lastUsed ? 1 : a.number - b.number));

  const removal = planRemoval(cache, { candidates, maxSize: scope.maxSize, keep: lockedBytes });
  const counts: Record<Referrer, number> = { lock: 0, running: 0, 'other project': 0 };
  for (const { fingerprint } of results) {
    const referrer = kept.get(fingerprint);
    if (referrer) counts[referrer]++;
  }
  const stay = new Set(results.map(({ fingerprint }) => fingerprint));
  for (const { fingerprint } of removal.results) stay.delete(fingerprint);
  return {
    collection: {
      ...removal,
      results: removal.results as Candidate[],
      total: results.length,
      kept: counts,
      logs: oldLogs(root, past, stay),
    },
    forgotten: {
      uses: uses
        .filter((use) => use.state !== 'running' && (gone.includes(use.user) || (isOwn(use) && !keptUses.has(use.id))))
        .map(({ id }) => id),
      users: gone,
    },
  };
}

/** The past runs that a scope keeps. */
class PastRuns {
  readonly #before: string | undefined;

  constructor(private readonly scope: GcScope) {
    this.#before = scope.olderThan === undefined ? undefined : new Date(Date.now() - scope.olderThan).toISOString();
  }

  isOld(at: string): boolean {
    return this.#before === undefined || at < this.#before;
  }

  /** Runs, oldest first. A scope with only a maximum size keeps all runs. */
  keep(runs: { id: number; pipeline: string; began: string }[]): number[] {
    const { keepRuns } = this.scope;
    if (keepRuns === undefined && this.#before === undefined) return runs.map(({ id }) => id);
    const seen = new Map<string, number>();
    return runs.reverse().flatMap(({ id, pipeline, began }) => {
      const place = (seen.get(pipeline) ?? 0) + 1;
      seen.set(pipeline, place);
      return (keepRuns !== undefined && place <= keepRuns) || (this.#before !== undefined && began >= this.#before) ? [id] : [];
    });
  }
}

/** A missing folder may be on a disk that is not mounted, so its projects count for another month. */
function goneUsers(users: Map<number, { host: string; folder: string }>, uses: GcRoot[]): number[] {
  const month = new Date(Date.now() - 30 * 24 * 3600 * 1000).toISOString();
  return [...users].flatMap(([id, { host, folder }]) => {
    if (host !== hostname() || existsSync(folder)) return [];
    return uses.some((use) => use.user === id && (use.state === 'running' || use.began > month)) ? [] : [id];
  });
}

/** The results that a use refers to. An interrupted run has not recorded all of its results. */
function reliance(cache: Cache, results: ResultEntry[], uses: GcRoot[]): (use: GcRoot) => string[] {
  const sets = new Map<string, string[]>();
  return (use) => {
    // The run is still checking its cells.
    if (use.state === 'running' && use.set === '') return results.map(({ fingerprint }) => fingerprint);
    let set = sets.get(use.set);
    if (!set) {
      // A run with a damaged record may refer to any result.
      set = cache.gcRoots.fingerprints(use.set) ?? results.map(({ fingerprint }) => fingerprint);
      sets.set(use.set, set);
    }
    if (use.state === 'ended') return set;
    const next = uses.find(({ id, user, label }) => id > use.id && user === use.user && label === use.label);
    const until = use.state === 'running' || !next ? Number.POSITIVE_INFINITY : next.after;
    const made = results.filter(
      ({ number, subject }) => number > use.after && number <= until && (use.state === 'running' || subject.startsWith(`${use.label} `)),
    );
    return [...set, ...made.map(({ fingerprint }) => fingerprint)];
  };
}

/** The last use of each result, from the latest of all runs that used the same set. */
function lastUses(uses: GcRoot[], reliesOn: (use: GcRoot) => string[]): Map<string, string> {
  const latest = new Map(uses.map((use) => [use.state === 'ended' ? use.set : `${use.id}`, use]));
  const at = new Map<string, string>();
  for (const use of latest.values()) for (const fingerprint of reliesOn(use)) at.set(fingerprint, later(use.began, at.get(fingerprint)));
  return at;
}

/** The results that lockfiles below a folder refer to. Reads them line by line, so that files with merge conflicts work, too. */
function* locksBelow(folder: string): Generator<{ fingerprints: string[]; contents: Pick<Content, 'kind' | 'hash'>[] }> {
  for (const file of lockFiles(folder)) {
    const text = textOf(file);
    const fingerprints = [...text.matchAll(/^ {2}fingerprint: ([\da-f]{64})\r?$/gm)].map(([, fingerprint]) => fingerprint!);
    if (fingerprints.length === 0) continue;
    const bytes = [...text.matchAll(/: (file|program|folder) ([\da-f]{64})\r?$/gm)];
    yield { fingerprints, contents: bytes.map(([, kind, hash]) => ({ kind: kind === 'folder' ? 'folder' : 'file', hash: hash! })) };
  }
}

function* lockFiles(folder: string): Generator<string> {
  for (const entry of entriesOf(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && !entry.name.startsWith('.') && entry.name !== 'node_modules') yield* lockFiles(path);
    else if (entry.isFile() && entry.name.endsWith('.lock')) yield path;
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Skips folders of other users that are unreadable. The index has the uses of their runs. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

function oldLogs(root: string, past: PastRuns, stay: Set<string>): string[] {
  return (
    readRecords(root, (records) => {
      const runs = records.runs(Number.MAX_SAFE_INTEGER).reverse();
      const kept = new Set(past.keep(runs.map(({ id, pipeline, started }) => ({ id, pipeline, began: started }))));
      const running = new Set(runs.filter(({ state }) => state === 'running').map(({ id }) => id));
      const isOld = ({ run, fingerprint, log }: LogRecord) =>
        !kept.has(run) && !running.has(run) && !(fingerprint !== undefined && stay.has(fingerprint)) && existsSync(log);
      return records
        .logs()
        .filter(isOld)
        .map(({ log }) => log);
    }) ?? []
  );
}

function later(a: string, b: string | undefined): string {
  return b === undefined || a > b ? a : b;
}

/**
 * Files that no run removes: `.tunesmith/kept/<time>/`, users' files that were at the paths of outputs, and
 * `.tunesmith/failed/<cell>/`, outputs of failed cells that have not succeeded since.
 */
export interface Leftover {
  kind: 'kept' | 'failed';
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
    namesIn(folder)
      .sort()
      .flatMap((name) => {
        const path = join(folder, name);
        // Moving a file does not change its mtime. The folder's mtime shows when the file was put there.
        const isOld = Date.now() - lstatSync(path).mtimeMs >= olderThan;
        return isOld ? [{ kind, path, ...measured(Buffer.from(path)) }] : [];
      }),
  );
}

/** Throws if one of them cannot be removed. */
export function removeLeftovers(leftovers: Leftover[]): void {
  for (const { path } of leftovers) removeTree(path);
}

/** Whether a run is in progress, which may store files in `failed/`. */
export function isRunning(root: string): boolean {
  return readRecords(root, (records) => records.runs(Number.MAX_SAFE_INTEGER).some(({ state }) => state === 'running')) ?? false;
}

/** By bytes, because a name may not be UTF-8. What may not be read counts as empty. */
function measured(path: Buffer): { files: number; bytes: number } {
  const total = { files: 0, bytes: 0 };
  try {
    const stat = lstatSync(path);
    if (!stat.isDirectory()) return { files: 1, bytes: stat.size };
    for (const name of readdirSync(path, 'buffer')) {
      const { files, bytes } = measured(Buffer.concat([path, Buffer.from('/'), name]));
      total.files += files;
      total.bytes += bytes;
    }
  } catch {
    // It was removed in the meantime, or may not be read.
  }
  return total;
}
