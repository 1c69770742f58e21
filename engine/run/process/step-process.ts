/**
 * The child process of `uses` steps: loads a step, runs it and reports to the engine by messages, which contain only JSON and
 * paths. The process ends after the step, unless the engine may reuse it and the step has left nothing running. It also
 * ends when the engine ends and the channel closes.
 */

import { writeFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';
import { systemError } from '../../../cache/error.ts';
import { type Frame, userStack } from '../../contract/errors.ts';
import { memoryLimit } from '../../contract/memory-limit.ts';
import { type MetricNotes, type StepContext, type StepDefinition, StepError } from '../../contract/step.ts';
import type { Json } from '../../format/scalars.ts';

/** The step and the serialisable part of its context. */
export interface StepJob extends Omit<StepContext, 'options' | 'inputs' | 'signal' | 'log' | 'warn' | 'result' | 'progress' | 'metric'> {
  module: { builtin: string } | { path: string };
  options: Record<string, Json>;
  inputs: Record<string, string | string[]>;
  /** The mark to write to stdout and stderr when the step is done and the process may be reused; absent otherwise. */
  mark?: string;
}

export type Message =
  | { type: 'begun' }
  | { type: 'log'; message: string }
  | { type: 'warn'; message: string }
  | { type: 'result'; message: string }
  | { type: 'progress'; done: number; total?: number; values: Record<string, number | string> }
  /** `sign` of an infinite value, because JSON has only null for it. */
  | ({ type: 'metric'; name: string; value: number; sign?: number } & MetricNotes)
  | { type: 'done' }
  /** After `done`: the process can take another step. */
  | { type: 'free' }
  /** For an error that is not a StepError: the whole `stack` for the log, and for the screen the frames in the custom step. */
  | { type: 'error'; message: string; hint?: string; option?: readonly string[]; stack?: string; frames?: Frame[] };

// A third of the loading time of a step's libraries is compilation, so Node caches the compiled code.
enableCompileCache();

// Created here, so that they count as resources that existed before the step.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const ended = new AbortController();
let idle = true;
/** The module of the running step if it is the user's own. */
let own: string | undefined;
process.on('SIGTERM', () => {
  if (idle) process.exit();
  ended.abort();
});
// A terminal sends Ctrl-C to all processes. Ignore it here, because the engine handles it.
process.on('SIGINT', () => {});
/** Whether the step itself has closed the channel on which it reports. Node calls the same function if the engine has died. */
let isClosedByStep = false;
const { disconnect } = process;
process.disconnect = () => {
  isClosedByStep = !/\bonread \(node:internal/.test(String(new Error().stack));
  disconnect?.call(process);
};
process.once('disconnect', () => (isClosedByStep ? process.exit(0) : process.kill(-process.pid, 'SIGKILL')));
process.once('uncaughtException', fail);
process.once('unhandledRejection', fail);
process.on('message', (job: StepJob) => void serve(job));

async function serve(job: StepJob): Promise<void> {
  idle = false;
  own = 'path' in job.module ? job.module.path : undefined;
  forgetPeak();
  send({ type: 'begun' });
  const before = surroundings();
  try {
    await run(job);
  } catch (error) {
    return fail(error);
  }
  if (job.mark === undefined || ended.signal.aborted) return finish({ type: 'done' });
  await write('');
  if (!(await isAsBefore(before))) return finish({ type: 'done' });
  send({ type: 'done' });
  await write(job.mark);
  idle = true;
  send({ type: 'free' });
}

/** Writes the mark to stdout and stderr after all pending output. */
async function write(text: string): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((written) => stream.write(text, () => written()))));
}

/** Resets the kernel's record of this process's peak memory (see usage.ts). */
function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // The file exists only on Linux.
  }
}

async function run(job: StepJob): Promise<void> {
  const definition = await load(job.module);
  // Leftovers of one step must not send messages in the name of the next.
  let over = false;
  const say = (message: Message) => {
    if (!over) send(message);
  };
  if (own !== undefined) {
    // Otherwise the channel alone would keep this process alive forever if nothing can settle the promise any more.
    process.channel?.unref();
    process.once('beforeExit', neverSettled);
  }
  try {
    await definition.run({
      ...job,
      inputs: byName(job.inputs),
      origins: byName(job.origins),
      outputs: byName(job.outputs),
      options: job.options as StepContext['options'],
      signal: ended.signal,
      log: (message) => say({ type: 'log', message: String(message) }),
      warn: (message) => say({ type: 'warn', message: String(message) }),
      result: (message) => say({ type: 'result', message: String(message) }),
      progress: throttled((done, total, values = {}) => say({ type: 'progress', done, total, values: inJson(values) })),
      metric: (name, value, more) => say({ type: 'metric', name, value, ...signOf(value), ...notesOf(more) }),
    });
  } finally {
    over = true;
    process.removeListener('beforeExit', neverSettled);
    process.channel?.ref();
  }
}

function signOf(value: number): { sign?: number } {
  return value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY ? { sign: Math.sign(value) } : {};
}

/** NaN and infinite numbers as text, because JSON has only null for them. */
function inJson(values: Record<string, number | string>): Record<string, number | string> {
  const isInJson = (value: unknown) => typeof value !== 'number' || Number.isFinite(value);
  return Object.fromEntries(
    Object.entries(Object(values)).map(([name, value]) => [name, isInJson(value) ? value : String(value)]),
  ) as typeof values;
}

/** The notes of a metric. Anything else is passed on as its step, and the engine reports it. */
function notesOf(more: number | MetricNotes | undefined): MetricNotes {
  const isNotes = typeof more === 'object' && Object.keys(Object(more)).every((key) => ['step', 'better', 'low', 'high'].includes(key));
  return isNotes ? more : { step: more as number };
}

/** Has only own properties, so that an absent input named `constructor` is undefined. */
function byName<T extends object>(map: T): T {
  return Object.assign(Object.create(null), map);
}

/** `resources`: the number of active resources, such as timers and sockets, that keep a process alive. */
function surroundings() {
  return { folder: process.cwd(), variables: { ...process.env }, resources: process.getActiveResourcesInfo().length };
}

/** Whether the process can be reused. Restores environment variables; other changes cannot be undone. */
async function isAsBefore(before: ReturnType<typeof surroundings>): Promise<boolean> {
  for (const name of Object.keys({ ...before.variables, ...process.env })) {
    const value = Object.hasOwn(before.variables, name) ? before.variables[name] : undefined;
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  // Give resources time to close and loaders time to write their caches.
  for (let check = 0; check < MOST_CHECKS; check++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const { folder, resources } = surroundings();
    if (folder !== before.folder) return false;
    if (resources <= before.resources) return process.memoryUsage.rss() < MOST_MEMORY;
  }
  return false;
}

/** Number of checks, 1 ms apart. Starting a new process would take longer than all of them. */
const MOST_CHECKS = 200;

/** Maximum memory of a process that is kept for reuse, in bytes. */
const MOST_MEMORY = Math.min(1e9, memoryLimit() / 4);

async function load(module: StepJob['module']): Promise<StepDefinition> {
  if ('path' in module) return (await import('../../contract/load-step.ts')).loadStep(module.path);
  return (await (await import('../../../steps/registry.ts')).builtin(module.builtin))!;
}

/** Called when the event loop is empty but the step has not returned. Node itself exits with code 13 in this case. */
function neverSettled(): void {
  const message = "the step's promise never settled: nothing is left running that could settle it";
  fail(new StepError(message, 'Call resolve or reject in every case, also if a callback gets an error or an event does not occur.'));
}

function fail(thrown: unknown): void {
  const error = asError(thrown);
  const { hint, option, stack } = error;
  // Compare the name, not the class, because a step may import another copy of tunesmith.
  const explained = error.name === 'StepError';
  const mistake = explained ? undefined : own;
  const trouble = explained ? undefined : systemError(error);
  finish({
    type: 'error',
    message: mistake ? described(error) : (trouble?.message ?? (String(error.message) || `${error.name} without a message`)),
    // Errors of other libraries may use these field names with another meaning.
    hint: typeof hint === 'string' ? hint : mistake ? causes(error) : trouble?.hint,
    option: Array.isArray(option) && option.every((key) => typeof key === 'string') ? option : undefined,
    stack: explained ? undefined : stack,
    frames: mistake ? userStack(stack, mistake) : undefined,
  });
}

/** `TypeError: x is not a function`, as JavaScript prints it; only the message for a plain Error. */
function described({ name, message }: Error): string {
  const text = String(message);
  if (name === 'Error' && text !== '') return text;
  return text === '' ? `${name} without a message` : `${name}: ${text}`;
}

/** The causes of an error, because `fetch failed` and `All promises were rejected` alone explain little. */
function causes(error: Error): string | undefined {
  const errors = error instanceof AggregateError && Array.isArray(error.errors) ? error.errors : [];
  const lines = errors.slice(0, 3).map((one) => `caused by ${described(asError(one))}`);
  for (let at: unknown = error.cause; at !== undefined && lines.length < 3; at = at instanceof Error ? at.cause : undefined)
    lines.push(`caused by ${described(asError(at))}`);
  return lines.length > 0 ? lines.join('\n') : undefined;
}

/** Converts a thrown value of any type to an Error. */
function asError(thrown: unknown): Error & { hint?: unknown; option?: unknown } {
  if (isNativeError(thrown) || thrown instanceof Error) return thrown;
  return new Error(typeof thrown === 'string' ? thrown : `threw ${inspect(thrown, { depth: 1, breakLength: Number.POSITIVE_INFINITY })}`);
}

function send(message: Message): void {
  if (process.connected) process.send?.(message);
}

/** Sends the last message and ends the process, even if the step has left timers or sockets open. */
function finish(message: Message): void {
  process.removeAllListeners('disconnect');
  process.send?.(message, () => process.exit());
}

/** Limits updates to about twenty per second. The last update of a series is always sent. */
function throttled(progress: StepContext['progress']): StepContext['progress'] {
  let next = 0;
  return (done, total, values) => {
    const now = performance.now();
    if (now < next && done !== total) return;
    next = now + 50;
    progress(done, total, values);
  };
}
