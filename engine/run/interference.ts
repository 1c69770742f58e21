/**
 * Detects what others change while a cell runs. A user may edit an input. Another run of the pipeline with other parameters
 * writes to the same paths, and takes turns by leases; it may take over the outputs of a run that was suspended for longer than
 * others wait, or make one of its inputs again. A run must not mix its results with those of another one.
 */

import { dirname, join, relative, resolve } from 'node:path';
import { existsAt } from '../../cache/atomic-move.ts';
import { type ContentOptions, contentOf, stampsOf, stampsWithin } from '../../cache/content.ts';
import type { Lease } from '../../cache/lease.ts';
import type { Cell } from '../contract/cell.ts';
import { StepError } from '../contract/step.ts';
import { compareBytes } from '../format/scalars.ts';
import { componentsOf, fingerprintOf } from './fingerprint.ts';
import { type Freshness, sameContent } from './freshness.ts';
import type { Project } from './project.ts';
import { type InputContext, type Inputs, resolveInputs } from './resolve-inputs.ts';

interface RunContext extends InputContext {
  project: Project;
  signal: AbortSignal;
}

/** Timestamps of everything that a cell reads, by path, including the files in folders. */
export type Stamps = Map<string, { whole: string | undefined; files: Map<string, string> }>;

export async function stampsOfInputs(inputs: Inputs, { project, signal }: Pick<RunContext, 'project' | 'signal'>): Promise<Stamps> {
  const stamps: Stamps = new Map();
  for (const { sources } of Object.values(inputs)) {
    for (const { path, pinned, origin, reading } of sources) {
      if (pinned) continue;
      let stamp = await stampsOf(path, reading).catch(() => undefined);
      // Another run may have moved it aside while it makes it again. It will return.
      if (stamp === undefined && origin) {
        for (const lease of await project.leaseOutputs([path], { signal })) lease.release();
        stamp = await stampsOf(path, reading);
      }
      stamps.set(path, { whole: stamp, files: await stampsWithin(path, reading).catch(() => new Map()) });
    }
  }
  return stamps;
}

/** The first input that has changed since the cell started. Timestamps make this fast. */
export async function changedInput(cell: Cell, freshness: Freshness, stamps: Stamps, context: RunContext): Promise<string | undefined> {
  const { pipeline, project } = context;
  const described = (role: string, path: string) => `input ${role} (${relative(pipeline.folder, path)})`;
  try {
    const inputs = await resolveInputs(cell, context);
    for (const [role, { sources }] of Object.entries(freshness.inputs)) {
      const now = new Map(inputs[role]?.sources.map((source) => [source.path, source.content]));
      for (const { path, content, origin, reading } of sources) {
        // The content of other cells' outputs comes from records, so read the file itself here.
        const current = origin ? await contentOf(path, project.cache.fileHashes) : now.get(path);
        // The cell may have read an edit that was reverted since.
        const before = stamps.get(path);
        if (sameContent(content, current) && (!before || (await stampsOf(path, reading)) === before.whole)) continue;
        return described(role, await changedFile(path, before?.files ?? new Map(), reading));
      }
    }
    const { code } = freshness.components;
    if (code && cell.action.kind === 'step' && 'path' in cell.action.module) {
      const folder = dirname(cell.action.module.path);
      for (const [file, hash] of Object.entries(code.files)) {
        if ((await contentOf(resolve(folder, file), project.cache.fileHashes))?.hash !== hash) return file;
      }
    }
    // Added files and other changes.
    return fingerprintOf(await componentsOf(cell, inputs)) === freshness.fingerprint ? undefined : 'an input';
  } catch {
    return 'an input';
  }
}

/** The path of the first changed file in a folder; the folder itself if none is known. */
async function changedFile(path: string, before: Map<string, string>, reading: ContentOptions | undefined): Promise<string> {
  const now = await stampsWithin(path, reading).catch(() => new Map<string, string>());
  const names = [...new Set([...before.keys(), ...now.keys()])].sort(compareBytes);
  const changed = names.find((name) => before.get(name) !== now.get(name));
  return changed === undefined ? path : join(path, changed);
}

/** Throws if another process has taken one of the leases, because the outputs then belong to that process. */
export function refuseLostLeases(leases: Lease[]): void {
  if (leases.every((lease) => lease.isHeld())) return;
  throw new StepError(
    'another run took over its outputs while this run was suspended, so the files there belong to that run',
    `A run that is suspended for a minute (SIGSTOP, a sleeping machine) counts as dead on other machines and in other containers. ${APART}`,
  );
}

/** The same test for a cell that has failed already. Does not throw. */
export function areLost(leases: Lease[]): boolean {
  try {
    return !leases.every((lease) => lease.isHeld());
  } catch {
    return false; // the records are unreadable, which has been reported already
  }
}

/** Throws if another run has made an input again that a cell of this run had made. */
export async function refuseForeignInputs(inputs: Inputs, { pipeline, project }: Pick<RunContext, 'pipeline' | 'project'>): Promise<void> {
  for (const [role, { sources }] of Object.entries(inputs)) {
    for (const { path, content, origin, pinned } of sources) {
      if (!origin || pinned || !existsAt(path)) continue;
      const now = await contentOf(path, project.cache.fileHashes);
      if (now && !sameContent(content, now) && project.records.isOurs(path, now.hash))
        throw new StepError(
          `another run has overwritten the input ${role} (${relative(pipeline.folder, path)}), which ${origin.cell} made for this run`,
          `Run again. ${APART}`,
        );
    }
  }
}

const APART = 'Runs with different parameters write to the same paths. Start them one after the other, or each in its own checkout.';
