/**
 * Ctrl-C and other signals during a run. The first signal stops the children and lets the run end in order. The second one
 * ends the process at once; a shell then kills the remaining children (run/process/orphan-reaper.ts).
 */
import { constants } from 'node:os';

export interface Interruptions {
  signal: AbortSignal;
  /** The signal that arrived, if any. */
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
  // The reader of our output has closed the pipe (cli.ts). Not SIGPIPE: a listener would stop Node from ignoring that signal.
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
      // Keep the `unread` listener, because writing the summary fails, too.
    },
  };
}
