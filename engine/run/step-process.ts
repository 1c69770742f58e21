/**
 * The child process of `uses` steps: loads a step, runs it, and tells the engine what happens, as messages.
 * Nothing but JSON and paths crosses. It ends with its work, but where the engine says that more may follow, and nothing
 * has been left behind here. It ends with the engine, too: when the channel closes, so does everything here.
 */
import { writeFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { inspect } from 'node:util';
import { isNativeError } from 'node:util/types';
import { memoryLimit } from '../memory-limit.ts';
import { type Json, type StepContext, type StepDefinition, StepError } from '../step.ts';
import { type Frame, userStack } from '../user-stack.ts';

type Handed =
  | 'origins'
  | 'addresses'
  | 'names'
  | 'repositories'
  | 'leftOut'
  | 'outputs'
  | 'checkpoints'
  | 'folder'
  | 'cell'
  | 'seed'
  | 'threads';

/** The step, and what of its context can be sent. */
export interface StepJob extends Pick<StepContext, Handed> {
  module: { builtin: string } | { path: string };
  options: Record<string, Json>;
  inputs: Record<string, string | string[]>;
  /** Written to both outputs when the work is done and more may follow; absent where none may. */
  mark?: string;
}

export type Message =
  | { type: 'begun' }
  | { type: 'log'; message: string }
  | { type: 'warn'; message: string }
  | { type: 'result'; message: string }
  | { type: 'progress'; done: number; total?: number; values: Record<string, number | string> }
  | { type: 'metric'; name: string; value: number; step?: number }
  | { type: 'done' }
  /** After `done`: another job may come. */
  | { type: 'free' }
  /** Of an error that is not a StepError: the whole `stack` for the log, and for the screen where a user's own step threw it. */
  | { type: 'error'; message: string; hint?: string; option?: readonly string[]; stack?: string; frames?: Frame[] };

// Compiling a step's libraries is a third of what it takes to load them: Node keeps the result.
enableCompileCache();

// Made here, they count as there before any work.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const ended = new AbortController();
let idle = true;
/** The module of the step that runs here, if it is the user's own. */
let own: string | undefined;
process.on('SIGTERM', () => {
  if (idle) process.exit();
  ended.abort();
});
// Ctrl-C reaches the whole terminal; the engine decides what it means.
process.on('SIGINT', () => {});
process.once('disconnect', () => process.kill(-process.pid, 'SIGKILL'));
process.once('uncaughtException', fail);
process.once('unhandledRejection', fail);
process.on('message', (job: StepJob) => void serve(job));

async function serve(job: StepJob): Promise<void> {
  idle = false;
  own = 'path' in job.module ? job.module.path : undefined;
  forgetPeak();
  tell({ type: 'begun' });
  const before = surroundings();
  try {
    await run(job);
  } catch (error) {
    return fail(error);
  }
  if (job.mark === undefined || ended.signal.aborted) return finish({ type: 'done' });
  await write('');
  if (!(await isAsBefore(before))) return finish({ type: 'done' });
  tell({ type: 'done' });
  await write(job.mark);
  idle = true;
  tell({ type: 'free' });
}

/** To both outputs, behind all that is on its way. */
async function write(text: string): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((written) => stream.write(text, () => written()))));
}

/** What the kernel has as the most memory of this process begins anew: see usage.ts. */
function forgetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // There is no such file elsewhere.
  }
}

async function run(job: StepJob): Promise<void> {
  const definition = await load(job.module);
  // What a step left behind may not speak in the name of the next.
  let over = false;
  const say = (message: Message) => {
    if (!over) tell(message);
  };
  if (own !== undefined) {
    // The channel alone would keep this process alive, waiting for ever for a promise that nothing can settle any more.
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
      progress: throttled((done, total, values = {}) => say({ type: 'progress', done, total, values })),
      metric: (name, value, step) => say({ type: 'metric', name, value, step }),
    });
  } finally {
    over = true;
    process.removeListener('beforeExit', neverSettled);
    process.channel?.ref();
  }
}

/** An input that is not given is absent, even if it is named like what every object has. */
function byName<T extends object>(map: T): T {
  return Object.assign(Object.create(null), map);
}

interface ProcessState {
  folder: string;
  variables: Record<string, string | undefined>;
  /** Timers, sockets and the like that keep a process alive. */
  resources: number;
}

function surroundings(): ProcessState {
  return { folder: process.cwd(), variables: { ...process.env }, resources: process.getActiveResourcesInfo().length };
}

/** Variables are put back; what else has changed cannot be. */
async function isAsBefore(before: ProcessState): Promise<boolean> {
  for (const name of Object.keys({ ...before.variables, ...process.env })) {
    const value = Object.hasOwn(before.variables, name) ? before.variables[name] : undefined;
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  // What is just closing may close, and what a loader is still writing to its cache may be written.
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const { folder, resources } = surroundings();
    if (folder !== before.folder) return false;
    if (resources <= before.resources) return process.memoryUsage.rss() < MOST_MEMORY;
  }
  return false;
}

/** A millisecond apart: a new process would take longer than all of them. */
const MOST_LOOKS = 50;

/** A process that holds more is not kept waiting. */
const MOST_MEMORY = Math.min(1e9, memoryLimit() / 4);

async function load(module: StepJob['module']): Promise<StepDefinition> {
  if ('path' in module) return (await import('../load-step.ts')).loadStep(module.path);
  return (await (await import('../registry.ts')).builtin(module.builtin))!;
}

/** The event loop is empty, as when Node ends with exit code 13 for a module that still awaits something. */
function neverSettled(): void {
  const message = "the step's promise never settled: nothing is left running that could settle it";
  fail(new StepError(message, 'Call resolve or reject on every path, also when a callback gets an error or an event does not come.'));
}

function fail(thrown: unknown): void {
  const error = asError(thrown);
  const { hint, option, stack } = error;
  // The name tells, not the class: a step may have been built against another copy of the contract.
  const explained = error.name === 'StepError';
  const mistake = explained ? undefined : own;
  finish({
    type: 'error',
    message: mistake ? described(error) : String(error.message) || `${error.name} without a message`,
    // Other people's errors may have fields of these names that mean something else.
    hint: typeof hint === 'string' ? hint : mistake ? causes(error) : undefined,
    option: Array.isArray(option) && option.every((key) => typeof key === 'string') ? option : undefined,
    stack: explained ? undefined : stack,
    frames: mistake ? userStack(stack, mistake) : undefined,
  });
}

/** `TypeError: x is not a function`, as JavaScript prints it; of a plain error the message says all. */
function described({ name, message }: Error): string {
  const text = String(message);
  if (name === 'Error' && text !== '') return text;
  return text === '' ? `${name} without a message` : `${name}: ${text}`;
}

/** What an error was thrown because of: `fetch failed` alone says little. */
function causes(error: Error): string | undefined {
  const lines: string[] = [];
  for (let at: unknown = error.cause; at !== undefined && lines.length < 3; at = at instanceof Error ? at.cause : undefined)
    lines.push(`caused by ${described(asError(at))}`);
  return lines.length > 0 ? lines.join('\n') : undefined;
}

/** What was thrown may be anything. */
function asError(thrown: unknown): Error & { hint?: unknown; option?: unknown } {
  if (isNativeError(thrown) || thrown instanceof Error) return thrown;
  return new Error(typeof thrown === 'string' ? thrown : `threw ${inspect(thrown, { depth: 1, breakLength: Number.POSITIVE_INFINITY })}`);
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
