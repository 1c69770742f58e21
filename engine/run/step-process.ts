/**
 * The child process of one `uses` step: loads the step, runs it, and tells the engine what happens, as messages.
 * Nothing but JSON and paths crosses. It ends with the engine: when the channel closes, so does everything here.
 */
import type { CellOrigin, Json, StepContext, StepDefinition } from '../step.ts';

export interface StepJob {
  module: { builtin: string } | { path: string };
  options: Record<string, Json>;
  inputs: Record<string, string | string[]>;
  origins: Record<string, CellOrigin[]>;
  addresses: Record<string, string>;
  outputs: Record<string, string>;
  checkpoints: string;
  folder: string;
  cell: CellOrigin;
  seed: number;
  threads: number;
}

export type Message =
  | { type: 'log'; message: string }
  | { type: 'warn'; message: string }
  | { type: 'progress'; done: number; total?: number; values: Record<string, number | string> }
  | { type: 'metric'; name: string; value: number; step?: number }
  | { type: 'done' }
  /** `stack`: of an error that is not a StepError, for the log. */
  | { type: 'error'; message: string; hint?: string; option?: readonly string[]; stack?: string };

const ended = new AbortController();
process.on('SIGTERM', () => ended.abort());
// Ctrl-C reaches the whole terminal; the engine decides what it means.
process.on('SIGINT', () => {});
process.once('disconnect', () => process.kill(-process.pid, 'SIGKILL'));
process.once('uncaughtException', fail);
process.once('unhandledRejection', fail);
process.once('message', (job: StepJob) => run(job).then(() => finish({ type: 'done' }), fail));

async function run(job: StepJob): Promise<void> {
  const definition = await load(job.module);
  await definition.run({
    ...job,
    options: job.options as StepContext['options'],
    signal: ended.signal,
    log: (message) => tell({ type: 'log', message: String(message) }),
    warn: (message) => tell({ type: 'warn', message: String(message) }),
    progress: throttled((done, total, values = {}) => tell({ type: 'progress', done, total, values })),
    metric: (name, value, step) => tell({ type: 'metric', name, value, step }),
  });
}

async function load(module: StepJob['module']): Promise<StepDefinition> {
  if ('path' in module) return (await import('../load-step.ts')).loadStep(module.path);
  return (await (await import('../registry.ts')).builtin(module.builtin))!;
}

function fail(error: unknown): void {
  const { message, hint, option, name, stack }: Error & { hint?: string; option?: readonly string[] } =
    error instanceof Error ? error : new Error(String(error));
  // The name tells, not the class: a step may have been built against another copy of the contract.
  finish({ type: 'error', message, hint, option, stack: name === 'StepError' ? undefined : stack });
}

function tell(message: Message): void {
  if (process.connected) process.send?.(message);
}

/** The last message; then this process ends, whatever timers or sockets the step has left open. */
function finish(message: Message): void {
  process.removeAllListeners('disconnect');
  process.send?.(message, () => process.exit());
}

/** No eye follows more than some twenty updates a second; the last of a series is always told. */
function throttled(progress: StepContext['progress']): StepContext['progress'] {
  let next = 0;
  return (done, total, values) => {
    const now = performance.now();
    if (now < next && done !== total) return;
    next = now + 50;
    progress(done, total, values);
  };
}
