/**
 * Publishing and removing take turns. Any number of processes may publish at once; who removes does so alone, so that no
 * object goes between its being found there and the result that refers to it. Both write down what they want to do
 * before they look at what others do, so one of two always sees the other.
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
      // Not by asking for its key: two that wait like that would each take the other for one that removes.
      await this.leases.untilFree(REMOVING, { signal });
    }
  }

  async remove(signal?: AbortSignal): Promise<Lease> {
    const own = await this.leases.acquire(REMOVING, { signal });
    try {
      if (!(await this.leases.untilFree(PUBLISHING, { signal, patience: PATIENCE })))
        throw new CacheError(
          `a run has been storing a result for more than ${PATIENCE / 1000} s`,
          'Nothing was removed. Try again when it is done.',
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
/** Storing 10 GB takes a while. */
const PATIENCE = 300_000;
