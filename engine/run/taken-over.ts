/**
 * Detects interference between runs of one pipeline with different parameters, which write to the same paths and take turns by
 * leases. A run must not mix its results with those of another run, after it was suspended for longer than others wait, or
 * when another run has made one of its inputs again.
 */
import { relative } from 'node:path';
import { contentOf } from '../../cache/content.ts';
import type { Lease } from '../../cache/lease.ts';
import { standsAt } from '../../cache/place.ts';
import { StepError } from '../step.ts';
import type { Surroundings } from './execute.ts';
import type { Inputs } from './inputs.ts';
import { sameContent } from './look.ts';

/** Throws if another process has taken one of the leases, because the outputs then belong to that process. */
export function demandLeases(leases: Lease[]): void {
  if (leases.every((lease) => lease.isHeld())) return;
  throw new StepError(
    'another run took over its outputs while this run was suspended, so the files there belong to that run',
    `A run that is suspended for a minute (SIGSTOP, a sleeping machine) counts as dead on other machines and in other containers. ${APART}`,
  );
}

/** The same test for a cell that has failed already. Does not throw. */
export function areTakenOver(leases: Lease[]): boolean {
  try {
    return !leases.every((lease) => lease.isHeld());
  } catch {
    return false; // the records are unreadable, which has been reported already
  }
}

/** Throws if another run has made an input again that a cell of this run had made. */
export async function demandOwnInputs(inputs: Inputs, { pipeline, project }: Surroundings): Promise<void> {
  for (const [role, { sources }] of Object.entries(inputs)) {
    for (const { path, content, origin, pinned } of sources) {
      if (!origin || pinned || !standsAt(path)) continue;
      const now = await contentOf(path, project.cache.memo);
      if (now && !sameContent(content, now) && project.records.isOurs(path, now.hash))
        throw new StepError(
          `another run has overwritten the input ${role} (${relative(pipeline.folder, path)}), which ${origin.cell} made for this run`,
          `Run again. ${APART}`,
        );
    }
  }
}

const APART = 'Runs with different parameters write to the same paths. Start them one after the other, or each in its own checkout.';
