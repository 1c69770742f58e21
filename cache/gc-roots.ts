/**
 * The uses of results, so that gc does not remove results that another project with this cache needs. A user is a project
 * folder on a host; a use is the set of results of one run. Uses are stored in the cache, because projects may be on another
 * machine.
 */

import type { SqliteDatabase } from './database.ts';
import { sha256 } from './digest.ts';
import { isAlive, thisProcess } from './process.ts';

export interface GcRootOwner {
  host: string;
  folder: string;
}

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

export class GcRoots {
  constructor(private readonly database: SqliteDatabase) {}

  /** Begins a use whose results are unknown yet. Returns its id; undefined in a read-only cache. */
  register(user: GcRootOwner, label: string): number | undefined {
    if (this.database.readOnly) return undefined;
    const { host, boot, pid, start } = thisProcess();
    return this.database.use((statement) => {
      const row = { user: this.#idOf(user), label, began: new Date().toISOString(), host, boot, pid, start };
      return Number(statement(ARRIVE).run(row).lastInsertRowid);
    });
  }

  begin(id: number, fingerprints: Iterable<string>): void {
    const set = this.#keepSet(fingerprints);
    this.database.use((statement) => statement('update uses set fingerprints = ? where id = ?').run(set, id));
  }

  /** `fingerprints`: if there are more than at the beginning. */
  end(id: number, fingerprints: Iterable<string> | undefined): void {
    const set = fingerprints && this.#keepSet(fingerprints);
    this.database.use((statement) =>
      statement('update uses set ended = ?, fingerprints = coalesce(?, fingerprints) where id = ?').run(
        new Date().toISOString(),
        set ?? null,
        id,
      ),
    );
  }

  users(): (GcRootOwner & { id: number })[] {
    return this.database.use((statement) => statement('select id, host, folder from users order by id').all()) as (GcRootOwner & {
      id: number;
    })[];
  }

  /** All uses, oldest first. */
  all(): GcRoot[] {
    const rows = this.database.use((statement) => statement('select * from uses order by id').all()) as any[];
    return rows.map(({ id, user, label, began, ended, after, fingerprints, host, boot, pid, start }) => {
      const runs = ended === null && (isAlive({ host, boot, pid, start }) ?? Date.now() - Date.parse(began) < LONGEST);
      return { id, user, label, began, after, state: runs ? 'running' : ended === null ? 'cut off' : 'ended', set: fingerprints };
    });
  }

  /** Undefined if the set is unknown, so that the use may refer to any result. */
  fingerprints(set: string): string[] | undefined {
    if (set === '') return [];
    const bytes = this.database.use((statement) => statement('select fingerprints from sets where hash = ?').pluck().get(set)) as Buffer;
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
    const where = [host, folder];
    return this.database.use((statement) => {
      const known = statement('select id from users where host = ? and folder = ?').pluck();
      const id = known.get(...where);
      if (id !== undefined) return id as number;
      statement('insert into users (host, folder) values (?, ?) on conflict do nothing').run(...where);
      return known.get(...where) as number;
    });
  }

  /** Writes the set if it is new. */
  #keepSet(fingerprints: Iterable<string>): string {
    const sorted = [...new Set(fingerprints)].sort();
    const hash = setHash(sorted);
    this.database.use((statement) => {
      if (statement('select 1 from sets where hash = ?').get(hash)) return;
      statement('insert into sets (hash, fingerprints) values (?, ?) on conflict do nothing').run(
        hash,
        Buffer.from(sorted.join(''), 'hex'),
      );
    });
    return hash;
  }
}

function setHash(sorted: string[]): string {
  return sha256(sorted.join('\n'));
}

const ARRIVE = `
  insert into uses (user, label, began, after, fingerprints, host, boot, pid, start)
  values (:user, :label, :began, (select coalesce(max(number), 0) from results), '', :host, :boot, :pid, :start)`;
