/**
 * The memory that requests take from their first byte to the end of their answer. Each may take half of what the others leave, so that
 * a small request finds room where large ones do not.
 */
import { Refused } from './limits.ts';

export interface Room {
  /** Bytes that are taken. */
  readonly taken: number;
  enter(): Ticket;
}

/** What one request has taken. */
export interface Ticket {
  /** @throws Refused where there is no room for so much more */
  take(bytes: number): void;
  /** Gives all of it back. */
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
          if (own + more > (bytes - (taken - own)) / 2) throw new Refused(503, 'too much is waiting; try again in a second');
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
