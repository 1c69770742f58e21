/**
 * `run --locked`: no result may differ from the lockfile. As much as possible is checked before any cell runs, assuming that
 * cells produce the outputs in the lockfile. The rest is checked when cells end.
 */

import { basename } from 'node:path';
import type { Content } from '../../cache/content.ts';
import { type Cell, lockfilePath, type Pipeline } from '../cell.ts';
import { phrase } from './change-reasons.ts';
import { componentsOf, fingerprintOf } from './fingerprint.ts';
import { differencesFrom, type Freshness } from './freshness.ts';
import { contentOfLocked, type Lockfile, LockfileError, lockedBytes, readLockfile } from './lockfile.ts';
import { type PlannedCell, readsAtItsPlace } from './plan.ts';
import type { Project } from './project.ts';
import { resolveInputs } from './resolve-inputs.ts';

type Known = Pick<Freshness, 'inputs' | 'components' | 'fingerprint'>;

export class LockfileCheck {
  private constructor(
    readonly path: string,
    private readonly lock: Lockfile,
    private readonly project: Project,
  ) {}

  static read(pipeline: Pipeline, project: Project): LockfileCheck {
    const path = lockfilePath(pipeline.file);
    const lock = readLockfile(path);
    if (lock) return new LockfileCheck(path, lock, project);
    throw new LockfileError(`there is no ${basename(path)} to compare results with`, 'Run without --locked to write it.');
  }

  /** Throws LockfileError with all cells that already differ. */
  async checkPlan(pipeline: Pipeline, selected: Set<string>, plan: Map<string, PlannedCell>): Promise<void> {
    const wrong: string[] = [];
    for (const cell of pipeline.cells) {
      const planned = plan.get(cell.name);
      if (!selected.has(cell.name) || !planned || planned.state === 'off') continue;
      const known = planned.freshness ?? (await this.#expected(cell, pipeline, plan));
      const why = known && ((await this.#whyOther(cell, known)) ?? (planned.outputs && this.#whyOtherBytes(cell, planned.outputs)));
      if (why) wrong.push(`${cell.name}: ${why}`);
      else if (!known && !this.lock.has(cell.name)) wrong.push(`${cell.name}: it is not in the lockfile`);
    }
    if (wrong.length === 0) return;
    const shown = [...wrong.slice(0, SHOWN), ...(wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`] : [])];
    throw new LockfileError(
      `${wrong.length === 1 ? '1 cell differs' : `${wrong.length} cells differ`} from ${basename(this.path)}; no cell was run`,
      [...shown, ACCEPT].join('\n  '),
    );
  }

  /** Throws LockfileError if the cell's fingerprint differs from the lockfile. */
  async checkCell(cell: Cell, freshness: Freshness): Promise<void> {
    const why = await this.#whyOther(cell, freshness);
    if (why) throw new LockfileError(`differs from ${basename(this.path)}: ${why}`, ACCEPT);
    if (freshness.state !== 'run') this.checkOutputs(cell, freshness.result!.outputs);
  }

  /** Throws LockfileError if the cell's outputs differ from the lockfile. */
  checkOutputs(cell: Cell, outputs: Record<string, Content>): void {
    const why = this.#whyOtherBytes(cell, outputs);
    if (why)
      throw new LockfileError(
        `differs from ${basename(this.path)}: ${why}`,
        'The same code, options and inputs produced different outputs. `tunesmith verify` shows whether the step is deterministic. Run without --locked to accept the new outputs.',
      );
  }

  async #whyOther(cell: Cell, known: Known): Promise<string | undefined> {
    const entry = this.lock.get(cell.name);
    if (!entry) return 'it is not in the lockfile';
    return entry.fingerprint === known.fingerprint ? undefined : whyOther(entry.fingerprint, cell, known, this.project);
  }

  #whyOtherBytes(cell: Cell, outputs: Record<string, Content>): string | undefined {
    const entry = this.lock.get(cell.name);
    return entry && otherBytes(entry.outputs, outputs);
  }

  /** The fingerprint of a cell if the cells before it produce the locked outputs; undefined if it is not known yet. */
  async #expected(cell: Cell, pipeline: Pipeline, plan: Map<string, PlannedCell>): Promise<Known | undefined> {
    const above = pipeline.cells.filter(({ name }) => cell.reads.includes(name));
    if (above.some((other) => !this.lock.has(other.name) || readsAtItsPlace(cell, other, pipeline))) return undefined;
    const outputsOf = (name: string) =>
      plan.get(name)?.outputs ??
      Object.fromEntries(Object.entries(this.lock.get(name)!.outputs).map(([output, bytes]) => [output, contentOfLocked(bytes)]));
    // A missing entry or input is reported when the cell's turn comes.
    if (above.some(({ name, outputs }) => Object.keys(outputs).some((output) => !Object.hasOwn(outputsOf(name), output)))) return undefined;
    try {
      const inputs = await resolveInputs(cell, pipeline, this.project, outputsOf);
      const components = await componentsOf(cell, inputs);
      return { inputs, components, fingerprint: fingerprintOf(components) };
    } catch {
      return undefined;
    }
  }
}

/** Describes how a cell differs from the result with this fingerprint. */
export async function whyOther(
  fingerprint: string,
  cell: Cell,
  known: Pick<Freshness, 'inputs' | 'components'>,
  project: Project,
): Promise<string> {
  const result = project.cache.index.find(fingerprint);
  if (!result) return `its fingerprint differs (the locked result is not in this cache, so the reason is unknown)`;
  return phrase(await differencesFrom(result, cell, known, project));
}

/** The outputs that differ from before; undefined if none does. */
export function otherBytes(before: Record<string, string>, now: Record<string, Content>): string | undefined {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const bytesBefore = (name: string) => (Object.hasOwn(before, name) ? before[name] : undefined);
  const bytesNow = (name: string) => (Object.hasOwn(now, name) ? lockedBytes(now[name]!) : undefined);
  const other = names.filter((name) => bytesBefore(name) !== bytesNow(name));
  const changes = other.map((name) => `output ${name} (${brief(bytesBefore(name))} → ${brief(bytesNow(name))})`);
  return changes.length > 0 ? changes.join(', ') : undefined;
}

function brief(bytes: string | undefined): string {
  return bytes === undefined ? 'none' : bytes.slice(0, bytes.indexOf(' ') + 9);
}

const SHOWN = 20;
const ACCEPT = 'Run without --locked to accept the change and update the lockfile.';
