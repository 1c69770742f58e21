/** The steps that read data, and the screen when one of them fails. */
import { expect } from 'vitest';
import { type Files, project, root } from '../../rig.ts';
import { failure, type Project } from './rig.ts';

export const COLLECT = `steps:
  collect: { uses: collect, with: { files: data.csv } }
`;

export const SPLIT = `${COLLECT}  split: { uses: split, with: { data: "\${{ steps.collect.data }}", ratios: [0.8, 0.1, 0.1] } }
`;

export const TOKENIZE = `${SPLIT}  tokenize:
    uses: tokenize
    with:
      data: "\${{ steps.split.data }}"
      model: ${root}/pipelines/models/bert-tiny
`;

export const rows = (label: (i: number) => string) =>
  `text,label\n${Array.from({ length: 40 }, (_, i) => `text ${i},${label(i)}\n`).join('')}`;

export const TWO = rows((i) => (i % 2 ? 'a' : 'b'));

/** The screen of the failing cell, after the cells before it have run. */
export async function fails(yaml: string, files: Files, check?: (p: Project) => void): Promise<string> {
  const p = project({ 'p.yaml': yaml, ...files });
  const screen = await failure(p);
  expect(p.find('.tunesmith/outputs').filter((file) => file.includes('failed'))).toEqual([]);
  check?.(p);
  return screen.slice(screen.lastIndexOf('\n', screen.search(/: failed after/)));
}
