/**
 * Schedules inputs on threads. Requests take turns: however many or long inputs one of them has, another waits for at
 * most one run of the model and one input of each request before it. Inputs that wait together share a run.
 */
import type { Json } from '../../engine/step.ts';
import type { Input } from '../ml/tasks/task.ts';
import { errorOf, type ModelWorkers, type Thread, type WorkerReport } from './workers.ts';

/** The outcome of an input. `refused`: the model cannot read it. `failed`: the model or its thread failed. */
export type QueueOutcome = { prediction: Json } | { refused: Error } | { failed: Error };

export interface Queue {
  /** The number of inputs that no thread has yet. */
  readonly length: number;
  /** The outcomes, in the order of the inputs. */
  answer(inputs: Input[], options?: QueueRequest): Promise<(QueueOutcome | undefined)[]>;
  /** Ends the threads. */
  close(): Promise<void>;
}

export interface QueueRequest {
  /** Once it is aborted, `answer` rejects with its reason, and the rest of the work is dropped. */
  signal?: AbortSignal;
  /**
   * The first outcome that is not a prediction ends the request: inputs that were not answered by then have no
   * outcome.
   */
  untilError?: boolean;
}

export interface QueueOptions {
  /** Maximum tokens of one run, including padding, unless a single sequence has more. */
  tokens: number;
  /**
   * How long a run may take, and how long inputs are encoded before it, by the speed so far; one sequence and one
   * input are always allowed.
   */
  milliseconds?: { run: number; encode: number };
  /** Called with the number of sequences of each run. */
  onRun?: (size: number) => void;
}

/** The maximum number of inputs that are encoded together, and of their characters, unless a single one has more. */
const encodedTogether = 64;
const charactersTogether = 1 << 15;

/**
 * The maximum number of characters of all inputs that threads keep encoded: each takes up to a kilobyte of memory.
 */
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

export function openQueue(workers: ModelWorkers, { tokens: mostTokens, milliseconds, onRun }: QueueOptions): Queue {
  const seats = workers.threads.map((thread): Seat => ({ thread, busy: false, held: new Map(), served: new Set(), tokens: 0 }));
  const speed = { run: new Speed(), encode: new Speed() };
  const waiting: Lanes = new Map();
  let waitingCount = 0;
  let charactersHeld = 0;
  let ids = 0;
  let closed = false;

  function startTurns() {
    for (const seat of seats) if (!seat.busy && (waiting.size > 0 || seat.held.size > 0)) void takeTurn(seat);
  }

  /** A thread encodes new inputs, then runs the model once. */
  async function takeTurn(seat: Seat) {
    if (seat.thread && !seat.thread.alive) lose(seat, [], new Error('the worker thread has ended'));
    let working: Item[] = takeToEncode(seat);
    seat.busy = true;
    try {
      seat.thread ??= await workers.start();
      const { thread } = seat;
      if (working.length > 0) {
        const start = performance.now();
        const reports = await thread.encode(working.map(({ id, input }) => ({ id, input })));
        speed.encode.saw(sum(working.map(workOf)), performance.now() - start);
        for (const report of reports) settle(seat, working, report);
      }
      const parts = takeToRun(seat);
      working = parts.map(({ item }) => item);
      if (parts.length > 0) {
        onRun?.(parts.length);
        const start = performance.now();
        const reports = await thread.run(parts.map(({ item, sequence }) => ({ id: item.id, sequence })));
        speed.run.saw(parts.length * Math.max(...parts.map(({ item, sequence }) => item.lengths[sequence]!)), performance.now() - start);
        for (const report of reports) settle(seat, working, report);
      }
    } catch (error) {
      lose(seat, working, error as Error);
    } finally {
      seat.busy = false;
      if (!closed) startTurns();
    }
  }

  function takeToEncode(seat: Seat): Item[] {
    const share = Math.ceil(waitingCount / seats.filter(({ busy }) => !busy).length);
    const most = milliseconds ? speed.encode.within(milliseconds.encode) : Number.POSITIVE_INFINITY;
    const taken: Item[] = [];
    let characters = 0;
    let work = 0;
    // A lane that is moved to the end comes again.
    for (const [request, lane] of waiting) {
      const item = lane[0]!;
      if (taken.length >= Math.min(share, encodedTogether) || taken[0]?.suspect) break;
      if (taken.length > 0 && (item.suspect || characters + item.characters > charactersTogether || work + workOf(item) > most)) continue;
      const first = !seat.held.has(request) && !taken.some((other) => other.request === request);
      const small = item.characters <= (mostCharactersHeld - charactersHeld) / 2;
      if (seat.tokens >= runsAhead * mostTokens ? !(first && small) : !small && (seat.held.size > 0 || taken.length > 0)) continue;
      lane.shift();
      putBack(waiting, request);
      waitingCount--;
      taken.push(item);
      characters += item.characters;
      work += workOf(item);
      item.held = true;
      charactersHeld += item.characters;
    }
    return taken;
  }

  function takeToRun(seat: Seat): { item: Item; sequence: number }[] {
    // New requests go before those that were just served.
    for (const request of seat.served) if (seat.held.has(request)) putBack(seat.held, request);
    seat.served.clear();
    const most = Math.min(mostTokens, milliseconds ? speed.run.within(milliseconds.run) : mostTokens);
    const parts: { item: Item; sequence: number }[] = [];
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

  function settle(seat: Seat, working: Item[], report: WorkerReport) {
    const item = working.find(({ id }) => id === report.id)!;
    const { request } = item;
    if ('lengths' in report) {
      if (request.over) return drop(seat, [item]);
      item.lengths = report.lengths;
      for (const length of report.lengths) seat.tokens += length;
      append(seat.held, item);
      return;
    }
    letGo(item);
    if (request.over) return;
    const lane = seat.held.get(request);
    if (lane?.includes(item)) {
      // It failed before all its sequences were run.
      lane.splice(lane.indexOf(item), 1);
      for (const length of item.lengths.slice(item.next)) seat.tokens -= length;
      if (lane.length === 0) seat.held.delete(request);
    }
    request.outcomes[item.place] = outcomeOf(report);
    if (--request.missing === 0 || (request.untilError && !('prediction' in report))) finish(request);
  }

  /**
   * Handles the death of a thread. The items that it kept wait again; those that it worked on are run one by one, so
   * that only one fails.
   */
  function lose(seat: Seat, working: Item[], error: Error) {
    const lost = new Set(working);
    const kept = [...seat.held.values()].flat().filter((item) => !lost.has(item));
    const fails = seat.thread === undefined || lost.size === 1;
    if (seat.thread?.alive) void seat.thread.end();
    seat.thread = undefined;
    seat.held.clear();
    seat.served.clear();
    seat.tokens = 0;
    for (const item of [...lost, ...kept]) {
      letGo(item);
      const { request } = item;
      if (request.over) continue;
      if (fails && lost.has(item)) {
        request.outcomes[item.place] = { failed: error };
        if (--request.missing === 0 || request.untilError) finish(request);
        continue;
      }
      item.suspect ||= lost.has(item);
      item.next = 0;
      append(waiting, item);
      waitingCount++;
    }
  }

  function finish(request: Request) {
    request.over = true;
    waitingCount -= waiting.get(request)?.length ?? 0;
    waiting.delete(request);
    for (const seat of seats) {
      const items = seat.held.get(request);
      if (!items) continue;
      seat.held.delete(request);
      for (const { lengths, next } of items) for (const length of lengths.slice(next)) seat.tokens -= length;
      drop(seat, items);
    }
    request.resolve(request.outcomes);
  }

  function drop({ thread }: Seat, items: Item[]) {
    for (const item of items) letGo(item);
    if (thread?.alive) thread.drop(items.map(({ id }) => id));
  }

  function letGo(item: Item) {
    if (item.held) charactersHeld -= item.characters;
    item.held = false;
  }

  return {
    get length() {
      return waitingCount;
    },
    async answer(inputs, { signal, untilError = false } = {}) {
      signal?.throwIfAborted();
      if (inputs.length === 0) return [];
      const outcomes = await new Promise<(QueueOutcome | undefined)[]>((resolve) => {
        const request: Request = { outcomes: [], missing: inputs.length, untilError, over: false, resolve };
        signal?.addEventListener('abort', () => request.over || finish(request), { once: true });
        for (const [place, input] of inputs.entries()) {
          const characters = Object.values(input).reduce((sum, text) => sum + text.length, 0);
          append(waiting, { id: ids++, input, characters, held: false, request, place, suspect: false, lengths: [], next: 0 });
        }
        waitingCount += inputs.length;
        startTurns();
      });
      signal?.throwIfAborted();
      return outcomes;
    },
    async close() {
      closed = true;
      await Promise.all(seats.map(({ thread }) => thread?.end()));
    },
  };
}

/** The speed of recent work. */
class Speed {
  #done = 0;
  #milliseconds = 0;

  saw(done: number, milliseconds: number): void {
    this.#done = 0.8 * this.#done + done;
    this.#milliseconds = 0.8 * this.#milliseconds + milliseconds;
  }

  within(milliseconds: number): number {
    return this.#milliseconds > 0 ? (milliseconds * this.#done) / this.#milliseconds : 0;
  }
}

/** For encoding an input: a short text takes a minimum time, and most of a long text is usually not read. */
const workOf = ({ characters }: Item): number => 100 + Math.min(characters, 4000);

const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0);

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
