/**
 * Garbage collection: which results are in use (`GcRoots`), which objects nothing needs any more (`planRemoval`), and the lock
 * that keeps removing and storing apart (`GcLock`).
 */

import type { Content } from './content.ts';
import type { SqliteDatabase } from './database.ts';
import { sha256 } from './digest.ts';
import { CacheError } from './error.ts';
import type { ResultEntry, ResultIndex } from './index.ts';
import type { Lease, Leases } from './lease.ts';
import { isAlive, thisProcess } from './process.ts';
import type { ObjectStore } from './store.ts';

/** A project folder on a host. */
export interface GcRootOwner {
  host: string;
  folder: string;
}

/** The results of one run. */
export interface GcRoot {
  id: number;
  user: number;
  /** The pipeline of the run. */
  label: string;
  /** ISO date. */
  began: string;
  /** The number of the newest result when the run began. Later results may belong to it. */
  after: number;
  state: 'ended' | 'running' | 'cut off';
  /** Key of the set of fingerprints that it used, which is the same for runs that change nothing. Empty if unknown yet. */
  set: string;
}

export const USES_TABLES = `
  create table users (id integer primary key, host text not null, folder text not null, unique (host, folder));
  create table uses (
    id integer primary key autoincrement, user integer not null, label text not null, began text not null, ended text,
    after integer not null, fingerprints text not null,
    host text not null, boot text not null, pid integer not null, start text not null
  );
  create index uses_by_user on uses (user, id);
  create table sets (hash text primary key, fingerprints blob not null) without rowid;`;

/** Age in milliseconds after which a run on another host, which cannot be checked, counts as ended. */
const LONGEST = 30 * 24 * 3600 * 1000;

/** The uses of results by projects. They are stored in the cache, because projects may be on another machine. */
export class GcRoots {
  constructor(private readonly database: SqliteDatabase) {}

  /** Begins a use whose results are unknown yet. Returns its id; undefined in a read-only cache. */
  register(user: GcRootOwner, label: string): number | undefined {
    if (this.database.readOnly) return undefined;
    const row = { user: this.#idOf(user), label, began: new Date().toISOString(), ...thisProcess() };
    return Number(this.database.run(ARRIVE, row).lastInsertRowid);
  }

  begin(id: number, fingerprints: Iterable<string>): void {
    this.database.run('update uses set fingerprints = ? where id = ?', this.#keepSet(fingerprints), id);
  }

  /** `fingerprints`: if there are more than at the beginning. */
  end(id: number, fingerprints: Iterable<string> | undefined): void {
    const set = fingerprints && this.#keepSet(fingerprints);
    this.database.run(END, { ended: new Date().toISOString(), set: set ?? null, id });
  }

  users(): (GcRootOwner & { id: number })[] {
    return this.database.all('select id, host, folder from users order by id');
  }

  /** All uses, oldest first. */
  all(): GcRoot[] {
    return this.database
      .all('select * from uses order by id')
      .map(({ id, user, label, began, ended, after, fingerprints, host, boot, pid, start }) => {
        const runs = ended === null && (isAlive({ host, boot, pid, start }) ?? Date.now() - Date.parse(began) < LONGEST);
        return { id, user, label, began, after, state: runs ? 'running' : ended === null ? 'cut off' : 'ended', set: fingerprints };
      });
  }

  /** Undefined if the set is unknown, so that the use may refer to any result. */
  fingerprints(set: string): string[] | undefined {
    if (set === '') return [];
    const bytes: unknown = this.database.get('select fingerprints from sets where hash = ?', set)?.fingerprints;
    const found = Buffer.isBuffer(bytes)
      ? Array.from({ length: bytes.length / 32 }, (_, i) => bytes.toString('hex', i * 32, i * 32 + 32))
      : [];
    return setHash(found) === set ? found : undefined;
  }

  forget(uses: number[], users: number[]): void {
    if (uses.length + users.length === 0) return;
    this.database.commit((statement) => {
      for (const id of uses) statement('delete from uses where id = ?').run(id);
      for (const id of users) statement('delete from users where id = ?').run(id);
      statement('delete from sets where hash not in (select fingerprints from uses)').run();
    });
  }

  #idOf({ host, folder }: GcRootOwner): number {
    const idOf = () => this.database.get('select id from users where host = ? and folder = ?', host, folder)?.id;
    const id = idOf();
    if (id !== undefined) return id;
    this.database.run('insert into users (host, folder) values (?, ?) on conflict do nothing', host, folder);
    return idOf();
  }

  /** Writes the set if it is new. */
  #keepSet(fingerprints: Iterable<string>): string {
    const sorted = [...new Set(fingerprints)].sort();
    const hash = setHash(sorted);
    if (this.database.get('select 1 from sets where hash = ?', hash)) return hash;
    const bytes = Buffer.from(sorted.join(''), 'hex');
    this.database.run('insert into sets (hash, fingerprints) values (?, ?) on conflict do nothing', hash, bytes);
    return hash;
  }
}

function setHash(sorted: string[]): string {
  return sha256(sorted.join('\n'));
}

const END = 'update uses set ended = :ended, fingerprints = coalesce(:set, fingerprints) where id = :id';
const ARRIVE = `
  insert into uses (user, label, began, after, fingerprints, host, boot, pid, start)
  values (:user, :label, :began, (select coalesce(max(number), 0) from results), '', :host, :boot, :pid, :start)`;

type Stored = Pick<Content, 'kind' | 'hash'>;

interface StoredResults {
  index: ResultIndex;
  objects: ObjectStore;
}

export interface Removal {
  results: ResultEntry[];
  objects: string[];
  /** Disk usage of the objects to remove, in bytes. */
  bytes: number;
  /** Disk usage of the remaining objects, in bytes. */
  left: number;
}

/**
 * Plans the removal of results with the objects that nothing else needs, and of objects that no result ever referred to (of
 * killed processes). `candidates`: results in the order of removal. `maxSize`: remove results only until all objects together
 * have at most this size in bytes; by default, remove all. `keep`: contents that stay even if no result has them.
 */
export function planRemoval(
  { index, objects }: StoredResults,
  { candidates, maxSize, keep }: { candidates: ResultEntry[]; maxSize?: number; keep: Stored[] },
): Removal {
  const sizes = objects.sizes();
  // Many results have the same folder, so read each listing once.
  const listings = new Map<string, string[]>();
  const objectsOf = (content: Stored) => {
    const hashes = listings.get(content.hash) ?? objects.objectsOf(content);
    listings.set(content.hash, hashes);
    return hashes;
  };
  /** Number of results that need each object. */
  const needs = new Map<string, number>();
  const need = (contents: Stored[], change: 1 | -1): string[] => {
    const unneeded: string[] = [];
    for (const hash of new Set(contents.flatMap(objectsOf))) {
      const count = (needs.get(hash) ?? 0) + change;
      needs.set(hash, count);
      if (count === 0) unneeded.push(hash);
    }
    return unneeded;
  };
  for (const { outputs } of index.all()) need(Object.values(outputs), 1);
  need(keep, 1);

  const removed = new Set([...sizes.keys()].filter((hash) => !needs.get(hash)));
  let left = [...sizes].reduce((sum, [hash, size]) => sum + (removed.has(hash) ? 0 : size), 0);
  const results: ResultEntry[] = [];
  for (const result of candidates) {
    if (maxSize !== undefined && left <= maxSize) break;
    results.push(result);
    for (const hash of need(Object.values(result.outputs), -1)) {
      if (!sizes.has(hash)) continue;
      removed.add(hash);
      left -= sizes.get(hash)!;
    }
  }
  return { results, objects: [...removed], bytes: [...removed].reduce((sum, hash) => sum + sizes.get(hash)!, 0), left };
}

/** Removes results and then their objects. Only while no process publishes (`GcLock`). */
export async function removeResults({ index, objects }: StoredResults, removal: Removal): Promise<void> {
  index.remove(removal.results.map(({ fingerprint }) => fingerprint));
  await objects.remove(removal.objects);
}

/**
 * A readers-writer lock for gc. Any number of processes may publish results at the same time, but gc removes objects alone, so
 * that no object disappears before the result that refers to it is saved. Both sides register before they check for the
 * other one, so at least one of them always sees the other.
 */
export class GcLock {
  #count = 0;

  constructor(private readonly leases: Leases) {}

  async publish(signal?: AbortSignal): Promise<Lease> {
    for (;;) {
      const own = await this.leases.acquire(`${PUBLISHING}${process.pid}-${++this.#count}-${Math.random()}`, { signal });
      if (!this.leases.isHeld(REMOVING)) return own;
      own.release();
      // Do not acquire its key, because two waiting processes would each mistake the other for gc.
      await this.leases.waitUntilFree(REMOVING, { signal });
    }
  }

  async remove(signal?: AbortSignal): Promise<Lease> {
    const own = await this.leases.acquire(REMOVING, { signal });
    try {
      if (!(await this.leases.waitUntilFree(PUBLISHING, { signal, patience: PATIENCE })))
        throw new CacheError(
          `another run has been storing a result for more than ${PATIENCE / 1000} s`,
          'Nothing was removed. Try again when that run has finished.',
        );
      return own;
    } catch (error) {
      own.release();
      throw error;
    }
  }
}

const REMOVING = 'removing';
const PUBLISHING = 'publishing ';
/** Maximum wait in milliseconds. Storing 10 GB takes a while. */
const PATIENCE = 300_000;
