/** Writes a graph in the DOT language of Graphviz. */
import type { Graph } from './graph.ts';

export function dot({ name, nodes, edges }: Graph): string {
  return [
    `digraph ${quoted(name)} {`,
    '  rankdir=LR;',
    '  node [shape=box, fontname="monospace", fontsize=11];',
    ...nodes.map(({ step, detail, shell }, i) => {
      const label = detail === undefined ? quoted(step) : `${quoted(step).slice(0, -1)}\\n${quoted(detail).slice(1)}`;
      return `  n${i} [label=${label}${shell ? '' : ', style=rounded'}];`;
    }),
    ...edges.map(({ from, to, waits }) => `  n${from} -> n${to}${waits ? ' [style=dashed]' : ''};`),
    '}',
    '',
  ].join('\n');
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}
