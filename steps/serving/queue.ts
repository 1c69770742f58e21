/**
 * Schedules inputs on the thread of the model. Requests take turns: however many or long inputs one of them has, another waits
 * for at most one run of the model and one input of each request before it. Inputs of similar lengths that wait together share a
 * run.
 */
import type { Json } from '../../engine/contract/step.ts';
import type { PipelineParameters } from '../ml/answering/pipeline-answer.ts';
import type { Input } from '../ml/tasks/task.ts';
import { errorOf, type ModelWorker, type Numbered, type Thread, type WorkerReport } from './workers.ts';

/** The outcome of an input. `refused`: the model cannot read it. `failed`: the model or its thread failed. */
export type QueueOutcome = { prediction: Json } | { refused: Error } | { failed: Error };

export interface QueueRequest {
  /** Once it is aborted, `answer` rejects with its reason, and the rest of the work is dropped. */
  signal?: AbortSignal;
  /** Asks for the answers of transformers' pipeline. */
  pipeline?: PipelineParameters | undefined;
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
  readonly #waiting: Lanes = new Map();
  /** The inputs that the thread has encoded and keeps. */
  readonly #held: Lanes = new Map();
  /** The requests that were in the last run. */
  readonly #served = new Set<Request>();
  readonly #encodeSpeed = new Speed();
  readonly #runSpeed = new Speed();
  #thread: Thread | undefined;
  #busy = false;
  #waitingCount = 0;
  /** Tokens of the sequences that are encoded but not run. */
  #tokensHeld = 0;
  /** Characters of all items that the thread keeps. */
  #charactersHeld = 0;
  #nextId = 0;
  #closed = false;

  constructor(
    private readonly worker: ModelWorker,
    private readonly options: QueueOptions,
  ) {
    this.#thread = worker.thread;
  }

  /** The number of inputs that the thread does not have yet. */
  get length(): number {
    return this.#waitingCount;
  }

  /** The outcomes, in the order of the inputs. */
  async answer(inputs: Input[], { signal, untilError = false, pipeline }: QueueRequest = {}): Promise<(QueueOutcome | undefined)[]> {
    signal?.throwIfAborted();
    if (inputs.length === 0) return [];
    const outcomes = await new Promise<(QueueOutcome | undefined)[]>((resolve) => {
      const request: Request = { outcomes: [], missing: inputs.length, untilError, over: false, resolve };
      signal?.addEventListener('abort', () => request.over || this.#finish(request), { once: true });
      for (const [place, input] of inputs.entries()) {
        const characters = Object.values(input).reduce((sum, text) => sum + text.length, 0);
        const id = this.#nextId++;
        append(this.#waiting, { id, input, pipeline, characters, held: false, request, place, suspect: false, lengths: [], next: 0 });
      }
      this.#waitingCount += inputs.length;
      this.#takeTurns();
    });
    signal?.throwIfAborted();
    return outcomes;
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#thread?.end();
  }

  async #takeTurns(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    while (!this.#closed && (this.#waiting.size > 0 || this.#held.size > 0)) await this.#takeTurn();
    this.#busy = false;
  }

  /** The thread encodes new inputs, and then runs the model once. */
  async #takeTurn(): Promise<void> {
    if (this.#thread && !this.#thread.alive) this.#handleDeath([], new Error('the worker thread has ended'));
    let working = this.#takeToEncode();
    try {
      this.#thread ??= await this.worker.start();
      const isAlone = working.length === 1 && this.#waiting.size === 0 && this.#held.size === 0;
      if (isAlone) return await this.#answerAlone(this.#thread, working[0]!);
      if (working.length > 0) await this.#encode(this.#thread, working);
      const parts = this.#takeToRun();
      working = parts.map(({ item }) => item);
      if (parts.length > 0) await this.#run(this.#thread, parts);
    } catch (error) {
      this.#handleDeath(working, error as Error);
    }
  }

  /** Saves the way back and forth between encoding and running. */
  async #answerAlone(thread: Thread, item: Item): Promise<void> {
    const report = await thread.answer(numbered(item));
    if ('prediction' in report) this.options.onRun?.(1);
    this.#receive([item], report);
  }

  async #encode(thread: Thread, items: Item[]): Promise<void> {
    const start = performance.now();
    const reports = await thread.encode(items.map(numbered));
    const work = items.reduce((sum, item) => sum + workOf(item), 0);
    this.#encodeSpeed.add(work, performance.now() - start);
    for (const report of reports) this.#receive(items, report);
  }

  async #run(thread: Thread, parts: Part[]): Promise<void> {
    this.options.onRun?.(parts.length);
    const start = performance.now();
    const reports = await thread.run(parts.map(({ item, sequence }) => ({ id: item.id, sequence })));
    const width = Math.max(...parts.map(({ item, sequence }) => item.lengths[sequence]!));
    this.#runSpeed.add(parts.length * width, performance.now() - start);
    const items = parts.map(({ item }) => item);
    for (const report of reports) this.#receive(items, report);
  }

  #tokensOfRun(): number {
    const { tokens, milliseconds } = this.options;
    return Math.min(tokens, milliseconds ? this.#runSpeed.within(milliseconds.run) : tokens);
  }

  /** The waiting items that the thread encodes next. It keeps them until they are answered. */
  #takeToEncode(): Item[] {
    const { tokens: mostTokens, milliseconds } = this.options;
    const most = milliseconds ? this.#encodeSpeed.within(milliseconds.encode) : Number.POSITIVE_INFINITY;
    const taken: Item[] = [];
    let characters = 0;
    let work = 0;
    // A lane that is moved to the end comes again.
    for (const [request, lane] of this.#waiting) {
      const item = lane[0]!;
      if (taken.length >= encodedTogether || taken[0]?.suspect) break;
      if (taken.length > 0 && (item.suspect || characters + item.characters > charactersTogether || work + workOf(item) > most)) continue;
      const first = !this.#held.has(request) && !taken.some((other) => other.request === request);
      const small = item.characters <= (mostCharactersHeld - this.#charactersHeld) / 2;
      if (this.#tokensHeld >= runsAhead * mostTokens ? !(first && small) : !small && (this.#held.size > 0 || taken.length > 0)) continue;
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

  /** The sequences of the next run: one of the first request, and those of similar lengths, where the turns of the requests allow it. */
  #takeToRun(): Part[] {
    // New requests go before those that were just served.
    for (const request of this.#served) if (this.#held.has(request)) putBack(this.#held, request);
    this.#served.clear();
    const most = this.#tokensOfRun();
    const parts: Part[] = [];
    let [width, sum] = [0, 0];
    const fits = (item: Item) => {
      const length = item.lengths[item.next]!;
      const area = (parts.length + 1) * Math.max(width, length);
      if (item.suspect || parts[0]!.item.suspect) return false;
      return area <= most && area - sum - length <= mostPadding(area);
    };
    let next: Item | undefined = this.#held.values().next().value?.[0];
    while (next) {
      const item: Item = next;
      const { request, lengths } = item;
      const length = lengths[item.next]!;
      width = Math.max(width, length);
      sum += length;
      parts.push({ item, sequence: item.next++ });
      this.#tokensHeld -= length;
      const lane = this.#held.get(request)!;
      if (item.next === lengths.length) lane.splice(lane.indexOf(item), 1);
      this.#served.add(request);
      putBack(this.#held, request);
      next = this.#nearest(width, (request) => !this.#served.has(request), fits) ?? this.#nearest(width, () => true, fits);
    }
    return parts;
  }

  /** Of the first few requests, the item that fits and whose next sequence has the most similar length. */
  #nearest(width: number, among: (request: Request) => boolean, fits: (item: Item) => boolean): Item | undefined {
    let best: Item | undefined;
    let requests = 0;
    for (const [request, lane] of this.#held) {
      if (!among(request)) continue;
      for (const item of lane) if (fits(item) && (!best || distance(item, width) < distance(best, width))) best = item;
      if (++requests === mostOvertaken) break;
    }
    return best;
  }

  #receive(working: Item[], report: WorkerReport): void {
    const item = working.find(({ id }) => id === report.id)!;
    if (!('lengths' in report)) this.#takeOutcome(item, outcomeOf(report));
    else if (item.request.over) this.#drop([item]);
    else {
      item.lengths = report.lengths;
      for (const length of report.lengths) this.#tokensHeld += length;
      append(this.#held, item);
    }
  }

  #takeOutcome(item: Item, outcome: QueueOutcome): void {
    const { request } = item;
    this.#release(item);
    if (request.over) return;
    const lane = this.#held.get(request);
    if (lane?.includes(item)) {
      // It failed before all its sequences were run.
      lane.splice(lane.indexOf(item), 1);
      for (const length of item.lengths.slice(item.next)) this.#tokensHeld -= length;
      if (lane.length === 0) this.#held.delete(request);
    }
    this.#record(item, outcome);
  }

  #record({ request, place }: Item, outcome: QueueOutcome): void {
    request.outcomes[place] = outcome;
    if (--request.missing === 0 || (request.untilError && !('prediction' in outcome))) this.#finish(request);
  }

  /** When the thread dies, the items that it kept wait again; those that it worked on are run one by one, so that only one fails. */
  #handleDeath(lost: readonly Item[], error: Error): void {
    const kept = [...this.#held.values()].flat().filter((item) => !lost.includes(item));
    const fails = this.#thread === undefined || lost.length === 1;
    if (this.#thread?.alive) void this.#thread.end();
    this.#thread = undefined;
    this.#held.clear();
    this.#served.clear();
    this.#tokensHeld = 0;
    for (const item of [...lost, ...kept]) {
      this.#release(item);
      if (item.request.over) continue;
      if (fails && lost.includes(item)) {
        this.#record(item, { failed: error });
        continue;
      }
      item.suspect ||= lost.includes(item);
      item.next = 0;
      append(this.#waiting, item);
      this.#waitingCount++;
    }
  }

  #finish(request: Request): void {
    request.over = true;
    this.#waitingCount -= this.#waiting.get(request)?.length ?? 0;
    this.#waiting.delete(request);
    const items = this.#held.get(request) ?? [];
    this.#held.delete(request);
    for (const { lengths, next } of items) for (const length of lengths.slice(next)) this.#tokensHeld -= length;
    if (items.length > 0) this.#drop(items);
    request.resolve(request.outcomes);
  }

  #drop(items: Item[]): void {
    for (const item of items) this.#release(item);
    if (this.#thread?.alive) this.#thread.drop(items.map(({ id }) => id));
  }

  #release(item: Item): void {
    if (item.held) this.#charactersHeld -= item.characters;
    item.held = false;
  }
}

/** The maximum number of inputs that are encoded together, and of their characters, unless a single one has more. */
const encodedTogether = 64;
const charactersTogether = 1 << 15;

/** The maximum number of characters of all inputs that the thread keeps encoded: each takes up to a kilobyte of memory. */
const mostCharactersHeld = 800_000;

/** How many runs are encoded ahead, in tokens, so that runs consist of sequences with similar lengths. */
const runsAhead = 4;

/** Requests among which similar lengths are searched: one whose length is unlike the others' waits for at most as many runs. */
const mostOvertaken = 16;

/** The padding of a run of `area` tokens that costs less than another run. */
const mostPadding = (area: number): number => 16 + area / 4;

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
  pipeline: PipelineParameters | undefined;
  characters: number;
  /** The thread has it. */
  held: boolean;
  request: Request;
  place: number;
  /** The thread died while it worked on this one and others. */
  suspect: boolean;
  /** Tokens of its sequences, once it is encoded, and the index of the next one. */
  lengths: number[];
  next: number;
}

/** Items by request. The first request is served next, and then moves to the end. */
type Lanes = Map<Request, Item[]>;

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

const numbered = ({ id, input, pipeline }: Item): Numbered => ({ id, input, pipeline });

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

/** How much the length of its next sequence differs. */
const distance = ({ lengths, next }: Item, width: number): number => Math.abs(lengths[next]! - width);

function outcomeOf(report: Exclude<WorkerReport, { lengths: number[] }>): QueueOutcome {
  if ('refused' in report) return { refused: errorOf(report.refused) };
  return 'failed' in report ? { failed: errorOf(report.failed) } : { prediction: report.prediction };
}
