/**
 * A readers-writer lock for gc. Any number of processes may publish results at the same time, but gc removes objects alone, so
 * that no object disappears before the result that refers to it is saved. Both sides register before they check for the
 * other one, so at least one of them always sees the other.
 */
import { CacheError } from './error.ts';
import type { Lease, Leases } from './lease.ts';

export class Turns {
  #count = 0;

  constructor(private readonly leases: Leases) {}

  async publish(signal?: AbortSignal): Promise<Lease> {
    for (;;) {
      const own = await this.leases.acquire(`${PUBLISHING}${process.pid}-${++this.#count}-${Math.random()}`, { signal });
      if (!this.leases.isHeld(REMOVING)) return own;
      own.release();
      // Do not acquire its key, because two waiting processes would each mistake the other for gc.
      await this.leases.untilFree(REMOVING, { signal });
    }
  }

  async remove(signal?: AbortSignal): Promise<Lease> {
    const own = await this.leases.acquire(REMOVING, { signal });
    try {
      if (!(await this.leases.untilFree(PUBLISHING, { signal, patience: PATIENCE })))
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
