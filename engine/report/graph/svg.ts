/** Draws a graph as SVG for a README or a browser, readable on light and dark backgrounds. */
import { width } from '../text.ts';
import type { Graph, Node } from './graph.ts';
import { layoutOf } from './layout.ts';

export function svg(graph: Graph): string {
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
    const lines = node.detail === undefined ? [] : [text(node.detail, x + width / 2, y + 36, ' class="detail"')];
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
function sizesOf(nodes: Node[]): { width: number; height: number }[] {
  const sizes = nodes.map(sizeOf);
  const widest = new Map<string, number>();
  for (const [i, { step }] of nodes.entries()) widest.set(step, Math.max(widest.get(step) ?? 0, sizes[i]!.width));
  return sizes.map(({ height }, i) => ({ width: widest.get(nodes[i]!.step)!, height }));
}

function sizeOf({ step, detail }: Node): { width: number; height: number } {
  const name = width(step) * FONT * LETTER;
  const below = width(detail ?? '') * (FONT - 2) * LETTER;
  return { width: Math.max(64, Math.ceil(Math.max(name, below)) + 24), height: detail === undefined ? 30 : 46 };
}

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
