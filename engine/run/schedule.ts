/**
 * Walks cells in the order of their edges, as wide as the machine allows. p-graph drives; since it cannot stop, limit or
 * mark anything, its tasks never reject, and what may run when is decided here.
 */
import type { Cell } from '../pipeline/pipeline.ts';

/** `edges`: what must have ended before a cell begins. `visit` must not reject. */
export async function walk(cells: Cell[], edges: (cell: Cell) => Iterable<string>, visit: (cell: Cell) => Promise<void>): Promise<void> {
  // p-graph keeps nodes in an object by their names: a step named `__proto__` would be no node of it.
  const id = (name: string) => `cell ${name}`;
  const among = new Set(cells.map((cell) => cell.name));
  const dependencies: [string, string][] = [];
  for (const cell of cells) for (const before of edges(cell)) if (among.has(before)) dependencies.push([id(before), id(cell.name)]);
  const nodes = new Map(cells.map((cell) => [id(cell.name), { run: () => visit(cell) }]));
  const { PGraph } = await import('p-graph');
  await new PGraph(nodes, dependencies).run();
}

/** How much of what. */
export type Amounts = { cells: number; cpu: number; memory: number };

export interface Demand extends Amounts {
  gpu: number;
}

/** What was taken: `release` gives it back; calling it twice does no harm. */
export interface Held {
  gpus: string[];
  release(): void;
}

/**
 * What cells share: how many may be at work, cores, memory, and GPUs, each by its name. The first of the order comes before
 * the later ones. Who cannot have all that it needs keeps others from what it lacks, or it might wait for ever; what it
 * does not lack stays free for them: a cell that waits for a GPU keeps no core idle.
 */
export class Pool {
  readonly #free: Amounts;
  readonly #gpus: string[];
  #admitting: NodeJS.Immediate | undefined;
  readonly #line: { demand: Demand; order: number; enter: (held: Held) => void }[] = [];

  constructor(all: Amounts, gpus: string[] = []) {
    this.#free = { ...all };
    this.#gpus = [...gpus];
  }

  async take(order: number, demand: Demand): Promise<Held> {
    return new Promise<Held>((enter) => {
      const place = this.#line.findIndex((other) => other.order > order);
      this.#line.splice(place < 0 ? this.#line.length : place, 0, { demand, order, enter });
      this.#soon();
    });
  }

  /** Not at once: others who come now, too, may come first in the order. */
  #soon(): void {
    this.#admitting ??= setImmediate(() => this.#admit());
  }

  #admit(): void {
    this.#admitting = undefined;
    const kept = new Set<keyof Demand>();
    for (let at = 0; at < this.#line.length && !kept.has('cells'); ) {
      const { demand, enter } = this.#line[at]!;
      const wanted = KINDS.filter((kind) => demand[kind] > 0);
      const lacking = wanted.filter((kind) => demand[kind] > (kind === 'gpu' ? this.#gpus.length : this.#free[kind]));
      if (lacking.length === 0 && !wanted.some((kind) => kept.has(kind))) {
        this.#line.splice(at, 1);
        enter(this.#hold(demand));
      } else {
        for (const kind of lacking) kept.add(kind);
        at++;
      }
    }
  }

  #hold(demand: Demand): Held {
    for (const kind of AMOUNTS) this.#free[kind] -= demand[kind];
    const gpus = this.#gpus.splice(0, demand.gpu);
    let held = true;
    return {
      gpus,
      release: () => {
        if (!held) return;
        held = false;
        for (const kind of AMOUNTS) this.#free[kind] += demand[kind];
        this.#gpus.push(...gpus);
        this.#gpus.sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
        this.#soon();
      },
    };
  }
}

const AMOUNTS = ['cells', 'cpu', 'memory'] as const;
const KINDS = [...AMOUNTS, 'gpu'] as const;

/**
 * The longest way first: a cell's rank is how long it and the longest chain below it take, by what they took before; one
 * that has not run yet is taken for the average of its step, or of all. Returns each cell's place in the order.
 */
export function longestFirst(cells: Cell[], seconds: Map<string, number>): Map<string, number> {
  const known = new Map<string, number[]>();
  for (const { name, step } of cells) {
    if (!known.has(step)) known.set(step, []);
    if (seconds.has(name)) known.get(step)!.push(seconds.get(name)!);
  }
  const guesses = new Map([...known].map(([step, all]) => [step, average(all)]));
  const guess = average([...known.values()].flat()) ?? 1;
  const below = new Map<string, number>();
  const ranks = new Map<string, number>();
  for (const cell of [...cells].reverse()) {
    const rank = (seconds.get(cell.name) ?? guesses.get(cell.step) ?? guess) + (below.get(cell.name) ?? 0);
    ranks.set(cell.name, rank);
    for (const above of [...cell.reads, ...cell.waits]) below.set(above, Math.max(below.get(above) ?? 0, rank));
  }
  // Sorting is stable: among equals the order of the pipeline counts.
  const sorted = [...cells].sort((a, b) => ranks.get(b.name)! - ranks.get(a.name)!);
  return new Map(sorted.map(({ name }, order) => [name, order]));
}

function average(numbers: number[]): number | undefined {
  return numbers.length === 0 ? undefined : numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
}
