/** A pipeline as a graph to draw: its cells, or its steps if there are too many cells. */

import type { Cell, Pipeline } from '../cell.ts';

export interface PipelineGraph {
  name: string;
  nodes: PipelineNode[];
  /** Indexes in `nodes`. */
  edges: PipelineEdge[];
}

export interface PipelineNode {
  step: string;
  /** Second line of the label: the matrix values, or the number of cells. */
  detail?: string;
  /** Whether it is a shell step. */
  shell: boolean;
}

export interface PipelineEdge {
  from: number;
  to: number;
  /** The edge comes from `needs`: it only orders the cells. */
  waits: boolean;
}

export function graphOf({ name, cells }: Pipeline): PipelineGraph {
  const byStep = cells.length > CELLS;
  const keyOf = (cell: Cell) => (byStep ? cell.step : cell.name);
  const nodes: PipelineNode[] = [];
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
  const edges = new Map<string, PipelineEdge>();
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

/* Writes a graph in the DOT language of Graphviz. */

export function dot({ name, nodes, edges }: PipelineGraph): string {
  return [
    `digraph ${dotQuoted(name)} {`,
    '  rankdir=LR;',
    '  node [shape=box, fontname="monospace", fontsize=11];',
    ...nodes.map(({ step, detail, shell }, i) => {
      const label = detail === undefined ? dotQuoted(step) : `${dotQuoted(step).slice(0, -1)}\\n${dotQuoted(detail).slice(1)}`;
      return `  n${i} [label=${label}${shell ? '' : ', style=rounded'}];`;
    }),
    ...edges.map(({ from, to, waits }) => `  n${from} -> n${to}${waits ? ' [style=dashed]' : ''};`),
    '}',
    '',
  ].join('\n');
}

function dotQuoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}

/* Writes a graph in the language of Mermaid, which GitHub and many editors render. */

export function mermaid({ nodes, edges }: PipelineGraph): string {
  return [
    'flowchart LR',
    ...nodes.map(({ step, detail, shell }, i) => {
      const label = `"${mermaidQuoted(step)}${detail === undefined ? '' : `<br>${mermaidQuoted(detail)}`}"`;
      return `  n${i}${shell ? `[${label}]` : `(${label})`}`;
    }),
    ...edges.map(({ from, to, waits }) => `  n${from} ${waits ? '-.->' : '-->'} n${to}`),
    '',
  ].join('\n');
}

/** Inside quotes, Mermaid interprets only entities. */
function mermaidQuoted(text: string): string {
  return text.replace(/[#&"<>`\\]/g, (character) => `#${character.charCodeAt(0)};`);
}
