/**
 * Makes the outputs of a cell change as a whole or not at all, whatever happens when.
 *
 * What stands in the place of an output is moved aside into a folder of this execution, `.tunesmith/work/<id>/`, whose
 * journal says beforehand what will be moved. When the cell succeeded, what was aside is dropped, or kept where we did
 * not write it. When it did not, what the cell left goes to `.tunesmith/failed/<cell>/`, and what was aside returns.
 * After a kill -9 the next run does the same from the journal.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { contentOf } from '../../cache/content.ts';
import { moveAside, place } from '../../cache/place.ts';
import { isAlive, type ProcessIdentity, thisProcess } from '../../cache/process.ts';
import type { Cell } from '../pipeline/pipeline.ts';
import type { Project } from './project.ts';

export class Aside {
  private constructor(
    private readonly project: Project,
    private readonly folder: string,
    private readonly journal: Journal,
  ) {}

  static begin(project: Project, cell: Cell): Aside {
    const { host, boot, pid, start } = thisProcess();
    const folder = join(project.places.work, `${host}-${boot}-${pid}-${start}-${++count}`);
    // The commands of a shell step write to the outputs' places themselves.
    mkdirSync(cell.action.kind === 'shell' ? folder : join(folder, 'staged'), { recursive: true });
    return new Aside(project, folder, { cell: cell.name, stage: 'begun', outputs: [] });
  }

  /** Where a step writes an output that is moved to its place when it succeeded. */
  staged(name: string): string {
    return join(this.folder, 'staged', name);
  }

  /** Moves what stands in the outputs' places aside, and makes their parent folders. */
  async clear(outputs: Cell['outputs']): Promise<void> {
    for (const [name, { path }] of Object.entries(outputs)) {
      const had = standsAt(path);
      const ours = had && (await isOurs(this.project, path));
      this.journal.outputs.push({ name, path: relative(this.project.root, path), had, ours });
    }
    this.#write();
    for (const { path, had, name } of this.journal.outputs) {
      const at = resolve(this.project.root, path);
      if (had) await moveAside(at, this.#former(name));
      else mkdirSync(dirname(at), { recursive: true });
    }
  }

  /** What was staged takes the places that `clear` made free. */
  async placeStaged(): Promise<void> {
    for (const { name, path } of this.journal.outputs) await place(this.staged(name), resolve(this.project.root, path));
  }

  /** The new outputs are good, and recorded. */
  async keepNew(): Promise<void> {
    this.journal.stage = 'done';
    this.#write();
    await this.#dropFormer();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The cell failed or was canceled. Returns the folder where what it left lies, if it left anything. */
  async keepFormer(): Promise<string | undefined> {
    const { root, places } = this.project;
    const failed = places.failed(this.journal.cell);
    rmSync(failed, { recursive: true, force: true });
    let left = false;
    for (const name of namesIn(join(this.folder, 'staged')))
      left = (await moveAside(this.staged(name), join(failed, name))) !== undefined || left;
    for (const { name, path, had } of this.journal.outputs) {
      const at = resolve(root, path);
      const former = standsAt(this.#former(name));
      // It stood there before, and was not yet moved.
      if (had && !former) continue;
      left = (await moveAside(at, join(failed, path.startsWith('.tunesmith/') ? name : path))) !== undefined || left;
      if (former) await place(this.#former(name), at);
    }
    rmSync(this.folder, { recursive: true, force: true });
    return left ? failed : undefined;
  }

  /** Ends what a killed engine left unfinished. */
  static async recover(project: Project): Promise<void> {
    if (namesIn(project.places.work).length === 0) return;
    // Not two at once: the second one would take what the first one has put back for what was left.
    const lease = await project.records.leases.acquire('recovery');
    try {
      await Aside.#recoverAll(project);
    } finally {
      lease.release();
    }
  }

  static async #recoverAll(project: Project): Promise<void> {
    for (const id of namesIn(project.places.work)) {
      const [host = '', boot = '', pid = '', start = ''] = id.split('-');
      const alive = isAlive({ host, boot, pid: Number(pid), start } satisfies ProcessIdentity);
      if (alive) continue;
      const folder = join(project.places.work, id);
      const journal = readJournal(folder);
      const paths = journal?.outputs.map(({ path }) => resolve(project.root, path)) ?? [];
      // From here it cannot be told whether it lives: the leases on its outputs know, after a while, whether it still beats.
      const leases = alive === undefined ? await project.leaseOutputs(paths) : [];
      try {
        await new Aside(project, folder, journal ?? { cell: 'unknown', stage: 'done', outputs: lost(folder) }).#finish();
      } finally {
        for (const lease of leases) lease.release();
      }
    }
  }

  async #finish(): Promise<void> {
    if (this.journal.stage === 'done') {
      await this.#dropFormer();
      rmSync(this.folder, { recursive: true, force: true });
      return;
    }
    const returned = this.journal.outputs.filter(({ name }) => standsAt(this.#former(name))).map(({ path }) => path);
    const failed = await this.keepFormer();
    const parts = [
      returned.length > 0 ? `${returned.join(', ')} ${returned.length === 1 ? 'is' : 'are'} as before` : '',
      failed ? `what it left is in ${relative(this.project.root, failed)}` : '',
    ].filter(Boolean);
    if (parts.length > 0) this.project.notice(`${this.journal.cell} was cut off in an earlier run: ${parts.join('; ')}`, this.journal.cell);
  }

  async #dropFormer(): Promise<void> {
    for (const { name, path, had, ours } of this.journal.outputs) {
      if (had && !ours) await keep(this.project, this.#former(name), resolve(this.project.root, path), this.journal.cell);
    }
  }

  #former(name: string): string {
    return join(this.folder, 'former', name);
  }

  #write(): void {
    const file = join(this.folder, 'journal.json');
    writeFileSync(`${file}.new`, JSON.stringify(this.journal));
    renameSync(`${file}.new`, file);
  }
}

/** Keeps what lies at `from` and stood at `path`: we did not write it, so it is moved out of the way, for good, and named. */
export async function keep(project: Project, from: string, path: string, cell: string): Promise<void> {
  const name = relative(project.root, path);
  const time = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  const kept = await moveAside(from, join(project.places.kept, time, name));
  if (kept) project.notice(`${name} was not written by tunesmith: it is kept as ${relative(project.root, kept)}`, cell);
}

/** Whether what stands at an output's place is of our making, or can be had again from the cache. */
export async function isOurs(project: Project, path: string): Promise<boolean> {
  // A link is the user's doing, wherever it leads.
  if (lstatSync(path).isSymbolicLink()) return project.records.isOurs(path, LINK);
  try {
    const content = await contentOf(path, project.cache.memo);
    return content === undefined || project.records.isOurs(path, content.hash) || (await project.cache.objects.state(content)) === 'ok';
  } catch {
    // What cannot be read cannot be ours.
    return false;
  }
}

/** Recorded in place of a hash where a cell made a link: moving it loses nothing, and where it leads is not our business. */
export const LINK = 'link';

interface Journal {
  cell: string;
  stage: 'begun' | 'done';
  outputs: {
    name: string;
    /** Relative to the project root: it may have moved since. */
    path: string;
    /** Whether something stood there. */
    had: boolean;
    /** Whether we wrote it, or could write it again. */
    ours: boolean;
  }[];
}

let count = 0;

function readJournal(folder: string): Journal | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'journal.json'), 'utf8'));
  } catch {
    return undefined;
  }
}

/** A journal that a power loss took: whatever lies aside is kept. */
function lost(folder: string): Journal['outputs'] {
  return namesIn(join(folder, 'former')).map((name) => ({ name, path: name, had: true, ours: false }));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

export function standsAt(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}
