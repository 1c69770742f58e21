/**
 * Two runs of one pipeline with different parameters write at the same places, one after the other by their leases. A run that stood
 * still for longer than others wait, or that reads later what the other one has made anew, must not mix its results with theirs.
 */
import { relative } from 'node:path';
import { contentOf } from '../../cache/content.ts';
import type { Lease } from '../../cache/lease.ts';
import { standsAt } from '../../cache/place.ts';
import { StepError } from '../step.ts';
import type { Surroundings } from './execute.ts';
import type { Inputs } from './inputs.ts';
import { sameContent } from './look.ts';

/** Throws where another process has taken one of the leases: what stands at the outputs' places is its work. */
export function demandLeases(leases: Lease[]): void {
  if (leases.every((lease) => lease.isHeld())) return;
  throw new StepError(
    'another run took over its outputs while this run stood still: what stands in their places is the work of that run',
    `A run that stands still for a minute (SIGSTOP, a suspended machine) counts as dead on other machines and in other containers. ${APART}`,
  );
}

/** The same for whoever has failed already. */
export function areTakenOver(leases: Lease[]): boolean {
  try {
    return !leases.every((lease) => lease.isHeld());
  } catch {
    return false; // the records cannot be read, which has been reported where they were needed
  }
}

/** Throws where an input that a cell of this run made has been made anew by another run. */
export async function demandOwnInputs(inputs: Inputs, { pipeline, project }: Surroundings): Promise<void> {
  for (const [role, { sources }] of Object.entries(inputs)) {
    for (const { path, content, origin, pinned } of sources) {
      if (!origin || pinned || !standsAt(path)) continue;
      const now = await contentOf(path, project.cache.memo);
      if (now && !sameContent(content, now) && project.records.isOurs(path, now.hash))
        throw new StepError(
          `input ${role} (${relative(pipeline.folder, path)}) is no longer what ${origin.cell} made for this run: another run has made it anew`,
          `Run again. ${APART}`,
        );
    }
  }
}

const APART = 'Runs with different parameters share the places of outputs: run one after the other, or each in a checkout of its own.';
