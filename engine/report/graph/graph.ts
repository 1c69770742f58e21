/** A pipeline as a graph to draw: its cells, or its steps if there are too many cells. */
import type { Cell, Pipeline } from '../../pipeline/pipeline.ts';

export interface Graph {
  name: string;
  nodes: Node[];
  /** Indexes in `nodes`. */
  edges: Edge[];
}

export interface Node {
  step: string;
  /** Second line of the label: the matrix values, or the number of cells. */
  detail?: string;
  /** Whether it is a shell step. */
  shell: boolean;
}

export interface Edge {
  from: number;
  to: number;
  /** The edge comes from `needs`: it only orders the cells. */
  waits: boolean;
}

export function graphOf({ name, cells }: Pipeline): Graph {
  const byStep = cells.length > CELLS;
  const keyOf = (cell: Cell) => (byStep ? cell.step : cell.name);
  const nodes: Node[] = [];
  const position = new Map<string, number>();
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  for (const cell of cells) {
    if (position.has(keyOf(cell))) continue;
    position.set(keyOf(cell), nodes.length);
    const many = byStep ? cells.filter(({ step }) => step === cell.step).length : 1;
    const point = cell.name.slice(cell.step.length).replace(/^\[(.*)\]$/s, '$1');
    const detail = many > 1 ? `${many} cells` : point;
    nodes.push({ step: cell.step, ...(detail && !(byStep && many === 1) ? { detail } : {}), shell: cell.action.kind === 'shell' });
  }
  const edges = new Map<string, Edge>();
  for (const cell of cells) {
    const to = position.get(keyOf(cell))!;
    for (const [names, waits] of [
      [cell.reads, false],
      [cell.waits, true],
    ] as const) {
      for (const above of names) {
        const from = position.get(keyOf(byName.get(above)!))!;
        const key = `${from} ${to}`;
        if (!edges.has(key) || !waits) edges.set(key, { from, to, waits });
      }
    }
  }
  return { name, nodes, edges: [...edges.values()] };
}

/** Maximum number of boxes. */
const CELLS = 40;
