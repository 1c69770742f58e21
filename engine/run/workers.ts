/**
 * The processes that steps run in. To start Node and load a step's libraries often takes longer than its work. So the
 * process of a step that leaves nothing behind in it is kept for a while, and takes the next cell that wants the same
 * surroundings: the same folder, the same variables to the letter, the same number of cores, and no secrets.
 *
 * A process serves one cell at a time. It is used again only when that cell has succeeded and the process itself finds
 * that all is as before; whatever failed, was stopped or timed out ends with its whole group, as it always did.
 */
import { randomBytes } from 'node:crypto';
import { extname } from 'node:path';
import type { Subprocess } from 'execa';
import { nodeArguments } from '../load-step.ts';
import { runChild } from './child.ts';
import type { Death } from './failure.ts';
import type { Guard } from './guard.ts';
import { heard } from './heard.ts';
import type { Message, StepJob } from './step-process.ts';
import type { Meter } from './usage.ts';

/** What decides whether a process will do. */
export interface Place {
  folder: string;
  environment: Record<string, string>;
  threads: number;
}

export interface Work {
  place: Place;
  job: Omit<StepJob, 'mark' | 'threads'>;
  /** Whether its process may have served others, and may serve more. */
  shared: boolean;
  signal: AbortSignal;
  meter: Meter;
  onOutput(stream: OutputStream, bytes: Uint8Array): void;
  hear(message: Message): void;
}

type OutputStream = 'stdout' | 'stderr';

export class Workers {
  readonly #idle = new Map<string, Worker[]>();
  readonly #living = new Set<Worker>();

  constructor(private readonly guard: Guard) {}

  /** Resolves when the work has ended: with its process's death, or undefined where the process lives on. */
  async run(work: Work): Promise<Death | undefined> {
    const key = JSON.stringify(work.place);
    for (let idle = this.#take(key, work); idle; idle = this.#take(key, work)) {
      const ending = await this.#give(idle, key, work);
      // It died while nobody looked, which is no fault of this work.
      if (ending !== 'never begun') return ending;
    }
    work.signal.throwIfAborted();
    const worker = new Worker(work.place, this.guard);
    this.#living.add(worker);
    const gone = () => void this.#living.delete(worker);
    worker.dead.then(gone, gone);
    const ending = await this.#give(worker, key, work);
    return ending === 'never begun' ? worker.dead : ending;
  }

  /** Nobody comes any more. */
  async close(): Promise<void> {
    const living = [...this.#living];
    for (const worker of living) worker.end();
    await Promise.allSettled(living.map(({ dead }) => dead));
  }

  #take(key: string, { shared }: Work): Worker | undefined {
    return shared ? this.#idle.get(key)?.pop() : undefined;
  }

  async #give(worker: Worker, key: string, work: Work): Promise<Death | 'never begun' | undefined> {
    const ending = await worker.run(work);
    if (ending !== 'free') return ending;
    this.#idle.set(key, [...(this.#idle.get(key) ?? []), worker]);
    worker.rest();
    return undefined;
  }
}

/** One process. */
class Worker {
  readonly dead: Promise<Death>;
  readonly #ending = new AbortController();
  /** In brackets: a subprocess is a promise itself, of its end. */
  readonly #started: Promise<[Subprocess]>;
  #talk: Promise<void> | undefined;
  #served = false;
  #turn: Turn | undefined;
  #resting: NodeJS.Timeout | undefined;

  constructor({ folder, environment }: Place, guard: Guard) {
    let started: (child: [Subprocess]) => void;
    this.#started = new Promise((resolve) => {
      started = resolve;
    });
    this.dead = runChild(process.execPath, STEP_PROCESS, {
      folder,
      environment,
      signal: this.#ending.signal,
      guard,
      onOutput: (stream, bytes) => this.#turn?.output[stream].take(bytes),
      node: { ipc: true, serialization: 'json' },
      onStart: (child) => {
        this.#talk = this.#listen(child).catch(() => {}); // a child that died before it could be heard is told of by its death
        started([child]);
      },
    });
    this.dead.catch(() => {}); // whoever works here meets it
  }

  /** `free`: it waits for more. `never begun`: it was dead before it could begin. */
  async run(work: Work): Promise<'free' | 'never begun' | Death> {
    clearTimeout(this.#resting);
    const turn = new Turn(work);
    this.#turn = turn;
    const stop = () => this.#ending.abort();
    work.signal.addEventListener('abort', stop, { once: true });
    if (work.signal.aborted) stop();
    void this.#started.then(([child]) => child.sendMessage!(turn.job as never)).catch(() => {});
    // To start is a part of the first work; later ones are measured from where they begin.
    let measured: (() => void) | undefined;
    let missed: NodeJS.Timeout | undefined;
    // Whoever closed its own outputs cannot mark their end.
    void turn.free.then(() => {
      missed = setTimeout(stop, MARKED_WITHIN);
    });
    void (this.#served ? turn.begin : this.#started).then(async () => {
      const [child] = await this.#started;
      if (this.#turn === turn) measured = work.meter.watch(child.pid!);
    });
    this.#served = true;
    try {
      const death = await Promise.race([turn.over, this.dead]);
      if (death === 'over') {
        if (!work.signal.aborted) return 'free';
        return await this.dead;
      }
      await this.#talk;
      turn.output.stdout.flush();
      turn.output.stderr.flush();
      return turn.begun ? death : 'never begun';
    } finally {
      measured?.();
      clearTimeout(missed);
      work.signal.removeEventListener('abort', stop);
      this.#turn = undefined;
    }
  }

  /** Waits for more work, for a while. */
  rest(): void {
    this.#resting = setTimeout(() => this.end(), PATIENCE).unref();
  }

  /** It ends at once when its channel closes. */
  end(): void {
    clearTimeout(this.#resting);
    void this.#started.then(([child]) => child.disconnect?.());
  }

  async #listen(child: Subprocess): Promise<void> {
    for await (const message of child.getEachMessage!()) this.#turn?.hear(message);
  }
}

/** A process that nobody wanted for so many milliseconds ends: its memory is others'. */
const PATIENCE = 5000;
const MARKED_WITHIN = 2000;

const STEP_PROCESS = nodeArguments(new URL(`./step-process${extname(import.meta.url)}`, import.meta.url));

/** One work's time in a process. */
class Turn {
  readonly job: StepJob;
  readonly output: Record<OutputStream, Output>;
  /** The process has said that it is free, and all that it wrote before has arrived. */
  readonly over: Promise<'over'>;
  readonly begin: Promise<void>;
  readonly free: Promise<void>;
  begun = false;
  #begin: () => void = () => {};
  readonly #hear: Work['hear'];
  #free: () => void = () => {};

  constructor({ job, place, shared, hear, onOutput }: Work) {
    const mark = shared ? `\0${randomBytes(16).toString('hex')}\n` : undefined;
    this.job = { ...job, threads: place.threads, mark };
    this.output = {
      stdout: new Output(mark, (bytes) => onOutput('stdout', bytes)),
      stderr: new Output(mark, (bytes) => onOutput('stderr', bytes)),
    };
    this.#hear = hear;
    this.begin = new Promise((resolve) => {
      this.#begin = resolve;
    });
    this.free = new Promise((resolve) => {
      this.#free = resolve;
    });
    this.over = Promise.all([this.free, this.output.stdout.marked, this.output.stderr.marked]).then(() => 'over');
  }

  hear(said: unknown): void {
    const message = heard(said);
    if (!message) return;
    if (message.type === 'begun') {
      this.begun = true;
      this.#begin();
    } else if (message.type === 'free') this.#free();
    else this.#hear(message);
  }
}

/** What a process writes, up to the mark that ends its turn: pipes and messages have no order among each other. */
class Output {
  readonly marked: Promise<void>;
  readonly #mark: Buffer | undefined;
  #held = Buffer.alloc(0);
  #found: () => void = () => {};

  constructor(
    mark: string | undefined,
    private readonly pass: (bytes: Uint8Array) => void,
  ) {
    this.#mark = mark === undefined ? undefined : Buffer.from(mark);
    this.marked = new Promise((resolve) => {
      this.#found = resolve;
    });
  }

  take(bytes: Uint8Array): void {
    if (!this.#mark) {
      this.pass(bytes);
      return;
    }
    this.#held = Buffer.concat([this.#held, bytes]);
    const at = this.#held.indexOf(this.#mark);
    if (at >= 0) {
      this.#pass(at);
      this.#held = Buffer.alloc(0);
      this.#found();
      return;
    }
    // What may be the beginning of the mark is held back.
    const zero = this.#held.lastIndexOf(0);
    this.#pass(zero >= 0 && this.#held.length - zero < this.#mark.length ? zero : this.#held.length);
  }

  /** There is no more to come. */
  flush(): void {
    this.#pass(this.#held.length);
  }

  #pass(end: number): void {
    if (end > 0) this.pass(this.#held.subarray(0, end));
    this.#held = this.#held.subarray(end);
  }
}
