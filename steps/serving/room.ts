/**
 * Accounts for the memory of requests, from their first byte to the end of the response. Each may take half of what
 * the others leave, so that a small request fits where large ones do not.
 */
import { Refused } from './limits.ts';

export interface Room {
  /** Bytes in use. */
  readonly taken: number;
  enter(): Ticket;
}

/** The share of one request. */
export interface Ticket {
  /** @throws Refused if this much more does not fit */
  take(bytes: number): void;
  /** Releases all of it. */
  leave(): void;
}

export function openRoom(bytes: number): Room {
  let taken = 0;
  return {
    get taken() {
      return taken;
    },
    enter() {
      let own = 0;
      return {
        take(more) {
          if (own + more > (bytes - (taken - own)) / 2) throw new Refused(503, 'the server is overloaded; try again in a second');
          own += more;
          taken += more;
        },
        leave() {
          taken -= own;
          own = 0;
        },
      };
    },
  };
}
