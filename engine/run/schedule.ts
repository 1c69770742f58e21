/**
 * Walks cells in the order of their edges, as wide as the slots allow. p-graph drives; since it cannot stop, limit or
 * mark anything, its tasks never reject, and what may run when is decided here.
 */
import type { Cell } from '../pipeline/pipeline.ts';

/** `edges`: what must have ended before a cell begins. `visit` must not reject. */
export async function walk(cells: Cell[], edges: (cell: Cell) => Iterable<string>, visit: (cell: Cell) => Promise<void>): Promise<void> {
  const among = new Set(cells.map((cell) => cell.name));
  const dependencies: [string, string][] = [];
  for (const cell of cells) for (const before of edges(cell)) if (among.has(before)) dependencies.push([before, cell.name]);
  const nodes = new Map(cells.map((cell) => [cell.name, { run: () => visit(cell) }]));
  const { PGraph } = await import('p-graph');
  await new PGraph(nodes, dependencies).run();
}

/**
 * So many at once, the first of the order before the later ones. Who takes all of them runs alone, and is not starved:
 * while it is the next in line, nobody overtakes it.
 */
export class Slots {
  #free: number;
  readonly #line: { weight: number; order: number; enter: () => void }[] = [];

  constructor(private readonly size: number) {
    this.#free = size;
  }

  /** Resolves with what gives the slots back; calling it twice does no harm. */
  async take(order: number, all = false): Promise<() => void> {
    const weight = all ? this.size : 1;
    await new Promise<void>((enter) => {
      const place = this.#line.findIndex((other) => other.order > order);
      this.#line.splice(place < 0 ? this.#line.length : place, 0, { weight, order, enter });
      this.#admit();
    });
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#free += weight;
      this.#admit();
    };
  }

  #admit(): void {
    while (this.#line.length > 0 && this.#line[0]!.weight <= this.#free) {
      const { weight, enter } = this.#line.shift()!;
      this.#free -= weight;
      enter();
    }
  }
}
