/**
 * Schedules inputs on threads. Requests take turns: however many or long inputs one of them has, another waits for at
 * most one run of the model and one input of each request before it. Inputs that wait together share a run.
 */
import type { Json } from '../../engine/contract/step.ts';
import type { Input } from '../ml/tasks/task.ts';
import { errorOf, type ModelWorkers, type Thread, type WorkerReport } from './workers.ts';

/** The outcome of an input. `refused`: the model cannot read it. `failed`: the model or its thread failed. */
export type QueueOutcome = { prediction: Json } | { refused: Error } | { failed: Error };

export interface QueueRequest {
  /** Once it is aborted, `answer` rejects with its reason, and the rest of the work is dropped. */
  signal?: AbortSignal;
  /** The first outcome that is not a prediction ends the request: inputs that were not answered by then have no outcome. */
  untilError?: boolean;
}

export interface QueueOptions {
  /** Maximum tokens of one run, including padding, unless a single sequence has more. */
  tokens: number;
  /** How long a run and the encoding before it may take, by the speed so far; one sequence and one input are always allowed. */
  milliseconds?: { run: number; encode: number };
  /** Called with the number of sequences of each run. */
  onRun?: (size: number) => void;
}

export class Queue {
  readonly #seats: Seat[];
  readonly #waiting: Lanes = new Map();
  readonly #encodeSpeed = new Speed();
  readonly #runSpeed = new Speed();
  #waitingCount = 0;
  /** Characters of all items that threads keep. */
  #charactersHeld = 0;
  #nextId = 0;
  #closed = false;

  constructor(
    private readonly workers: ModelWorkers,
    private readonly options: QueueOptions,
  ) {
    this.#seats = workers.threads.map((thread) => ({ thread, busy: false, held: new Map(), served: new Set(), tokens: 0 }));
  }

  /** The number of inputs that no thread has yet. */
  get length(): number {
    return this.#waitingCount;
  }

  /** The outcomes, in the order of the inputs. */
  async answer(inputs: Input[], { signal, untilError = false }: QueueRequest = {}): Promise<(QueueOutcome | undefined)[]> {
    signal?.throwIfAborted();
    if (inputs.length === 0) return [];
    const outcomes = await new Promise<(QueueOutcome | undefined)[]>((resolve) => {
      const request: Request = { outcomes: [], missing: inputs.length, untilError, over: false, resolve };
      signal?.addEventListener('abort', () => request.over || this.#finish(request), { once: true });
      for (const [place, input] of inputs.entries()) {
        const characters = Object.values(input).reduce((sum, text) => sum + text.length, 0);
        const id = this.#nextId++;
        append(this.#waiting, { id, input, characters, held: false, request, place, suspect: false, lengths: [], next: 0 });
      }
      this.#waitingCount += inputs.length;
      this.#startTurns();
    });
    signal?.throwIfAborted();
    return outcomes;
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#seats.map(({ thread }) => thread?.end()));
  }

  #startTurns(): void {
    for (const seat of this.#seats) if (!seat.busy && (this.#waiting.size > 0 || seat.held.size > 0)) void this.#takeTurn(seat);
  }

  /** A thread encodes new inputs, then runs the model once. */
  async #takeTurn(seat: Seat): Promise<void> {
    if (seat.thread && !seat.thread.alive) this.#handleDeath(seat, [], new Error('the worker thread has ended'));
    let working = this.#takeToEncode(seat);
    seat.busy = true;
    try {
      seat.thread ??= await this.workers.start();
      if (working.length > 0) await this.#encode(seat, seat.thread, working);
      const parts = this.#takeToRun(seat);
      working = parts.map(({ item }) => item);
      if (parts.length > 0) await this.#run(seat, seat.thread, parts);
    } catch (error) {
      this.#handleDeath(seat, working, error as Error);
    } finally {
      seat.busy = false;
      if (!this.#closed) this.#startTurns();
    }
  }

  async #encode(seat: Seat, thread: Thread, items: Item[]): Promise<void> {
    const start = performance.now();
    const reports = await thread.encode(items.map(({ id, input }) => ({ id, input })));
    const work = items.reduce((sum, item) => sum + workOf(item), 0);
    this.#encodeSpeed.add(work, performance.now() - start);
    for (const report of reports) this.#receive(seat, items, report);
  }

  async #run(seat: Seat, thread: Thread, parts: Part[]): Promise<void> {
    this.options.onRun?.(parts.length);
    const start = performance.now();
    const reports = await thread.run(parts.map(({ item, sequence }) => ({ id: item.id, sequence })));
    const width = Math.max(...parts.map(({ item, sequence }) => item.lengths[sequence]!));
    this.#runSpeed.add(parts.length * width, performance.now() - start);
    const items = parts.map(({ item }) => item);
    for (const report of reports) this.#receive(seat, items, report);
  }

  /** The waiting items that the thread encodes next. It keeps them until they are answered. */
  #takeToEncode(seat: Seat): Item[] {
    const { tokens: mostTokens, milliseconds } = this.options;
    const share = Math.ceil(this.#waitingCount / this.#seats.filter(({ busy }) => !busy).length);
    const most = milliseconds ? this.#encodeSpeed.within(milliseconds.encode) : Number.POSITIVE_INFINITY;
    const taken: Item[] = [];
    let characters = 0;
    let work = 0;
    // A lane that is moved to the end comes again.
    for (const [request, lane] of this.#waiting) {
      const item = lane[0]!;
      if (taken.length >= Math.min(share, encodedTogether) || taken[0]?.suspect) break;
      if (taken.length > 0 && (item.suspect || characters + item.characters > charactersTogether || work + workOf(item) > most)) continue;
      const first = !seat.held.has(request) && !taken.some((other) => other.request === request);
      const small = item.characters <= (mostCharactersHeld - this.#charactersHeld) / 2;
      if (seat.tokens >= runsAhead * mostTokens ? !(first && small) : !small && (seat.held.size > 0 || taken.length > 0)) continue;
      lane.shift();
      putBack(this.#waiting, request);
      this.#waitingCount--;
      taken.push(item);
      characters += item.characters;
      work += workOf(item);
      item.held = true;
      this.#charactersHeld += item.characters;
    }
    return taken;
  }

  /** The sequences of the next run, of similar lengths where the turns of the requests allow it. */
  #takeToRun(seat: Seat): Part[] {
    // New requests go before those that were just served.
    for (const request of seat.served) if (seat.held.has(request)) putBack(seat.held, request);
    seat.served.clear();
    const { tokens: mostTokens, milliseconds } = this.options;
    const most = Math.min(mostTokens, milliseconds ? this.#runSpeed.within(milliseconds.run) : mostTokens);
    const parts: Part[] = [];
    let width = 0;
    for (const [request, lane] of seat.held) {
      const item = parts.length === 0 ? lane[0]! : nearest(lane, width);
      const length = item.lengths[item.next]!;
      width = Math.max(width, length);
      if (parts.length > 0 && ((parts.length + 1) * width > most || item.suspect || parts[0]!.item.suspect)) break;
      parts.push({ item, sequence: item.next++ });
      seat.tokens -= length;
      if (item.next === item.lengths.length) lane.splice(lane.indexOf(item), 1);
      seat.served.add(request);
      putBack(seat.held, request);
    }
    return parts;
  }

  #receive(seat: Seat, working: Item[], report: WorkerReport): void {
    const item = working.find(({ id }) => id === report.id)!;
    if (!('lengths' in report)) this.#takeOutcome(seat, item, outcomeOf(report));
    else if (item.request.over) this.#drop(seat, [item]);
    else {
      item.lengths = report.lengths;
      for (const length of report.lengths) seat.tokens += length;
      append(seat.held, item);
    }
  }

  #takeOutcome(seat: Seat, item: Item, outcome: QueueOutcome): void {
    const { request } = item;
    this.#release(item);
    if (request.over) return;
    const lane = seat.held.get(request);
    if (lane?.includes(item)) {
      // It failed before all its sequences were run.
      lane.splice(lane.indexOf(item), 1);
      for (const length of item.lengths.slice(item.next)) seat.tokens -= length;
      if (lane.length === 0) seat.held.delete(request);
    }
    this.#record(item, outcome);
  }

  #record({ request, place }: Item, outcome: QueueOutcome): void {
    request.outcomes[place] = outcome;
    if (--request.missing === 0 || (request.untilError && !('prediction' in outcome))) this.#finish(request);
  }

  /** When a thread dies, the items that it kept wait again; those that it worked on are run one by one, so that only one fails. */
  #handleDeath(seat: Seat, working: Item[], error: Error): void {
    const lost = new Set(working);
    const kept = [...seat.held.values()].flat().filter((item) => !lost.has(item));
    const fails = seat.thread === undefined || lost.size === 1;
    if (seat.thread?.alive) void seat.thread.end();
    seat.thread = undefined;
    seat.held.clear();
    seat.served.clear();
    seat.tokens = 0;
    for (const item of [...lost, ...kept]) {
      this.#release(item);
      if (item.request.over) continue;
      if (fails && lost.has(item)) {
        this.#record(item, { failed: error });
        continue;
      }
      item.suspect ||= lost.has(item);
      item.next = 0;
      append(this.#waiting, item);
      this.#waitingCount++;
    }
  }

  #finish(request: Request): void {
    request.over = true;
    this.#waitingCount -= this.#waiting.get(request)?.length ?? 0;
    this.#waiting.delete(request);
    for (const seat of this.#seats) {
      const items = seat.held.get(request);
      if (!items) continue;
      seat.held.delete(request);
      for (const { lengths, next } of items) for (const length of lengths.slice(next)) seat.tokens -= length;
      this.#drop(seat, items);
    }
    request.resolve(request.outcomes);
  }

  #drop({ thread }: Seat, items: Item[]): void {
    for (const item of items) this.#release(item);
    if (thread?.alive) thread.drop(items.map(({ id }) => id));
  }

  #release(item: Item): void {
    if (item.held) this.#charactersHeld -= item.characters;
    item.held = false;
  }
}

/** The maximum number of inputs that are encoded together, and of their characters, unless a single one has more. */
const encodedTogether = 64;
const charactersTogether = 1 << 15;

/** The maximum number of characters of all inputs that threads keep encoded: each takes up to a kilobyte of memory. */
const mostCharactersHeld = 800_000;

/** How many runs are encoded ahead, in tokens, so that runs consist of sequences with similar lengths. */
const runsAhead = 4;

interface Request {
  outcomes: (QueueOutcome | undefined)[];
  missing: number;
  untilError: boolean;
  /** Answered, refused or aborted. */
  over: boolean;
  resolve(outcomes: (QueueOutcome | undefined)[]): void;
}

interface Item {
  id: number;
  input: Input;
  characters: number;
  /** A thread has it. */
  held: boolean;
  request: Request;
  place: number;
  /** A thread died while it worked on this one and others. */
  suspect: boolean;
  /** Tokens of its sequences, once it is encoded, and the index of the next one. */
  lengths: number[];
  next: number;
}

/** Items by request. The first request is served next, and then moves to the end. */
type Lanes = Map<Request, Item[]>;

/** A thread and the items that it keeps. */
interface Seat {
  thread: Thread | undefined;
  busy: boolean;
  held: Lanes;
  /** The items whose sequences were in the last run. */
  served: Set<Request>;
  /** Tokens that it keeps. */
  tokens: number;
}

/** One sequence of an item. */
interface Part {
  item: Item;
  sequence: number;
}

/** The speed of recent work. */
class Speed {
  #done = 0;
  #milliseconds = 0;

  add(done: number, milliseconds: number): void {
    this.#done = 0.8 * this.#done + done;
    this.#milliseconds = 0.8 * this.#milliseconds + milliseconds;
  }

  within(milliseconds: number): number {
    return this.#milliseconds > 0 ? (milliseconds * this.#done) / this.#milliseconds : 0;
  }
}

/** For encoding an input: a short text takes a minimum time, and most of a long text is usually not read. */
const workOf = ({ characters }: Item): number => 100 + Math.min(characters, 4000);

function append(lanes: Lanes, item: Item) {
  const lane = lanes.get(item.request);
  if (lane) lane.push(item);
  else lanes.set(item.request, [item]);
}

/** Moves a lane to the end, or removes it if it is empty. */
function putBack(lanes: Lanes, request: Request) {
  const lane = lanes.get(request)!;
  lanes.delete(request);
  if (lane.length > 0) lanes.set(request, lane);
}

/** The item whose next sequence has the most similar length. */
function nearest(lane: Item[], width: number): Item {
  const distance = ({ lengths, next }: Item) => Math.abs(lengths[next]! - width);
  return lane.reduce((best, item) => (distance(item) < distance(best) ? item : best));
}

function outcomeOf(report: Exclude<WorkerReport, { lengths: number[] }>): QueueOutcome {
  if ('refused' in report) return { refused: errorOf(report.refused) };
  return 'failed' in report ? { failed: errorOf(report.failed) } : { prediction: report.prediction };
}
