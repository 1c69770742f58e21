/**
 * `run --locked`: nothing may differ from the lock. What can be known beforehand is checked before anything executes: a
 * cell below others is looked at as if they had made what the lock says. The rest is checked as cells end.
 */
import { basename } from 'node:path';
import type { Content } from '../../cache/content.ts';
import { lockPath } from '../pipeline/lock-path.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import { componentsOf, fingerprintOf } from './fingerprint.ts';
import { resolveInputs } from './inputs.ts';
import { contentOfLocked, type Lock, LockError, lockedBytes, readLock } from './lock.ts';
import { differencesFrom, type Look } from './look.ts';
import type { Project } from './project.ts';
import { type Found, readsAtItsPlace } from './survey.ts';
import { phrase } from './why.ts';

type Known = Pick<Look, 'inputs' | 'components' | 'fingerprint'>;

export class Locked {
  private constructor(
    readonly path: string,
    private readonly lock: Lock,
    private readonly project: Project,
  ) {}

  static read(pipeline: Pipeline, project: Project): Locked {
    const path = lockPath(pipeline.file);
    const lock = readLock(path);
    if (lock) return new Locked(path, lock, project);
    throw new LockError(`there is no ${basename(path)} to hold results against`, 'A run without --locked writes it.');
  }

  /** Throws LockError with all cells that are known to differ. */
  async check(pipeline: Pipeline, selected: Set<string>, found: Map<string, Found>): Promise<void> {
    const wrong: string[] = [];
    for (const cell of pipeline.cells) {
      const surveyed = found.get(cell.name);
      if (!selected.has(cell.name) || !surveyed || surveyed.state === 'off') continue;
      const look = surveyed.look ?? (await this.#foresee(cell, pipeline, found));
      const why = look && ((await this.#whyOther(cell, look)) ?? (surveyed.outputs && this.#whyOtherBytes(cell, surveyed.outputs)));
      if (why) wrong.push(`${cell.name}: ${why}`);
      else if (!look && !this.lock.has(cell.name)) wrong.push(`${cell.name}: it is not in the lock`);
    }
    if (wrong.length === 0) return;
    const shown = [...wrong.slice(0, SHOWN), ...(wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`] : [])];
    throw new LockError(
      `${wrong.length === 1 ? 'a cell differs' : `${wrong.length} cells differ`} from ${basename(this.path)}; nothing was run`,
      [...shown, ACCEPT].join('\n  '),
    );
  }

  /** Throws LockError where the cell is not what was locked. */
  async demand(cell: Cell, look: Look): Promise<void> {
    const why = await this.#whyOther(cell, look);
    if (why) throw new LockError(`differs from ${basename(this.path)}: ${why}`, ACCEPT);
    if (look.state !== 'run') this.demandBytes(cell, look.result!.outputs);
  }

  /** Throws LockError where the cell made other bytes. */
  demandBytes(cell: Cell, outputs: Record<string, Content>): void {
    const why = this.#whyOtherBytes(cell, outputs);
    if (why)
      throw new LockError(
        `differs from ${basename(this.path)}: ${why}`,
        'The same code, options and inputs made other bytes: `tunesmith verify` tells whether they do so each time. A run without --locked accepts them.',
      );
  }

  async #whyOther(cell: Cell, known: Known): Promise<string | undefined> {
    const entry = this.lock.get(cell.name);
    if (!entry) return 'it is not in the lock';
    return entry.fingerprint === known.fingerprint ? undefined : whyOther(entry.fingerprint, cell, known, this.project);
  }

  #whyOtherBytes(cell: Cell, outputs: Record<string, Content>): string | undefined {
    const entry = this.lock.get(cell.name);
    return entry && otherBytes(entry.outputs, outputs);
  }

  /** The fingerprint that a cell will have when those above it make what is locked; undefined where that cannot be told yet. */
  async #foresee(cell: Cell, pipeline: Pipeline, found: Map<string, Found>): Promise<Known | undefined> {
    const above = pipeline.cells.filter(({ name }) => cell.reads.includes(name));
    if (above.some((other) => !this.lock.has(other.name) || readsAtItsPlace(cell, other, pipeline))) return undefined;
    const outputsOf = (name: string) =>
      found.get(name)?.outputs ??
      Object.fromEntries(Object.entries(this.lock.get(name)!.outputs).map(([output, bytes]) => [output, contentOfLocked(bytes)]));
    // An output that the lock does not have, an input that is not there: told when the cell's turn comes.
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

/** In words, how a cell differs from the one that had this fingerprint. */
export async function whyOther(
  fingerprint: string,
  cell: Cell,
  known: Pick<Look, 'inputs' | 'components'>,
  project: Project,
): Promise<string> {
  const result = project.cache.index.find(fingerprint);
  if (!result) return `its fingerprint is another one, and the locked result is not in this cache, which could say why`;
  return phrase(await differencesFrom(result, cell, known, project));
}

/** Which outputs have other bytes than before; undefined when none has. */
export function otherBytes(before: Record<string, string>, now: Record<string, Content>): string | undefined {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  const bytesBefore = (name: string) => (Object.hasOwn(before, name) ? before[name] : undefined);
  const bytesNow = (name: string) => (Object.hasOwn(now, name) ? lockedBytes(now[name]!) : undefined);
  const other = names.filter((name) => bytesBefore(name) !== bytesNow(name));
  const told = other.map((name) => `output ${name} (${brief(bytesBefore(name))} → ${brief(bytesNow(name))})`);
  return told.length > 0 ? told.join(', ') : undefined;
}

function brief(bytes: string | undefined): string {
  return bytes === undefined ? 'none' : bytes.slice(0, bytes.indexOf(' ') + 9);
}

const SHOWN = 20;
const ACCEPT = 'A run without --locked accepts this, and writes the lock anew.';
