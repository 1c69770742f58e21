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

type Signal = (typeof SIGNALS)[number];

/** SIGPIPE: whoever reads our output is gone (cli.ts). */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE'] as const;

export function interruptions(stopping: () => void): Interruptions {
  const controller = new AbortController();
  let by: Signal | undefined;
  const interrupt = (signal: Signal) => {
    if (signal === 'SIGPIPE' && by) return;
    if (by) process.exit(128 + constants.signals[signal]);
    by = signal;
    if (signal !== 'SIGPIPE') stopping();
    controller.abort();
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  return {
    signal: controller.signal,
    get by() {
      return by;
    },
    release() {
      for (const signal of SIGNALS) process.off(signal, interrupt);
    },
  };
}
