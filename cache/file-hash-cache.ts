/**
 * A cache of file hashes, so that each file is read once: (device, inode, size, mtime, ctime) → hash.
 *
 * As in git, racy timestamps need care: a file may be written twice within one clock tick of its file system and look
 * unchanged. If the timestamps are as recent as the read, the hash is not cached, and the file is read again next time.
 *
 * New entries stay in memory during a run. `flush` writes them in one transaction.
 */

import type { BigIntStats } from 'node:fs';
import { checkOf, type SqliteDatabase } from './database.ts';

export const HASHES_TABLE = `
  create table files (
    device integer not null, inode integer not null, size integer not null, mtime_ns integer not null, ctime_ns integer not null,
    hash text not null,
    unique (device, inode)
  );`;

/** Each row has a checksum, because a wrong hash would cause a wrong fingerprint. */
export const CHECKED_HASHES_TABLE = `
  create table hashes (
    device integer not null, inode integer not null, size integer not null, mtime_ns integer not null, ctime_ns integer not null,
    hash text not null, checked text not null,
    unique (device, inode)
  );
  insert into hashes select *, check_of(device, inode, size, mtime_ns, ctime_ns, hash) from files;
  drop table files;`;

/** Lookups before reading a file, and new hashes after it. */
export type Hashes = Pick<FileHashCache, 'hashOf' | 'learn'>;

export class FileHashCache {
  /** New entries of this run: key of the file → its timestamps and hash. */
  readonly #learned = new Map<string, { stat: BigIntStats; hash: string }>();

  constructor(private readonly database: SqliteDatabase) {}

  /** The hash of the file with this stat, if it was read before and has not changed since. */
  hashOf(stat: BigIntStats): string | undefined {
    const known = this.#learned.get(keyOf(stat));
    if (known) return sameFile(known.stat, stat) ? known.hash : undefined;
    const stamps = row(stat);
    const found = this.database.read(undefined, (statement) => statement(LOOK_UP).get(...stamps));
    return found && checkOf(...stamps, found.hash) === found.checked ? found.hash : undefined;
  }

  /** Adds a hash. The read began at `since` in milliseconds, and `stat` was the same before and after it. */
  learn(stat: BigIntStats, hash: string, since: number): void {
    if (settlesAt(stat) <= since) this.trust(stat, hash);
    else this.#learned.delete(keyOf(stat));
  }

  /** Adds the hash of a file that we wrote with an mtime well before its ctime, so that any later write changes the mtime. */
  trust(stat: BigIntStats, hash: string): void {
    this.#learned.set(keyOf(stat), { stat, hash });
  }

  flush(): void {
    if (this.database.readOnly || this.#learned.size === 0) return;
    this.database.commit((statement) => {
      for (const { stat, hash } of this.#learned.values()) {
        const stamps = row(stat);
        statement(STORE).run(...stamps, hash, checkOf(...stamps, hash));
      }
      statement(PRUNE).run();
    });
    this.#learned.clear();
  }
}

/** Time in milliseconds from which the timestamps of a file are reliable: one tick after the latest. */
export function settlesAt(stat: BigIntStats): number {
  // Timestamps in whole hundredths of a second mean a file system with a coarse clock (FAT: 2 s).
  const coarse = stat.mtimeNs % 10_000_000n === 0n && stat.ctimeNs % 10_000_000n === 0n;
  return Math.max(Number(stat.mtimeNs), Number(stat.ctimeNs)) / 1e6 + (coarse ? 2000 : TICK);
}

/** Linux updates the clock for timestamps every 1 to 10 ms. */
export const TICK = 20;

export function sameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

const LOOK_UP = 'select hash, checked from hashes where device = ? and inode = ? and size = ? and mtime_ns = ? and ctime_ns = ?';
const STORE = 'replace into hashes (device, inode, size, mtime_ns, ctime_ns, hash, checked) values (?, ?, ?, ?, ?, ?, ?)';
/** Keeps the latest million, because deleted files are not reported. */
const PRUNE = 'delete from hashes where rowid <= (select max(rowid) from hashes) - 1000000';

function keyOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** SQLite's integers are signed, but devices and inodes may use all 64 bits. */
function row(stat: BigIntStats): bigint[] {
  return [BigInt.asIntN(64, stat.dev), BigInt.asIntN(64, stat.ino), stat.size, stat.mtimeNs, stat.ctimeNs];
}
