/** A project whose runs leave results for gc. */
import type { Project } from '../../rig.ts';

export const PIPELINE = `
params: { text: one }
steps:
  a: { run: "echo \${{ params.text }} > \${{ outputs.o }}", outputs: { o: out/a.txt } }
  b: { run: "cp -r \${{ inputs.i }} \${{ outputs.o }}; cat \${{ steps.a.o }} > \${{ outputs.o }}/last", inputs: { i: data }, outputs: { o: out/b } }
`;

export const FILES = { 'p.yaml': PIPELINE, 'data/x': 'x\n', 'data/y': 'y\n' };

export async function runs(p: Project, ...texts: string[]): Promise<void> {
  for (const text of texts) await p.states('p.yaml', '-p', `text=${text}`);
}

export const ran = async (p: Project, text: string) =>
  Object.values((await p.states('p.yaml', '-p', `text=${text}`)).cells).filter((s) => s === 'ran').length;

export const objects = (p: Project, cache = '.tunesmith') => p.find(`${cache}/objects`).length;
