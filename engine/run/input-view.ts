/**
 * What a step is given of a user's folder in which some files do not count: a folder of links to the others. A step that opens files
 * by name then finds exactly what is in the fingerprint. Inputs of several paths are given as they are, with `leftOut`: their files are
 * called by their places.
 */
import { mkdirSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Cell } from '../pipeline/pipeline.ts';
import type { Inputs, ResolvedSource } from './inputs.ts';

/** @param scratch a folder of this attempt's own */
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

/** Folders are made, so that a link to one is none either: what is left out may lie in it. */
function linkAll(from: string, to: string, leftOut: Set<string>): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const path = join(from, name);
    if (leftOut.has(path)) continue;
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) linkAll(path, join(to, name), leftOut);
    else symlinkSync(path, join(to, name));
  }
}
