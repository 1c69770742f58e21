/**
 * Ctrl-C and its kin during a run. The first one stops the children and lets the run end in order; the second one ends
 * everything at once: children that are left are ended by their guard (engine/run/guard.ts).
 */
import { constants } from 'node:os';

export interface Interruptions {
  signal: AbortSignal;
  /** What came, if something did. */
  readonly by?: Signal;
  release(): void;
}

type Signal = (typeof SIGNALS)[number] | 'SIGPIPE';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function interruptions(stopping: () => void): Interruptions {
  const controller = new AbortController();
  let by: Signal | undefined;
  const interrupt = (signal: (typeof SIGNALS)[number]) => {
    if (by && by !== 'SIGPIPE') process.exit(128 + constants.signals[signal]);
    by = signal;
    stopping();
    controller.abort();
  };
  // Whoever read our output is gone (cli.ts). Not by the signal itself: to listen for that would end Node's own ignoring of it.
  const unread = () => {
    by ??= 'SIGPIPE';
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  process.on('unread', unread);
  return {
    signal: controller.signal,
    get by() {
      return by;
    },
    release() {
      for (const signal of SIGNALS) process.off(signal, interrupt);
      // `unread` stays: the summary is still to be written, and nobody reads that either.
    },
  };
}
