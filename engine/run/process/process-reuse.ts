/**
 * Reuses the processes of steps, because starting Node and loading a step's libraries often takes longer than the step. The
 * process of a step that leaves nothing behind is kept for a while. It runs the next cell with the same environment: the same
 * folder, the same variables, the same number of cores, and no secrets.
 *
 * A process runs one cell at a time. It is reused only if that cell has succeeded and the process finds nothing left behind.
 * After a failure, a stop or a timeout, the process and its whole group are killed.
 */

import { randomBytes } from 'node:crypto';
import { extname } from 'node:path';
import type { Subprocess } from 'execa';
import type { Frame } from '../../contract/errors.ts';
import { nodeArguments } from '../../contract/load-step.ts';
import { runChild } from './child-process.ts';
import type { Death } from './failure.ts';
import type { OrphanReaper } from './orphan-reaper.ts';
import type { Message, StepJob } from './step-process.ts';
import type { Meter } from './usage.ts';

/** The environment that a reused process must have. */
interface StepProcessSetting {
  folder: string;
  environment: Record<string, string>;
  threads: number;
}

interface StepRun {
  setting: StepProcessSetting;
  job: Omit<StepJob, 'mark' | 'threads'>;
  /** Whether the process may be reused. */
  shared: boolean;
  signal: AbortSignal;
  meter: Meter;
  onOutput(stream: OutputStream, bytes: Uint8Array): void;
  onLeftBehind(): void;
  onMessage(message: Message): void;
}

type OutputStream = 'stdout' | 'stderr';

export class StepProcesses {
  readonly #idle = new Map<string, Worker[]>();
  readonly #living = new Set<Worker>();

  constructor(private readonly orphanReaper: OrphanReaper) {}

  /** Resolves when the step has ended: with the death of the process, or undefined if the process lives on. */
  async run(work: StepRun): Promise<Death | undefined> {
    const key = JSON.stringify(work.setting);
    for (let idle = this.#take(key, work); idle; idle = this.#take(key, work)) {
      const ending = await this.#give(idle, key, work);
      // The idle process had died, so start a new one for this step.
      if (ending !== 'never begun') return ending;
    }
    work.signal.throwIfAborted();
    const worker = new Worker(work.setting, this.orphanReaper);
    this.#living.add(worker);
    void worker.dead.catch(() => {}).then(() => this.#living.delete(worker));
    const ending = await this.#give(worker, key, work);
    return ending === 'never begun' ? worker.dead : ending;
  }

  /** Ends all idle processes at the end of the run. */
  async close(): Promise<void> {
    const living = [...this.#living];
    for (const worker of living) worker.end();
    await Promise.allSettled(living.map(({ dead }) => dead));
  }

  #take(key: string, { shared }: StepRun): Worker | undefined {
    return shared ? this.#idle.get(key)?.pop() : undefined;
  }

  async #give(worker: Worker, key: string, work: StepRun): Promise<Death | 'never begun' | undefined> {
    const ending = await worker.run(work);
    if (ending !== 'free') return ending;
    this.#idle.set(key, [...(this.#idle.get(key) ?? []), worker]);
    worker.rest();
    return undefined;
  }
}

class Worker {
  readonly dead: Promise<Death>;
  readonly #ending = new AbortController();
  /** In an array, because a subprocess is itself a promise of its end. */
  readonly #started: Promise<[Subprocess]>;
  #talk: Promise<void> | undefined;
  #served = false;
  #turn: Turn | undefined;
  #resting: NodeJS.Timeout | undefined;

  constructor({ folder, environment }: StepProcessSetting, orphanReaper: OrphanReaper) {
    const { promise, resolve: started } = Promise.withResolvers<[Subprocess]>();
    this.#started = promise;
    this.dead = runChild(process.execPath, STEP_PROCESS, {
      folder,
      environment,
      signal: this.#ending.signal,
      orphanReaper,
      onOutput: (stream, bytes) => this.#turn?.output[stream].take(bytes),
      onLeftBehind: () => this.#turn?.onLeftBehind(),
      node: { ipc: true, serialization: 'json' },
      onStart: (child) => {
        this.#talk = this.#listen(child).catch(() => {}); // The death of the child is reported elsewhere.
        started([child]);
      },
    });
    this.dead.catch(() => {}); // The running step reports it.
  }

  /** `free`: the process waits for more work. `never begun`: it died before the step started. */
  async run(work: StepRun): Promise<'free' | 'never begun' | Death> {
    clearTimeout(this.#resting);
    const turn = new Turn(work);
    this.#turn = turn;
    const stop = () => this.#ending.abort();
    work.signal.addEventListener('abort', stop, { once: true });
    if (work.signal.aborted) stop();
    void this.#started.then(([child]) => child.sendMessage!(turn.job as never)).catch(() => {});
    let measured: (() => void) | undefined;
    let missed: NodeJS.Timeout | undefined;
    // A step that closed stdout or stderr cannot write the mark.
    void turn.free.promise.then(() => {
      missed = setTimeout(stop, MARKED_WITHIN);
    });
    // The start of the process counts for the first step. Later steps are measured from their own start.
    void (this.#served ? turn.begun.promise : this.#started).then(async () => {
      const [child] = await this.#started;
      if (this.#turn === turn) measured = work.meter.watch(child.pid!);
    });
    this.#served = true;
    try {
      const death = await Promise.race([turn.over, this.dead]);
      if (death === 'over') {
        return work.signal.aborted ? await this.dead : 'free';
      }
      await this.#talk;
      turn.output.stdout.flush();
      turn.output.stderr.flush();
      return turn.hasBegun ? death : 'never begun';
    } finally {
      measured?.();
      clearTimeout(missed);
      work.signal.removeEventListener('abort', stop);
      this.#turn = undefined;
    }
  }

  /** Keeps the process for a while for more work. */
  rest(): void {
    this.#resting = setTimeout(() => this.end(), LONGEST_IDLE_TIME).unref();
  }

  /** Closes the channel, which ends the process at once. */
  end(): void {
    clearTimeout(this.#resting);
    void this.#started.then(([child]) => child.disconnect?.());
  }

  async #listen(child: Subprocess): Promise<void> {
    for await (const message of child.getEachMessage!()) this.#turn?.onMessage(message);
  }
}

/** Maximum idle time of a process in milliseconds, to free its memory. */
const LONGEST_IDLE_TIME = 5000;
/** Maximum time in milliseconds between the end of a step and its mark on stdout and stderr. */
const MARKED_WITHIN = 2000;

const STEP_PROCESS = nodeArguments(new URL(`./step-process${extname(import.meta.url)}`, import.meta.url));

class Turn {
  readonly job: StepJob;
  readonly output: Record<OutputStream, Output>;
  /** Resolves when the process has reported that it is free and all its output has arrived. */
  readonly over: Promise<'over'>;
  readonly begun = Promise.withResolvers<void>();
  readonly free = Promise.withResolvers<void>();
  hasBegun = false;
  readonly onLeftBehind: StepRun['onLeftBehind'];
  readonly #onMessage: StepRun['onMessage'];

  constructor({ job, setting, shared, onMessage, onOutput, onLeftBehind }: StepRun) {
    const mark = shared ? `\0${randomBytes(16).toString('hex')}\n` : undefined;
    this.job = { ...job, threads: setting.threads, mark };
    this.output = {
      stdout: new Output(mark, (bytes) => onOutput('stdout', bytes)),
      stderr: new Output(mark, (bytes) => onOutput('stderr', bytes)),
    };
    this.onLeftBehind = onLeftBehind;
    this.#onMessage = onMessage;
    const { stdout, stderr } = this.output;
    this.over = Promise.all([this.free.promise, stdout.marked.promise, stderr.marked.promise]).then(() => 'over');
  }

  onMessage(received: unknown): void {
    const message = checkedMessage(received);
    if (!message) return;
    if (message.type === 'begun') {
      this.hasBegun = true;
      this.begun.resolve();
    } else if (message.type === 'free') this.free.resolve();
    else this.#onMessage(message);
  }
}

/** The output of a process up to the mark, which is needed because pipes and messages are not ordered with each other. */
class Output {
  readonly marked = Promise.withResolvers<void>();
  readonly #mark: Buffer | undefined;
  #pending = Buffer.alloc(0);

  constructor(
    mark: string | undefined,
    private readonly pass: (bytes: Uint8Array) => void,
  ) {
    this.#mark = mark === undefined ? undefined : Buffer.from(mark);
  }

  take(bytes: Uint8Array): void {
    if (!this.#mark) {
      this.pass(bytes);
      return;
    }
    this.#pending = Buffer.concat([this.#pending, bytes]);
    const at = this.#pending.indexOf(this.#mark);
    if (at >= 0) {
      this.#pass(at);
      this.#pending = Buffer.alloc(0);
      this.marked.resolve();
      return;
    }
    // Hold back text that may be the beginning of the mark.
    const zero = this.#pending.lastIndexOf(0);
    this.#pass(zero >= 0 && this.#pending.length - zero < this.#mark.length ? zero : this.#pending.length);
  }

  /** The end of the output. */
  flush(): void {
    this.#pass(this.#pending.length);
  }

  #pass(end: number): void {
    if (end > 0) this.pass(this.#pending.subarray(0, end));
    this.#pending = this.#pending.subarray(end);
  }
}

/**
 * Validates a message of a step's process; undefined if it is unknown. A step may send anything, for example with
 * `metric('loss', {})`, which must not break the engine. An invalid metric is reported instead of recorded.
 */
export function checkedMessage(received: unknown): Message | undefined {
  if (received === null || typeof received !== 'object') return undefined;
  const message = received as Record<string, unknown>;
  switch (message.type) {
    case 'begun':
    case 'done':
    case 'free':
      return { type: message.type };
    case 'log':
    case 'warn':
    case 'result':
      return { type: message.type, message: String(message.message) };
    case 'progress':
      return progress(message);
    case 'metric':
      return metric(message);
    case 'error':
      return {
        type: 'error',
        message: String(message.message),
        hint: typeof message.hint === 'string' ? message.hint : undefined,
        stack: typeof message.stack === 'string' ? message.stack : undefined,
        option: isTexts(message.option) ? message.option : undefined,
        frames: isFrames(message.frames) ? message.frames : undefined,
      };
    default:
      return undefined;
  }
}

function progress({ done, total, values }: Record<string, unknown>): Message | undefined {
  if (!isNumber(done)) return undefined;
  const shown = Object.entries(Object(values)).filter(([, value]) => isNumber(value) || typeof value === 'string');
  return {
    type: 'progress',
    done,
    total: isNumber(total) ? total : undefined,
    values: Object.fromEntries(shown) as Record<string, number>,
  };
}

/** JSON has no NaN and no infinite numbers: they arrive as null, and the infinite ones with their sign. */
function metric({ name, value, sign, step, better, low, high }: Record<string, unknown>): Message {
  const figure = value !== null ? value : sign === 1 || sign === -1 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (typeof name !== 'string' || typeof figure !== 'number' || (step !== undefined && step !== null && !isNumber(step))) {
    const metric = `${typeof name === 'string' ? name : JSON.stringify(name)} = ${JSON.stringify(value)}`;
    return { type: 'warn', message: `ignored the metric ${metric}: a metric needs a name and a number` };
  }
  const isDirection = better === 'higher' || better === 'lower';
  if (better !== undefined && better !== null && !isDirection)
    return { type: 'warn', message: `ignored the metric ${name}: \`better\` is "higher" or "lower", not ${JSON.stringify(better)}` };
  const ends = [low, high].filter((end) => end !== undefined && end !== null);
  const isInterval = isNumber(low) && isNumber(high) && low <= high;
  if (ends.length > 0 && !isInterval)
    return {
      type: 'warn',
      message: `ignored the metric ${name}: \`low\` and \`high\` are two numbers in this order, not ${JSON.stringify(low)} and ${JSON.stringify(high)}`,
    };
  return {
    type: 'metric',
    name,
    value: figure,
    step: isNumber(step) ? step : undefined,
    better: isDirection ? better : undefined,
    ...(isInterval && { low, high }),
  };
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function isFrames(value: unknown): value is Frame[] {
  return (
    Array.isArray(value) &&
    value.every((frame) => typeof Object(frame).file === 'string' && isNumber(Object(frame).line) && isNumber(Object(frame).column))
  );
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
