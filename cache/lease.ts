/**
 * Locks across processes: only one process holds a key at a time. The lease of a dead process is released at once, so that users
 * never unlock by hand. The system tells whether a process is alive (pid, start time, boot). A process on another host
 * is checked by its heartbeat, measured with the local clock.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { SqliteDatabase } from './database.ts';
import { isAlive, type ProcessIdentity, processId, thisProcess } from './process.ts';

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
    const { promise: place, resolve: leave } = Promise.withResolvers<void>();
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
    const observed = new Observed();
    for (const end = performance.now() + patience; ; await sleep(20, undefined, { signal })) {
      let held = false;
      for (const holder of this.#holders(beginning)) {
        if (observed.isAlive(holder)) held = true;
        else this.#release(holder.key, holder.token);
      }
      if (!held) return true;
      if (performance.now() > end) return false;
    }
  }

  /** In a read-only cache, the leases are a snapshot. */
  #holders(beginning: string): Holder[] {
    if (this.database.readOnly) return [];
    return this.database.all('select * from leases where substr(key, 1, ?) = ?', beginning.length, beginning);
  }

  close(): void {
    for (const [token, key] of this.#held) this.#release(key, token);
  }

  async #claim(key: string, signal?: AbortSignal, onWait?: (pid: number) => void): Promise<string> {
    const token = `${processId()}-${++this.#count}-${Math.random()}`;
    // Waiting is useless in a read-only cache, because nothing is stored.
    if (this.database.readOnly) return token;
    const observed = new Observed();
    let waitedFor: string | undefined;
    for (let pause = 20; ; pause = Math.min(100, pause * 1.5)) {
      signal?.throwIfAborted();
      if (this.database.run(TAKE, { key, token, ...thisProcess() }).changes === 1) {
        this.#held.set(token, key);
        this.#heart ??= setInterval(() => this.#beat(), BEAT).unref();
        return token;
      }
      const holder: Holder | undefined = this.database.get('select * from leases where key = ?', key);
      if (!holder) {
        await sleep(0); // released in the meantime
        continue;
      }
      if (!observed.isAlive(holder)) this.#release(key, holder.token);
      else {
        if (holder.token !== waitedFor) onWait?.(holder.pid);
        waitedFor = holder.token;
        await sleep(pause, undefined, { signal });
      }
    }
  }

  #isHeldBy(key: string, token: string): boolean {
    if (this.database.readOnly) return true;
    return this.database.get('select 1 from leases where key = ? and token = ?', key, token) !== undefined;
  }

  #release(key: string, token: string): void {
    this.#held.delete(token);
    if (this.#held.size === 0) {
      clearInterval(this.#heart);
      this.#heart = undefined;
    }
    if (this.database.readOnly) return;
    this.database.run('delete from leases where key = ? and token = ?', key, token);
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

interface Holder extends ProcessIdentity {
  key: string;
  token: string;
  beat: number;
}

/** Holders of leases that are checked again and again. One that the system cannot check is alive while its heart beats. */
class Observed {
  readonly #beats = new Map<string, { beat: number; since: number }>();

  isAlive(holder: Holder): boolean {
    let last = this.#beats.get(holder.token);
    if (last?.beat !== holder.beat) last = { beat: holder.beat, since: performance.now() };
    this.#beats.set(holder.token, last);
    return isAlive(holder) ?? performance.now() - last.since < SILENCE;
  }
}

function orAborted(promise: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (!signal) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', abort));
}
