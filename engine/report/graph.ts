/** A pipeline as a graph of its cells, or of its steps if there are too many cells, and its drawings: DOT, Mermaid, SVG. */

import type { Cell, Pipeline } from '../contract/cell.ts';
import { width } from '../format/text.ts';

interface PipelineGraph {
  name: string;
  nodes: PipelineNode[];
  /** Indexes in `nodes`. */
  edges: PipelineEdge[];
}

interface PipelineNode {
  step: string;
  /** Second line of the label: the matrix values, or the number of cells. */
  detail?: string;
  /** Last line of the label: how the cell ended. */
  outcome?: string;
  shell: boolean;
}

/** What a graph needs to know of a cell. */
export type GraphCell = Pick<Cell, 'name' | 'step' | 'reads' | 'waits'> & { action: Pick<Cell['action'], 'kind'> };

interface PipelineEdge {
  from: number;
  to: number;
  /** The edge comes from `needs`: it only orders the cells. */
  waits: boolean;
}

/** @param outcomeOf describes how the cells of a box ended */
export function graphOf(
  { name, cells }: Pick<Pipeline, 'name'> & { cells: GraphCell[] },
  outcomeOf: (cells: string[]) => string | undefined = () => undefined,
): PipelineGraph {
  const byStep = cells.length > CELLS;
  const keyOf = (cell: GraphCell) => (byStep ? cell.step : cell.name);
  const nodes: PipelineNode[] = [];
  const position = new Map<string, number>();
  const byName = new Map(cells.map((cell) => [cell.name, cell]));
  for (const cell of cells) {
    if (position.has(keyOf(cell))) continue;
    position.set(keyOf(cell), nodes.length);
    const own = byStep ? cells.filter(({ step }) => step === cell.step) : [cell];
    const many = own.length;
    const outcome = outcomeOf(own.map(({ name }) => name));
    const point = cell.name.slice(cell.step.length).replace(/^\[(.*)\]$/s, '$1');
    const detail = many > 1 ? `${many} cells` : point;
    nodes.push({
      step: cell.step,
      ...(detail && !(byStep && many === 1) ? { detail } : {}),
      ...(outcome !== undefined && { outcome }),
      shell: cell.action.kind === 'shell',
    });
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

/** Writes a graph in the DOT language of Graphviz. */
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

/** Writes a graph in the language of Mermaid, which GitHub and many editors render. */
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

/** Draws a graph as SVG for a README or a browser, readable on light and dark backgrounds. */
export function svg(graph: PipelineGraph): string {
  const layout = layoutOf(graph, sizesOf(graph.nodes), { layers: 56, nodes: 16 });
  const [wide, high] = [Math.ceil(layout.width) + 2 * MARGIN, Math.ceil(layout.height) + 2 * MARGIN];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${wide}" height="${high}" viewBox="${-MARGIN} ${-MARGIN} ${wide} ${high}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="${FONT}">
<title>${escaped(graph.name)}</title>
<style>
  rect { fill: #f6f8fa; stroke: #57606a } .step { fill: #ddf4ff; stroke: #0969da }
  path { fill: none; stroke: #8c959f } #tip path { fill: #8c959f; stroke: none } .waits { stroke-dasharray: 4 4 }
  text { fill: #1f2328 } .detail { fill: #57606a; font-size: ${FONT - 2}px }
  @media (prefers-color-scheme: dark) {
    rect { fill: #21262d; stroke: #8b949e } .step { fill: #122d42; stroke: #58a6ff }
    path { stroke: #6e7681 } #tip path { fill: #6e7681 } text { fill: #e6edf3 } .detail { fill: #9198a1 }
  }
</style>
<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
${layout.paths.map((points, i) => `<path${graph.edges[i]!.waits ? ' class="waits"' : ''} d="${curve(points)}" marker-end="url(#tip)"/>`).join('\n')}
${graph.nodes
  .map((node, i) => {
    const { x, y, width, height } = layout.boxes[i]!;
    const lines = linesBelow(node).map((line, i) => text(line, x + width / 2, y + 36 + 15 * i, ' class="detail"'));
    return [
      `<rect${node.shell ? '' : ' class="step"'} x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" rx="${node.shell ? 2 : 8}"/>`,
      text(node.step, x + width / 2, y + 19, ' font-weight="600"'),
      ...lines,
    ].join('\n');
  })
  .join('\n')}
</svg>
`;
}

const MARGIN = 12;
const FONT = 13;
/** Width of a character relative to the font size. Most monospaced fonts have 0.6, some a little more. */
const LETTER = 0.62;

/** Cells of one step have the same width. */
function sizesOf(nodes: PipelineNode[]): Size[] {
  const sizes = nodes.map(sizeOf);
  const widest = new Map<string, number>();
  for (const [i, { step }] of nodes.entries()) widest.set(step, Math.max(widest.get(step) ?? 0, sizes[i]!.width));
  return sizes.map(({ height }, i) => ({ width: widest.get(nodes[i]!.step)!, height }));
}

function sizeOf(node: PipelineNode): Size {
  const lines = linesBelow(node);
  const name = width(node.step) * FONT * LETTER;
  const below = Math.max(0, ...lines.map(width)) * (FONT - 2) * LETTER;
  const height = lines.length === 0 ? 30 : 46 + 15 * (lines.length - 1);
  return { width: Math.max(64, Math.ceil(Math.max(name, below)) + 24), height };
}

/** The lines of a label below the name of the step. */
const linesBelow = ({ detail, outcome }: PipelineNode): string[] => [detail, outcome].filter((line) => line !== undefined);

/** A curve that leaves and enters boxes horizontally. */
function curve(points: [number, number][]): string {
  let path = `M${point(points[0]!)}`;
  for (let i = 1; i < points.length; i++) {
    const [[x0, y0], [x1, y1]] = [points[i - 1]!, points[i]!];
    const bend = (x1 - x0) / 2;
    path += i % 2 === 0 ? `L${point([x1, y1])}` : `C${point([x0 + bend, y0])} ${point([x1 - bend, y1])} ${point([x1, y1])}`;
  }
  return path;
}

function text(content: string, x: number, y: number, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="middle"${attributes}>${escaped(content)}</text>`;
}

function point([x, y]: [number, number]): string {
  return `${round(x)} ${round(y)}`;
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

/* The layout of the SVG. */

type Size = Record<'width' | 'height', number>;

interface Place {
  layer: number;
  /** Index of the node; undefined for a bend of an edge. */
  node?: number;
  height: number;
  y: number;
  left: Place[];
  right: Place[];
}

/**
 * A layered layout from left to right, after Sugiyama. A node is to the right of all its dependencies. An edge that spans
 * several layers has an invisible node in each of them. Each layer is sorted and placed by the positions of its neighbours.
 * `gaps`: between layers, and between the nodes of one layer.
 */
function layoutOf({ nodes, edges }: PipelineGraph, sizes: Size[], gaps: { layers: number; nodes: number }) {
  const layerOf = layersOf(nodes.length, edges);
  const places: Place[] = nodes.map((_, node) => ({ layer: layerOf[node]!, node, height: sizes[node]!.height, y: 0, left: [], right: [] }));
  const routes = edges.map(({ from, to }) => route(places[from]!, places[to]!));
  const layers: Place[][] = Array.from({ length: Math.max(0, ...layerOf) + 1 }, () => []);
  for (const place of new Set([...places, ...routes.flat()])) layers[place.layer]!.push(place);

  sort(layers);
  position(layers, gaps.nodes);

  const widths = layers.map((layer) => Math.max(0, ...layer.map(({ node }) => (node === undefined ? 0 : sizes[node]!.width))));
  const lefts = widths.map((_, layer) => widths.slice(0, layer).reduce((sum, width) => sum + width + gaps.layers, 0));
  const boxes = places.map(({ layer, y, height }, node) => ({ x: lefts[layer]!, y, width: sizes[node]!.width, height }));
  const paths = routes.map((stops): [number, number][] => {
    const points: [number, number][] = [];
    for (const [i, { layer, node, y, height }] of stops.entries()) {
      const middle = y + height / 2;
      if (i > 0) points.push([lefts[layer]!, middle]);
      if (i < stops.length - 1) points.push([lefts[layer]! + (node === undefined ? widths[layer]! : sizes[node]!.width), middle]);
    }
    return points;
  });
  return {
    width: lefts.at(-1)! + widths.at(-1)!,
    height: Math.max(0, ...layers.flat().map(({ y, height }) => y + height)),
    boxes,
    paths,
  };
}

/** Assigns layers: a node is to the right of all its dependencies. A node without dependencies is close to its readers. */
function layersOf(count: number, edges: PipelineGraph['edges']): number[] {
  const layer = new Array<number>(count).fill(0);
  // The nodes are in topological order, so one forward pass is enough.
  const byTarget = [...edges].sort((a, b) => a.to - b.to);
  for (const { from, to } of byTarget) layer[to] = Math.max(layer[to]!, layer[from]! + 1);
  for (let node = count - 1; node >= 0; node--) {
    const below = edges.filter(({ from }) => from === node).map(({ to }) => layer[to]!);
    if (below.length > 0 && edges.every(({ to }) => to !== node)) layer[node] = Math.min(...below) - 1;
  }
  return layer;
}

function route(from: Place, to: Place): Place[] {
  const stops = [from];
  for (let layer = from.layer + 1; layer < to.layer; layer++) stops.push({ layer, height: 0, y: 0, left: [], right: [] });
  stops.push(to);
  for (let i = 1; i < stops.length; i++) {
    stops[i - 1]!.right.push(stops[i]!);
    stops[i]!.left.push(stops[i - 1]!);
  }
  return stops;
}

/** Sorts forwards and backwards by the mean rank of the neighbours, which reduces crossings. */
function sort(layers: Place[][]): void {
  const rank = new Map<Place, number>();
  const number = (layer: Place[]) => {
    for (const [i, place] of layer.entries()) rank.set(place, i);
  };
  for (const layer of layers) number(layer);
  for (let sweep = 0; sweep < 8; sweep++) {
    const forward = sweep % 2 === 0;
    for (const layer of forward ? layers : [...layers].reverse()) {
      const rankOf = (place: Place) => rank.get(place)!;
      const goal = new Map(layer.map((place) => [place, meanOf(forward ? place.left : place.right, rankOf) ?? rankOf(place)]));
      layer.sort((a, b) => goal.get(a)! - goal.get(b)!);
      number(layer);
    }
  }
}

/** Stacks the nodes without overlap, then moves them towards the middle of their neighbours as far as there is room. */
function position(layers: Place[][], gap: number): void {
  for (const layer of layers) {
    let y = 0;
    for (const place of layer) {
      place.y = y;
      y += place.height + gap;
    }
  }
  for (let sweep = 0; sweep < 12; sweep++) {
    const forward = sweep % 2 === 0;
    for (const layer of forward ? layers : [...layers].reverse()) {
      const wanted = layer.map((place) => {
        const middle = meanOf(forward ? place.left : place.right, ({ y, height }) => y + height / 2);
        return middle === undefined ? place.y : middle - place.height / 2;
      });
      settle(layer, wanted, gap);
    }
  }
  const top = Math.min(...layers.flat().map(({ y }) => y));
  for (const place of layers.flat()) place.y -= top;
}

/** Positions as close to the wanted ones as the order and the gaps allow. Overlapping groups share their shift (isotonic regression). */
function settle(layer: Place[], wanted: number[], gap: number): void {
  const blocks: { places: Place[]; offsets: number[]; sum: number; y: number; height: number }[] = [];
  for (const [i, place] of layer.entries()) {
    let block = { places: [place], offsets: [0], sum: wanted[i]!, y: wanted[i]!, height: place.height + gap };
    for (let before = blocks.at(-1); before && before.y + before.height > block.y; before = blocks.at(-1)) {
      blocks.pop();
      const shift = before.height;
      block = {
        places: [...before.places, ...block.places],
        offsets: [...before.offsets, ...block.offsets.map((offset) => offset + shift)],
        sum: before.sum + block.sum - shift * block.places.length,
        y: 0,
        height: before.height + block.height,
      };
      block.y = block.sum / block.places.length;
    }
    blocks.push(block);
  }
  for (const { places, offsets, y } of blocks) for (const [i, place] of places.entries()) place.y = y + offsets[i]!;
}

function meanOf(neighbours: Place[], number: (place: Place) => number): number | undefined {
  return neighbours.length === 0 ? undefined : neighbours.reduce((sum, place) => sum + number(place), 0) / neighbours.length;
}
