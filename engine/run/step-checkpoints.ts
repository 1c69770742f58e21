/**
 * The folder for checkpoints of a step, which survive an interrupted attempt: `.tunesmith/checkpoints/<fingerprint>/`. Other
 * options, inputs or versions have another fingerprint, so a step never resumes from a checkpoint that does not match.
 */

import { lstatSync } from 'node:fs';
import { join, relative } from 'node:path';
import { namesIn, removeTree } from '../../cache/atomic-move.ts';
import { systemError } from '../../cache/error.ts';
import type { Lease } from '../../cache/lease.ts';
import type { Project } from './project.ts';

export class StepCheckpoints {
  constructor(
    /** Does not exist until the step writes there. */
    readonly folder: string,
    readonly release: () => void,
  ) {}

  /** Waits until no other execution of the same fingerprint uses them. */
  static async hold({ places, records }: Project, fingerprint: string, signal: AbortSignal): Promise<StepCheckpoints> {
    const lease = await records.leases.acquire(keyOf(fingerprint), { signal });
    return new StepCheckpoints(join(places.checkpoints, fingerprint), () => lease.release());
  }

  /** Removes them when the cell has succeeded or they are invalid. If that fails, they only take space: later runs never use them. */
  remove(): void {
    try {
      removeTree(this.folder);
    } catch {
      // It is removed later, when it has not been used for a long time.
    }
  }

  /** Removes checkpoints that were not used for a long time. */
  static async removeForgotten({ root, places, records, notice }: Project): Promise<void> {
    for (const fingerprint of namesIn(places.checkpoints)) {
      const folder = join(places.checkpoints, fingerprint);
      if (Date.now() - lastWritten(folder) < TWO_WEEKS) continue;
      const busy = new AbortController();
      const lease: Lease | undefined = await records.leases
        .acquire(keyOf(fingerprint), { signal: busy.signal, onWait: () => busy.abort() })
        .catch((error) => {
          if (busy.signal.aborted) return undefined;
          throw error;
        });
      if (!lease) continue;
      try {
        removeTree(folder);
      } catch (error) {
        const { message, hint } = systemError(error) ?? { message: String(error), hint: '' };
        const trouble = `could not remove ${relative(root, folder)}: ${message}. ${hint}`;
        if (!records.wasReported(trouble)) notice(trouble);
      } finally {
        lease.release();
      }
    }
  }
}

const TWO_WEEKS = 14 * 24 * 3600 * 1000;

const keyOf = (fingerprint: string): string => `checkpoints ${fingerprint}`;

/** The last change of a folder or of anything below it. What cannot be read may be in use. */
function lastWritten(path: string): number {
  try {
    const stat = lstatSync(path, { throwIfNoEntry: false });
    const below = stat?.isDirectory() ? namesIn(path).map((name) => lastWritten(join(path, name))) : [];
    return Math.max(stat?.mtimeMs ?? 0, ...below);
  } catch {
    return Date.now();
  }
}
