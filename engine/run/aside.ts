/**
 * Makes the outputs of a cell change as a whole or not at all, whatever happens when.
 *
 * What stands in the place of an output is moved aside into a folder of this execution, `.tunesmith/work/<id>/`, whose
 * journal says beforehand what will be moved. When the cell succeeded, what was aside is dropped, or kept where we did
 * not write it. When it did not, what the cell left goes to `.tunesmith/failed/<cell>/`, and what was aside returns.
 * After a kill -9 the next run does the same from the journal. By then a user may have written in an output's place: whatever
 * lies there goes to `.tunesmith/kept/`, which nothing removes, unless it is what the killed execution recorded as made.
 *
 * To undo an execution never throws: what cannot be undone is reported with its path and with what to do, and nothing that was aside
 * is lost. The journal then gets another name, which takes no room on a full disk, so that nothing is ever undone twice.
 */
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { type Content, contentOf } from '../../cache/content.ts';
import { systemError } from '../../cache/error.ts';
import { moveAside, place, removeTree, standsAt } from '../../cache/place.ts';
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

  /** For whatever the execution needs beside its outputs; not made yet. */
  get scratch(): string {
    return join(this.folder, 'scratch');
  }

  /** Moves what stands in the outputs' places aside, and makes their parent folders. */
  async clear(outputs: Cell['outputs']): Promise<void> {
    const { root } = this.project;
    const add = async (name: string, path: string, more: { parent?: true } = {}) => {
      const had = standsAt(path);
      const ours = had && (await isOurs(this.project, path));
      this.journal.outputs.push({ name, path: relative(root, path), had, ours, ...more });
    };
    const paths = Object.entries(outputs).map(([name, { path }]) => [name, path] as const);
    const parents = new Set(paths.flatMap(([, path]) => fileAbove(path, root) ?? []));
    for (const [n, parent] of [...parents].entries()) await add(`:parent-${n}`, parent, { parent: true });
    for (const [name, path] of paths) await add(name, path);
    this.#write();
    for (const { path, had, name } of this.journal.outputs) {
      const at = resolve(root, path);
      if (had) await moveAside(at, this.#former(name));
      else mkdirSync(dirname(at), { recursive: true });
    }
  }

  /** What was staged takes the places that `clear` made free. */
  async placeStaged(): Promise<void> {
    for (const { name, path, parent } of this.journal.outputs)
      if (!parent) await place(this.staged(name), resolve(this.project.root, path));
  }

  /**
   * The outputs in place are what the fingerprint makes: where they cannot be stored now, a later run stores them (see execute.ts). On a
   * full disk not even this may find room.
   */
  made(fingerprint: string, contents: Record<string, Content>): void {
    const outputs = Object.fromEntries(
      this.journal.outputs.flatMap(({ name, path, parent }) =>
        parent ? [] : [[name, { content: contents[name]!, at: leftAs(name, path) }]],
      ),
    );
    try {
      writeFileSync(join(this.folder, MADE), JSON.stringify({ fingerprint, outputs } satisfies Unstored));
    } catch {
      removeTree(join(this.folder, MADE));
    }
  }

  /** The new outputs are good, and recorded; or they are another run's, and stay as they are. */
  async keepNew(): Promise<void> {
    this.#mark('done');
    this.#report([...(await this.#dropFormer()), ...this.#remove()]);
  }

  /** The cell failed or was canceled. Returns the folder where what it left lies, if it left anything. */
  async keepFormer(): Promise<string | undefined> {
    const { left, troubles } = await this.#undo();
    this.#report(troubles);
    return left;
  }

  /** Ends what a killed engine left unfinished. */
  static async recover(project: Project): Promise<void> {
    if (namesIn(project.places.work).length === 0) return;
    // Not two at once: the second one would take what the first one has put back for what was left.
    const lease = await project.records.leases.acquire('recovery');
    try {
      for (const id of namesIn(project.places.work)) await Aside.#recoverOne(project, id);
    } finally {
      lease.release();
    }
  }

  static async #recoverOne(project: Project, id: string): Promise<void> {
    const [host = '', boot = '', pid = '', start = ''] = id.split('-');
    const alive = isAlive({ host, boot, pid: Number(pid), start } satisfies ProcessIdentity);
    if (alive) return;
    const folder = join(project.places.work, id);
    const journal = readJournal(folder);
    // Its outputs are not known yet, so their leases cannot tell whether it still beats.
    if (alive === undefined && !journal && isYoung(folder)) return;
    const paths = journal?.outputs.map(({ path }) => resolve(project.root, path)) ?? [];
    // From here it cannot be told whether it lives: the leases on its outputs know, after a while, whether it still beats.
    const leases = alive === undefined ? await project.leaseOutputs(paths) : [];
    const aside = new Aside(project, folder, journal ?? { cell: 'unknown', stage: 'done', outputs: lost(folder) });
    try {
      await aside.#finish();
    } catch (error) {
      aside.#report([troubleWith(`${relative(project.root, folder)} could not be cleared`, error)]);
    } finally {
      for (const lease of leases) lease.release();
    }
  }

  async #finish(): Promise<void> {
    const { cell, stage, outputs } = this.journal;
    if (stage === 'undone') return this.#report(this.#remove());
    if (stage === 'done') return this.#report([...(await this.#dropFormer()), ...this.#remove()]);
    const returning = outputs.filter(({ name }) => standsAt(this.#former(name)));
    const { left, kept, troubles } = await this.#undo({ recovering: true });
    const returned = returning.filter(({ name, path }) => !standsAt(this.#former(name)) && standsAt(resolve(this.project.root, path)));
    const parts = [
      returned.length > 0 ? `the former ${returned.map(({ path }) => path).join(', ')} was put back before this run began` : '',
      ...kept.map(({ path, at }) => `what was found at ${path} is kept as ${relative(this.project.root, at)}`),
      left ? `what it left is in ${relative(this.project.root, left)} until the cell succeeds` : '',
    ].filter(Boolean);
    if (parts.length > 0) this.project.notice(`cut off in an earlier run: ${parts.join('; ')}`, cell);
    this.#report(troubles);
  }

  /** Puts back what was aside. An output that cannot be put back stands for itself: the others are. */
  async #undo({ recovering = false } = {}): Promise<{ left?: string; kept: { path: string; at: string }[]; troubles: string[] }> {
    const { root, places, records, cache } = this.project;
    const failed = places.failed(this.journal.cell);
    const troubles: string[] = [];
    const attempt = async (what: string, work: () => unknown) => {
      try {
        await work();
      } catch (error) {
        troubles.push(troubleWith(what, error));
      }
    };
    /** A later execution has made it since, and the journal could not be marked. */
    const isLater = async (at: string) =>
      recovering && standsAt(at) && records.isOurs(at, (await contentOf(at, cache.memo).catch(() => undefined))?.hash ?? '');
    let left = false;
    const kept: { path: string; at: string }[] = [];
    const keepFound = (from: string, path: string) =>
      attempt(`what was found at ${path}, where ${this.journal.cell} was cut off, could not be moved to .tunesmith/kept`, async () => {
        const at = await moveAside(from, this.#keptAs(path));
        if (at) kept.push({ path, at });
      });
    const leave = (from: string, name: string) =>
      attempt(`what ${this.journal.cell} left at ${relative(root, from)} could not be moved to ${relative(root, failed)}`, async () => {
        try {
          left = (await moveAside(from, join(failed, name))) !== undefined || left;
        } catch (error) {
          if (isPassing(error)) throw error;
          const kept = await moveAside(from, this.#keptAs(join('failed', name))).catch(() => undefined);
          throw kept ? new Error(`${messageOf(error)}; it is kept as ${relative(root, kept)}`) : error;
        }
      });
    await attempt(`${relative(root, failed)} of an earlier failure could not be removed`, () => removeTree(failed));
    for (const name of namesIn(join(this.folder, 'staged'))) await leave(this.staged(name), name);
    // Parents return last: what lies below them must be out of their place first.
    for (const { name, path, had, parent } of [...this.journal.outputs].sort((a, b) => Number(a.parent ?? 0) - Number(b.parent ?? 0))) {
      const at = resolve(root, path);
      const former = this.#former(name);
      const isAside = standsAt(former);
      // It stood there before, and was not yet moved.
      if (!isAside && (had || (await isLater(at)))) continue;
      if (parent || recovering) removeEmpty(at);
      if (!parent && standsAt(at)) {
        if (recovering && !(await this.#isMade(name, at))) await keepFound(at, path);
        else await leave(at, leftAs(name, path));
      }
      if (isAside) await attempt(`${path} could not be put back`, () => this.#putBack(former, at));
    }
    const made = join(this.folder, MADE);
    if (left && standsAt(made)) await attempt(`${relative(root, made)} could not be moved`, () => renameSync(made, join(failed, MADE)));
    // On a disk that is full, all stays where it is until there is room.
    if (!troubles.some((trouble) => trouble.endsWith(AGAIN))) {
      this.#mark('undone');
      troubles.push(...this.#remove());
    }
    return { left: left ? failed : undefined, kept, troubles };
  }

  /** Whether what stands there is what this execution recorded as made. */
  async #isMade(name: string, at: string): Promise<boolean> {
    try {
      const { outputs }: Unstored = JSON.parse(readFileSync(join(this.folder, MADE), 'utf8'));
      const { kind, hash } = outputs[name]!.content;
      const found = await contentOf(at, this.project.cache.memo);
      return found?.kind === kind && found.hash === hash;
    } catch {
      return false; // nothing was recorded, or one of the two cannot be read
    }
  }

  /** Where its place is taken by what cannot be moved, it is kept. */
  async #putBack(former: string, at: string): Promise<void> {
    try {
      if (standsAt(at) && !isEmptyFolder(at)) throw new Error('something else stands in its place');
      return await place(former, at);
    } catch (error) {
      if (isPassing(error)) throw error;
      const kept = await moveAside(former, this.#keptAs(relative(this.project.root, at)));
      throw new Error(`${messageOf(error)}; it is kept as ${relative(this.project.root, kept ?? former)}`);
    }
  }

  async #dropFormer(): Promise<string[]> {
    const troubles: string[] = [];
    for (const { name, path, had, ours } of this.journal.outputs) {
      if (!had || ours) continue;
      try {
        await keep(this.project, this.#former(name), resolve(this.project.root, path), this.journal.cell);
      } catch (error) {
        const { root } = this.project;
        troubles.push(
          troubleWith(`the former ${path} lies in ${relative(root, this.#former(name))} and could not be kept elsewhere`, error),
        );
      }
    }
    return troubles;
  }

  /** What is left to report after the folder of this execution should be gone. Former outputs are never removed with it. */
  #remove(): string[] {
    const { root } = this.project;
    const former = join(this.folder, 'former');
    try {
      const kept = this.journal.outputs.filter(({ name, had, ours }) => had && standsAt(this.#former(name)) && !(ours && this.#isDone));
      if (kept.length === 0) removeTree(this.folder);
      else for (const name of ['staged', 'scratch']) removeTree(join(this.folder, name));
      return [];
    } catch (error) {
      const at = standsAt(former) ? this.folder : join(this.folder, 'staged');
      return [troubleWith(`${relative(root, at)} could not be removed`, error)];
    }
  }

  get #isDone(): boolean {
    return this.journal.stage === 'done';
  }

  /** A renaming needs no room, unlike a new text. */
  #mark(stage: 'done' | 'undone'): void {
    this.journal.stage = stage;
    try {
      const began = join(this.folder, JOURNAL.begun);
      if (standsAt(began)) renameSync(began, join(this.folder, JOURNAL[stage]));
    } catch (error) {
      // The next run then does once more what has been done: it finds nothing to move.
      if (stage === 'done') throw error;
    }
  }

  #keptAs(name: string): string {
    return keptAs(this.project, name);
  }

  /** Each trouble once, whichever run meets it. */
  #report(troubles: string[]): void {
    for (const trouble of troubles) if (!this.project.records.wasTold(trouble)) this.project.notice(trouble, this.journal.cell);
  }

  #former(name: string): string {
    return join(this.folder, 'former', name);
  }

  #write(): void {
    const file = join(this.folder, JOURNAL.begun);
    writeFileSync(`${file}.new`, JSON.stringify(this.journal));
    renameSync(`${file}.new`, file);
  }
}

/**
 * The parents of an output's path that are no folders give way: one that we wrote is removed, a user's is kept aside. For a result that
 * is restored; an execution does it in its journal.
 */
export async function clearWay(project: Project, path: string, cell: string): Promise<void> {
  const parent = fileAbove(path, project.root);
  if (parent === undefined) return;
  if (await isOurs(project, parent)) removeTree(parent);
  else await keep(project, parent, parent, cell);
}

/** The file (or a link that leads to no folder) that stands where a folder above `path` has to be. */
function fileAbove(path: string, root: string): string | undefined {
  for (let at = dirname(path); at.length > root.length; at = dirname(at)) {
    if (!standsAt(at)) continue;
    return statSync(at, { throwIfNoEntry: false })?.isDirectory() ? undefined : at;
  }
  return undefined;
}

/** Keeps what lies at `from` and stood at `path`: we did not write it, so it is moved out of the way, for good, and named. */
export async function keep(project: Project, from: string, path: string, cell: string): Promise<void> {
  const name = relative(project.root, path);
  const kept = await moveAside(from, keptAs(project, name));
  if (kept) project.notice(`${name} was not written by tunesmith: it is kept as ${relative(project.root, kept)}`, cell);
}

function keptAs({ places }: Project, name: string): string {
  return join(places.kept, new Date().toISOString().slice(0, 19).replaceAll(':', '-'), name);
}

/** Whether what stands at an output's place is of our making, or can be had again from the cache. */
export async function isOurs(project: Project, path: string): Promise<boolean> {
  try {
    const stat = lstatSync(path);
    // A link is the user's doing, wherever it leads.
    if (stat.isSymbolicLink()) return project.records.isOurs(path, LINK);
    const content = await contentOf(path, project.cache.memo);
    if (content === undefined || project.records.isOurs(path, content.hash) || (await project.cache.objects.state(content)) === 'ok')
      return true;
    if (!stat.isDirectory()) return false;
    // A folder that was made for outputs which lie in it.
    for (const name of readdirSync(path)) if (!(await isOurs(project, join(path, name)))) return false;
    return true;
  } catch {
    // What cannot be read cannot be ours.
    return false;
  }
}

/** Recorded in place of a hash where a cell made a link: moving it loses nothing, and where it leads is not our business. */
export const LINK = 'link';

/** Beside outputs in `failed/`: that they are whole, and of which fingerprint. */
export interface Unstored {
  fingerprint: string;
  /** `at`: where it lies, from that folder. */
  outputs: Record<string, { content: Content; at: string }>;
}

export const MADE = '.made.json';

function leftAs(name: string, path: string): string {
  return path.startsWith('.tunesmith/') ? name : path;
}

interface Journal {
  cell: string;
  stage: keyof typeof JOURNAL;
  outputs: {
    name: string;
    /** Relative to the project root: it may have moved since. */
    path: string;
    /** Whether something stood there. */
    had: boolean;
    /** Whether we wrote it, or could write it again. */
    ours: boolean;
    /** It is no output, but stood where a folder above one has to be. */
    parent?: true;
  }[];
}

/** The name of the journal says how far the execution came. */
const JOURNAL = { begun: 'journal.json', done: 'done.json', undone: 'undone.json' };

let count = 0;

function readJournal(folder: string): Journal | undefined {
  for (const [stage, name] of Object.entries(JOURNAL)) {
    try {
      const { cell, outputs, stage: written } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Journal;
      // Versions before wrote the stage into the journal.
      if (outputs.every(({ name, path }) => typeof name === 'string' && typeof path === 'string'))
        return { cell: String(cell), outputs, stage: written === 'done' ? 'done' : (stage as Journal['stage']) };
    } catch {
      // Not there, or damaged.
    }
  }
  return undefined;
}

/** A journal that a power loss took: whatever lies aside is kept. */
function lost(folder: string): Journal['outputs'] {
  return namesIn(join(folder, 'former')).map((name) => ({ name, path: name, had: true, ours: false }));
}

/** A process on another host cannot be asked; what it left untouched for so long is nobody's. */
function isYoung(folder: string): boolean {
  const stat = lstatSync(folder, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs < WEEK;
}

const WEEK = 7 * 24 * 3600 * 1000;

/** Folders that were made for an output, as far as nothing is in them. */
function removeEmpty(folder: string): void {
  for (const name of namesIn(folder)) if (lstatSync(join(folder, name)).isDirectory()) removeEmpty(join(folder, name));
  try {
    rmdirSync(folder);
  } catch {
    // Something else is in it, or it is not there.
  }
}

/** Where something is mounted, the folder itself stays. */
function isEmptyFolder(path: string): boolean {
  return lstatSync(path).isDirectory() && namesIn(path).length === 0;
}

function troubleWith(what: string, error: unknown): string {
  const { hint = '' } = systemError(error) ?? (error as { hint?: string });
  return `${what}: ${messageOf(error)}. ${isPassing(error) ? AGAIN : hint}`.trimEnd();
}

const AGAIN = 'The next run tries again.';

/** What may be over by the next run. */
function isPassing(error: unknown): boolean {
  const { code, name, message } = error as NodeJS.ErrnoException;
  return ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE'].includes(code ?? '') || (name === 'CacheError' && /^disk/.test(message));
}

function messageOf(error: unknown): string {
  return systemError(error)?.message ?? (error as Error).message;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
