/**
 * A layered layout from left to right, after Sugiyama. A node is to the right of all its dependencies. An edge that spans
 * several layers has an invisible node in each of them. Each layer is sorted and placed by the positions of its neighbours.
 */
import type { Graph } from './graph.ts';

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  width: number;
  height: number;
  boxes: Box[];
  /** The points of each edge. */
  paths: [x: number, y: number][][];
}

export interface Spacing {
  layers: number;
  nodes: number;
}

interface Place {
  layer: number;
  /** Index of the node; undefined for a bend of an edge. */
  node?: number;
  height: number;
  y: number;
  left: Place[];
  right: Place[];
}

export function layoutOf({ nodes, edges }: Graph, sizes: { width: number; height: number }[], spacing: Spacing): Layout {
  const layerOf = layersOf(nodes.length, edges);
  const places: Place[] = nodes.map((_, node) => ({ layer: layerOf[node]!, node, height: sizes[node]!.height, y: 0, left: [], right: [] }));
  const routes = edges.map(({ from, to }) => route(places[from]!, places[to]!));
  const layers: Place[][] = Array.from({ length: Math.max(0, ...layerOf) + 1 }, () => []);
  for (const place of new Set([...places, ...routes.flat()])) layers[place.layer]!.push(place);

  sort(layers);
  position(layers, spacing.nodes);

  const widths = layers.map((layer) => Math.max(0, ...layer.map(({ node }) => (node === undefined ? 0 : sizes[node]!.width))));
  const lefts = widths.map((_, layer) => widths.slice(0, layer).reduce((sum, width) => sum + width + spacing.layers, 0));
  const boxes = places.map(({ layer, y, height }, node): Box => ({ x: lefts[layer]!, y, width: sizes[node]!.width, height }));
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
function layersOf(count: number, edges: Graph['edges']): number[] {
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
      const goal = new Map(
        layer.map((place) => [place, mean((forward ? place.left : place.right).map((p) => rank.get(p)!)) ?? rank.get(place)!]),
      );
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
        const middle = mean((forward ? place.left : place.right).map(({ y, height }) => y + height / 2));
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

function mean(values: number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;
}
