/** Writes a graph in the language of Mermaid, which GitHub and many editors render. */
import type { Graph } from './graph.ts';

export function mermaid({ nodes, edges }: Graph): string {
  return [
    'flowchart LR',
    ...nodes.map(({ step, detail, shell }, i) => {
      const label = `"${quoted(step)}${detail === undefined ? '' : `<br>${quoted(detail)}`}"`;
      return `  n${i}${shell ? `[${label}]` : `(${label})`}`;
    }),
    ...edges.map(({ from, to, waits }) => `  n${from} ${waits ? '-.->' : '-->'} n${to}`),
    '',
  ].join('\n');
}

/** Inside quotes, Mermaid interprets only entities. */
function quoted(text: string): string {
  return text.replace(/[#&"<>`\\]/g, (character) => `#${character.charCodeAt(0)};`);
}
