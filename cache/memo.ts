/**
 * Remembers the hash of each file that was read, so that it is read once: (device, inode, size, mtime, ctime) → hash.
 *
 * The racy-timestamp rule: a file may be written twice within one tick of its filesystem's clock and look the same. So
 * when a file's stamps are as young as the reading itself, its hash is not remembered; the next look reads it again.
 *
 * During a run all is kept in memory; `flush` writes it in one transaction.
 */
import type { BigIntStats } from 'node:fs';
import type { Database } from './database.ts';
import { checkOf } from './sealed.ts';

export const MEMO_TABLE = `
  create table files (
    device integer not null, inode integer not null, size integer not null, mtime_ns integer not null, ctime_ns integer not null,
    hash text not null,
    unique (device, inode)
  );`;

/** A wrong hash would become a wrong fingerprint: each row carries a check of itself. */
export const CHECKED_MEMO_TABLE = `
  create table hashes (
    device integer not null, inode integer not null, size integer not null, mtime_ns integer not null, ctime_ns integer not null,
    hash text not null, checked text not null,
    unique (device, inode)
  );
  insert into hashes select *, check_of(device, inode, size, mtime_ns, ctime_ns, hash) from files;
  drop table files;`;

/** Whoever reads asks here first, and tells what was read. */
export type Hashes = Pick<Memo, 'hashOf' | 'learn'>;

export class Memo {
  /** Learned in this run: key of the file → its stamps and hash. */
  readonly #learned = new Map<string, { stat: BigIntStats; hash: string }>();

  constructor(private readonly database: Database) {}

  /** The hash of the file that has this stat, if it was read before and has not changed since. */
  hashOf(stat: BigIntStats): string | undefined {
    const known = this.#learned.get(keyOf(stat));
    if (known) return sameFile(known.stat, stat) ? known.hash : undefined;
    const stamps = row(stat);
    const found = this.database.look(undefined, (statement) => statement(LOOK_UP).get(...stamps)) as
      | { hash: string; checked: string }
      | undefined;
    return found && checkOf(...stamps, found.hash) === found.checked ? found.hash : undefined;
  }

  /** The file was read; the reading began at `since` (ms), and `stat` was the same before and after. */
  learn(stat: BigIntStats, hash: string, since: number): void {
    if (settlesAt(stat) <= since) this.trust(stat, hash);
    else this.#learned.delete(keyOf(stat));
  }

  /** We wrote the file ourselves, and gave it an mtime well before its ctime: whoever writes to it next changes the mtime. */
  trust(stat: BigIntStats, hash: string): void {
    this.#learned.set(keyOf(stat), { stat, hash });
  }

  /** Writes what was learned. */
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

/** When (ms) the stamps of a file are old enough to vouch for it: a tick later than the youngest. */
export function settlesAt(stat: BigIntStats): number {
  // Whole hundredths of a second in both stamps: a filesystem with a coarse clock (FAT: 2 s).
  const coarse = stat.mtimeNs % 10_000_000n === 0n && stat.ctimeNs % 10_000_000n === 0n;
  return Math.max(Number(stat.mtimeNs), Number(stat.ctimeNs)) / 1e6 + (coarse ? 2000 : TICK);
}

/** Linux stamps files with a clock that moves every 1 to 10 ms. */
export const TICK = 20;

export function sameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

const LOOK_UP = 'select hash, checked from hashes where device = ? and inode = ? and size = ? and mtime_ns = ? and ctime_ns = ?';
const STORE = 'replace into hashes (device, inode, size, mtime_ns, ctime_ns, hash, checked) values (?, ?, ?, ?, ?, ?, ?)';
/** Nobody tells us of deleted files: the latest million is kept. */
const PRUNE = 'delete from hashes where rowid <= (select max(rowid) from hashes) - 1000000';

function keyOf(stat: BigIntStats): string {
  return `${stat.dev}:${stat.ino}`;
}

/** SQLite's integers are signed; devices and inodes may use all 64 bits. */
function row(stat: BigIntStats): bigint[] {
  return [BigInt.asIntN(64, stat.dev), BigInt.asIntN(64, stat.ino), stat.size, stat.mtimeNs, stat.ctimeNs];
}
