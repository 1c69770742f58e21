/**
 * A view of a user's folder in which some files do not count: a folder of links to the other files. A step that opens files by
 * name then finds exactly the files in the fingerprint. Inputs with several paths are passed unchanged, with `leftOut`,
 * because the paths of their files matter.
 */
import { mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cell } from '../pipeline/pipeline.ts';
import type { Inputs, ResolvedSource } from './inputs.ts';

/** `scratch`: a folder of this attempt. */
export function withViews(inputs: Inputs, cell: Cell, scratch: string): Inputs {
  const seen = Object.entries(inputs).map(([role, input]) => {
    const [source] = input.sources;
    if (cell.inputs[role]!.declaration.many || !source?.leftOut?.length) return [role, input] as const;
    return [role, { ...input, sources: [viewOf(source, join(scratch, 'views', role))] }] as const;
  });
  return Object.assign(Object.create(null), Object.fromEntries(seen));
}

function viewOf({ leftOut, ...source }: ResolvedSource, parent: string): ResolvedSource {
  const view = join(parent, basename(source.path));
  linkAll(source.path, view, new Set(leftOut));
  return { ...source, path: view };
}

/** Creates folders instead of linking them, because they may contain files that are left out. */
function linkAll(from: string, to: string, leftOut: Set<string>): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const path = join(from, name);
    if (leftOut.has(path)) continue;
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) linkAll(path, join(to, name), leftOut);
    else symlinkSync(path, join(to, name));
  }
}
