/**
 * Visits cells in the order of their dependencies, as many at a time as the machine allows. p-graph drives the traversal. It
 * cannot stop or limit tasks, so tasks never reject, and this file decides when a cell may run.
 */

import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import type { Cell } from '../contract/cell.ts';
import { memoryLimit } from '../contract/memory-limit.ts';

/** `edges`: the cells that must end before a cell starts. `visit` must not reject. */
export async function walk(cells: Cell[], edges: (cell: Cell) => Iterable<string>, visit: (cell: Cell) => Promise<void>): Promise<void> {
  // p-graph stores nodes in an object by name, which would lose a step named `__proto__`.
  const id = (name: string) => `cell ${name}`;
  const among = new Set(cells.map((cell) => cell.name));
  const dependencies: [string, string][] = [];
  for (const cell of cells) for (const before of edges(cell)) if (among.has(before)) dependencies.push([id(before), id(cell.name)]);
  const nodes = new Map(cells.map((cell) => [id(cell.name), { run: () => visit(cell) }]));
  const { PGraph } = await import('p-graph');
  await new PGraph(nodes, dependencies).run();
}

/** An amount of each resource except GPUs, which have names. */
interface Amounts {
  cells: number;
  cpu: number;
  memory: number;
}

interface Demand extends Amounts {
  gpu: number;
}

/** Resources in use. `release` returns them and may be called twice. */
export interface Allocation {
  gpus: string[];
  release(): void;
}

/**
 * The resources that cells share: slots, CPU cores, memory and GPUs. Cells get them in the given order. A cell that waits
 * for resources reserves those that are scarce, so that it cannot starve. It does not reserve the others: a cell that waits
 * for a GPU keeps no CPU core idle.
 */
export class Pool {
  readonly #free: Amounts;
  readonly #gpus: string[];
  #admitting: NodeJS.Immediate | undefined;
  readonly #waiting: { demand: Demand; order: number; enter: (allocation: Allocation) => void }[] = [];

  constructor(all: Amounts, gpus: string[] = []) {
    this.#free = { ...all };
    this.#gpus = [...gpus];
  }

  async take(order: number, demand: Demand): Promise<Allocation> {
    return new Promise<Allocation>((enter) => {
      const place = this.#waiting.findIndex((other) => other.order > order);
      this.#waiting.splice(place < 0 ? this.#waiting.length : place, 0, { demand, order, enter });
      this.#soon();
    });
  }

  /** Waits a turn, because cells that arrive in the same turn may come earlier in the order. */
  #soon(): void {
    this.#admitting ??= setImmediate(() => this.#admit());
  }

  #admit(): void {
    this.#admitting = undefined;
    const reserved = new Set<keyof Demand>();
    for (let at = 0; at < this.#waiting.length && !reserved.has('cells'); ) {
      const { demand, enter } = this.#waiting[at]!;
      const wanted = KINDS.filter((kind) => demand[kind] > 0);
      const lacking = wanted.filter((kind) => demand[kind] > (kind === 'gpu' ? this.#gpus.length : this.#free[kind]));
      if (lacking.length === 0 && !wanted.some((kind) => reserved.has(kind))) {
        this.#waiting.splice(at, 1);
        enter(this.#allocate(demand));
      } else {
        for (const kind of lacking) reserved.add(kind);
        at++;
      }
    }
  }

  #allocate(demand: Demand): Allocation {
    for (const kind of AMOUNTS) this.#free[kind] -= demand[kind];
    const gpus = this.#gpus.splice(0, demand.gpu);
    let released = false;
    return {
      gpus,
      release: () => {
        if (released) return;
        released = true;
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
 * Orders cells by critical path: a cell's rank is the duration of the longest chain of cells that starts with it, from earlier
 * runs. A cell that has not run yet counts with the average of its step, or of all cells. Returns the position of each cell.
 */
export function longestFirst(cells: Cell[], seconds: Map<string, number>): Map<string, number> {
  const known = cells.filter(({ name }) => seconds.has(name));
  const average = (some: Cell[]) => some.reduce((sum, { name }) => sum + seconds.get(name)!, 0) / some.length;
  const guesses = new Map([...Map.groupBy(known, ({ step }) => step)].map(([step, some]) => [step, average(some)]));
  const guess = known.length > 0 ? average(known) : 1;
  const below = new Map<string, number>();
  const ranks = new Map<string, number>();
  for (const cell of [...cells].reverse()) {
    const rank = (seconds.get(cell.name) ?? guesses.get(cell.step) ?? guess) + (below.get(cell.name) ?? 0);
    ranks.set(cell.name, rank);
    for (const above of [...cell.reads, ...cell.waits]) below.set(above, Math.max(below.get(above) ?? 0, rank));
  }
  // Sorting is stable, so equal ranks keep the order of the pipeline.
  const sorted = [...cells].sort((a, b) => ranks.get(b.name)! - ranks.get(a.name)!);
  return new Map(sorted.map(({ name }, order) => [name, order]));
}

/** The resources of this machine that cells share. */
export interface MachineResources {
  cpu: number;
  /** Bytes. */
  memory: number;
  /** GPU ids as in CUDA_VISIBLE_DEVICES. */
  gpus: string[];
}

/** Counts GPUs only if one of the cells asks for one, because the driver takes a while to answer. */
export async function machineFor(cells: Cell[]): Promise<MachineResources> {
  const needsGpu = cells.some(({ resources }) => (resources.gpu ?? 0) > 0);
  return { cpu: availableParallelism(), memory: memoryLimit(), gpus: needsGpu ? await gpus() : [] };
}

/** The resources of a running cell. A step that uses all cores runs alone, unless the pipeline declares its number of cores. */
export function demandOf({ resources: { cpu, gpu = 0, memory = 0 }, action }: Cell, jobs: number): Demand {
  const alone = cpu === undefined && action.kind === 'step' && action.definition.threads === 'all';
  return { cells: alone ? jobs : 1, cpu: cpu ?? 1, memory, gpu };
}

/** The GPUs: from TUNESMITH_GPUS if set, otherwise from the driver. Cells get only GPUs that the engine itself can see. */
async function gpus(): Promise<string[]> {
  const visible = process.env.CUDA_VISIBLE_DEVICES;
  if (visible !== undefined) return visible.split(',').flatMap((name) => name.trim() || []);
  const count = process.env.TUNESMITH_GPUS === undefined ? await gpuCount() : Number(process.env.TUNESMITH_GPUS);
  return Array.from({ length: count }, (_, index) => String(index));
}

async function gpuCount(): Promise<number> {
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader'], { timeout: 20_000 });
    return stdout.split('\n').filter((line) => /^\d+$/.test(line.trim())).length;
  } catch {
    return 0; // no driver
  }
}
