/**
 * Locks across processes: only one process holds a key at a time. The lease of a dead process is released at once, so that users
 * never unlock by hand. The system tells whether a process is alive (pid, start time, boot). A process on another host
 * is checked by its heartbeat, measured with the local clock.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { SqliteDatabase } from './database.ts';
import { isAlive, thisProcess } from './process.ts';

export interface Lease {
  /** False if another process has considered this one dead and taken the key. */
  isHeld(): boolean;
  release(): void;
}

export const LEASES_TABLE = `
  create table leases (
    key text primary key, token text not null, beat integer not null,
    host text not null, boot text not null, pid integer not null, start text not null
  ) without rowid;`;

const BEAT = 10_000;
/** Time in milliseconds without a heartbeat after which a holder that cannot be checked counts as dead. */
const SILENCE = 60_000;

export class Leases {
  readonly #held = new Map<string, string>();
  /** The last waiter in this process for each key. */
  readonly #queues = new Map<string, Promise<void>>();
  #heart: NodeJS.Timeout | undefined;
  #count = 0;

  constructor(private readonly database: SqliteDatabase) {}

  /** Waits until the key is free. Calls `onWait` for each holder that it waits for. Rejects if `signal` aborts. */
  async acquire(key: string, { signal, onWait }: { signal?: AbortSignal; onWait?(pid: number): void } = {}): Promise<Lease> {
    signal?.throwIfAborted();
    const before = this.#queues.get(key);
    let leave!: () => void;
    const place = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const last = (before ?? Promise.resolve()).then(() => place);
    this.#queues.set(key, last);
    const end = () => {
      leave();
      if (this.#queues.get(key) === last) this.#queues.delete(key);
    };
    try {
      if (before) {
        onWait?.(process.pid);
        await orAborted(before, signal);
      }
      const token = await this.#claim(key, signal, onWait);
      return {
        isHeld: () => this.#isHeldBy(key, token),
        release: () => {
          try {
            this.#release(key, token);
          } finally {
            end();
          }
        },
      };
    } catch (error) {
      end();
      throw error;
    }
  }

  /** Whether any process has a key with this prefix. A process that cannot be checked counts as alive. */
  isHeld(beginning: string): boolean {
    return this.#holders(beginning).some((holder) => isAlive(holder) ?? true);
  }

  /** Waits until no process has a key with this prefix; false if one still has after `patience` milliseconds. */
  async waitUntilFree(
    beginning: string,
    { signal, patience = Number.POSITIVE_INFINITY }: { signal?: AbortSignal; patience?: number } = {},
  ) {
    const beats = new Map<string, { beat: number; since: number }>();
    for (const end = performance.now() + patience; ; await sleep(20, undefined, { signal })) {
      let held = false;
      for (const holder of this.#holders(beginning)) {
        if (beats.get(holder.token)?.beat !== holder.beat) beats.set(holder.token, { beat: holder.beat, since: performance.now() });
        const alive = isAlive(holder) ?? performance.now() - beats.get(holder.token)!.since < SILENCE;
        if (alive) held = true;
        else this.#release(holder.key, holder.token);
      }
      if (!held) return true;
      if (performance.now() > end) return false;
    }
  }

  /** In a read-only cache, the leases are a snapshot. */
  #holders(beginning: string): Holder[] {
    if (this.database.readOnly) return [];
    return this.database.use((statement) =>
      statement('select * from leases where substr(key, 1, ?) = ?').all(beginning.length, beginning),
    ) as Holder[];
  }

  /** Releases all leases. */
  close(): void {
    for (const [token, key] of this.#held) this.#release(key, token);
  }

  async #claim(key: string, signal?: AbortSignal, onWait?: (pid: number) => void): Promise<string> {
    const { host, boot, pid, start } = thisProcess();
    const token = `${host}-${boot}-${pid}-${start}-${++this.#count}-${Math.random()}`;
    // Waiting is useless in a read-only cache, because nothing is stored.
    if (this.database.readOnly) return token;
    let watched: { token: string; beat: number; since: number } | undefined;
    for (let pause = 20; ; pause = Math.min(100, pause * 1.5)) {
      signal?.throwIfAborted();
      const taken = this.database.use((statement) => statement(TAKE).run({ key, token, host, boot, pid, start }).changes === 1);
      if (taken) {
        this.#held.set(token, key);
        this.#heart ??= setInterval(() => this.#beat(), BEAT).unref();
        return token;
      }
      const holder = this.database.use((statement) => statement('select * from leases where key = ?').get(key)) as Holder | undefined;
      if (!holder) {
        await sleep(0); // released in the meantime
        continue;
      }
      const isNew = holder.token !== watched?.token;
      if (isNew || holder.beat !== watched!.beat) watched = { token: holder.token, beat: holder.beat, since: performance.now() };
      const alive = isAlive(holder) ?? performance.now() - watched!.since < SILENCE;
      if (!alive) this.#release(key, holder.token);
      else {
        if (isNew) onWait?.(holder.pid);
        await sleep(pause, undefined, { signal });
      }
    }
  }

  #isHeldBy(key: string, token: string): boolean {
    if (this.database.readOnly) return true;
    return this.database.use((statement) => statement('select 1 from leases where key = ? and token = ?').get(key, token)) !== undefined;
  }

  #release(key: string, token: string): void {
    this.#held.delete(token);
    if (this.#held.size === 0) {
      clearInterval(this.#heart);
      this.#heart = undefined;
    }
    if (this.database.readOnly) return;
    this.database.use((statement) => statement('delete from leases where key = ? and token = ?').run(key, token));
  }

  #beat(): void {
    try {
      this.database.use((statement) => {
        for (const [token, key] of this.#held) statement('update leases set beat = beat + 1 where key = ? and token = ?').run(key, token);
      });
    } catch {
      // One missing heartbeat does not matter. A full disk is reported when something is stored.
    }
  }
}

const TAKE = `
  insert into leases (key, token, beat, host, boot, pid, start) values (:key, :token, 0, :host, :boot, :pid, :start)
  on conflict do nothing`;

interface Holder {
  key: string;
  token: string;
  beat: number;
  host: string;
  boot: string;
  pid: number;
  start: string;
}

function orAborted(promise: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    promise.then(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
  });
}
