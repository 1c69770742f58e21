/**
 * A transaction over the outputs of a cell: they all change, or none does, even if the engine is killed.
 *
 * Begin: existing outputs move to the folder of this execution, `.tunesmith/work/<id>/`. Its journal lists the moves first.
 * Commit: if the cell succeeded, the former outputs are removed, or kept if tunesmith did not write them.
 * Rollback: otherwise the cell's partial outputs move to `.tunesmith/failed/<cell>/`, and the former outputs move back.
 * Recovery: after a kill -9, the next run rolls back from the journal. A user may have written to an output's path since
 * then. Such a file moves to `.tunesmith/kept/`, which is never cleaned, unless the killed execution recorded it as made.
 *
 * A rollback never throws. It reports what it cannot move back, with the path and what to do, and loses no former output.
 * Afterwards it renames the journal, which needs no space on a full disk, so that no rollback happens twice.
 */

import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { existsAt, isYoung, moveAside, namesIn, placeAtomically, removeTree } from '../../cache/atomic-move.ts';
import { type Content, contentOf } from '../../cache/content.ts';
import { systemError } from '../../cache/error.ts';
import { isAlive, processId, processOf } from '../../cache/process.ts';
import type { Cell } from '../contract/cell.ts';
import type { Project } from './project.ts';

export class OutputTransaction {
  private constructor(
    private readonly project: Project,
    private readonly folder: string,
    private readonly journal: Journal,
  ) {}

  static begin(project: Project, cell: Cell): OutputTransaction {
    const folder = join(project.places.work, `${processId()}-${++transactions}`);
    // The commands of a shell step write to the paths of the outputs themselves.
    mkdirSync(cell.action.kind === 'shell' ? folder : join(folder, 'staged'), { recursive: true });
    return new OutputTransaction(project, folder, { cell: cell.name, stage: 'begun', outputs: [] });
  }

  /** The path where a step writes an output before it is moved to its final path. */
  staged(name: string): string {
    return join(this.folder, 'staged', name);
  }

  /** A folder for temporary files of the execution. Does not exist yet. */
  get scratch(): string {
    return join(this.folder, 'scratch');
  }

  /** Moves existing outputs aside and creates the parent folders. */
  async moveFormerAside(outputs: Cell['outputs']): Promise<void> {
    const { root } = this.project;
    const add = async (name: string, path: string, more: { parent?: true } = {}) => {
      const had = existsAt(path);
      const ours = had && (await isOwnOutput(this.project, path));
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

  /** Moves the staged outputs to their final paths, which `moveFormerAside` has emptied. */
  async moveStagedIntoPlace(): Promise<void> {
    for (const { name, path, parent } of this.journal.outputs)
      if (!parent) await placeAtomically(this.staged(name), resolve(this.project.root, path));
  }

  /**
   * Records that the outputs are complete and belong to the fingerprint. If they cannot be stored now, a later run stores
   * them (see `storeUnstored` in execute.ts). Even this record may fail on a full disk.
   */
  markMade(fingerprint: string, contents: Record<string, Content>): void {
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

  /** Commits: the new outputs are valid and recorded, or they belong to another run and stay unchanged. */
  async commit(): Promise<void> {
    this.#mark('done');
    this.#report([...(await this.#dropFormer()), ...this.#remove()]);
  }

  /** Rolls back after a failure or cancellation. Returns the folder of the partial outputs, if there are any. */
  async rollback(): Promise<string | undefined> {
    const { left, troubles } = await this.#undo();
    this.#report(troubles);
    return left;
  }

  /** Rolls back executions of killed engines. */
  static async recover(project: Project): Promise<void> {
    if (namesIn(project.places.work).length === 0) return;
    // Only one recovery at a time. A second one would treat the outputs that the first one moved back as partial outputs.
    const lease = await project.records.leases.acquire('recovery');
    try {
      for (const id of namesIn(project.places.work)) await OutputTransaction.#recoverOne(project, id);
    } finally {
      lease.release();
    }
  }

  static async #recoverOne(project: Project, id: string): Promise<void> {
    const alive = isAlive(processOf(id));
    if (alive) return;
    const folder = join(project.places.work, id);
    const journal = readJournal(folder);
    // Its outputs are unknown, so their leases cannot show whether the process is alive.
    if (alive === undefined && !journal && isYoung(folder)) return;
    const paths = journal?.outputs.map(({ path }) => resolve(project.root, path)) ?? [];
    // This machine cannot check the process. The leases on its outputs show after a while whether it is alive.
    const leases = alive === undefined ? await project.leaseOutputs(paths) : [];
    const transaction = new OutputTransaction(project, folder, journal ?? { cell: 'unknown', stage: 'done', outputs: lost(folder) });
    try {
      await transaction.#finish();
    } catch (error) {
      transaction.#report([troubleWith(`could not clean up ${relative(project.root, folder)}`, error)]);
    } finally {
      for (const lease of leases) lease.release();
    }
  }

  async #finish(): Promise<void> {
    const { cell, stage } = this.journal;
    if (stage === 'undone') return this.#report(this.#remove());
    if (stage === 'done') return this.#report([...(await this.#dropFormer()), ...this.#remove()]);
    if (await this.#isSuperseded()) {
      this.#mark('done');
      return this.#report([...(await this.#dropFormer()), ...this.#remove()]);
    }
    const { left, returned, kept, troubles } = await this.#undo({ recovering: true });
    const parts = [
      returned.length > 0 ? `restored the former ${returned.join(', ')} before this run` : '',
      ...kept.map(({ path, at }) => `saved the content found at ${path} as ${relative(this.project.root, at)}`),
      left ? `its outputs are in ${relative(this.project.root, left)} until the cell succeeds` : '',
    ].filter(Boolean);
    if (parts.length > 0) this.project.notice(`interrupted in an earlier run: ${parts.join('; ')}`, cell);
    this.#report(troubles);
  }

  /**
   * Whether all outputs hold what tunesmith recorded last. Then another run that waited for the killed one has made them
   * since, or the killed one had only its last step left. Moving the former outputs back would undo a success.
   */
  async #isSuperseded(): Promise<boolean> {
    const { root, records, cache } = this.project;
    const paths = this.journal.outputs.filter(({ parent }) => !parent).map(({ path }) => resolve(root, path));
    for (const path of paths) {
      const content = existsAt(path) ? await contentOf(path, cache.fileHashes).catch(() => undefined) : undefined;
      if (!content || !records.isLastWritten(path, content.hash)) return false;
    }
    return paths.length > 0;
  }

  /** Moves the former outputs back. If one cannot be moved, the others are still moved. */
  async #undo({ recovering = false } = {}): Promise<{
    left?: string;
    returned: string[];
    kept: { path: string; at: string }[];
    troubles: string[];
  }> {
    const { root, places, records, cache } = this.project;
    const failed = places.failed(this.journal.cell);
    const troubles: string[] = [];
    let triesAgain = false;
    /** Returns the message of a failure; empty on success. */
    const attempt = async (what: string, work: () => unknown): Promise<string> => {
      try {
        await work();
        return '';
      } catch (error) {
        triesAgain ||= isPassing(error);
        return troubleWith(what, error);
      }
    };
    /** Whether a later execution has made this output, because the journal could not be marked. */
    const isLater = async (at: string) =>
      recovering && existsAt(at) && records.isOurs(at, (await contentOf(at, cache.fileHashes).catch(() => undefined))?.hash ?? '');
    let left = false;
    const returned: string[] = [];
    const kept: { path: string; at: string }[] = [];
    const keepFound = (from: string, path: string) =>
      attempt(
        `could not move the content found at ${path}, an output of the interrupted cell ${this.journal.cell}, to .tunesmith/kept`,
        async () => {
          const at = await moveAside(from, keptAs(this.project, path));
          if (at) kept.push({ path, at });
        },
      );
    const leave = (from: string, name: string) =>
      attempt(
        `could not move the partial output ${relative(root, from)} of ${this.journal.cell} to ${relative(root, failed)}`,
        async () => {
          left = (await this.#moveToFailed(from, name)) || left;
        },
      );
    troubles.push(await attempt(`could not remove ${relative(root, failed)}, which is from an earlier failure`, () => removeTree(failed)));
    for (const name of namesIn(join(this.folder, 'staged'))) troubles.push(await leave(this.staged(name), name));
    // Move parents back last, because the outputs below them must be moved away first.
    for (const { name, path, had, parent } of [...this.journal.outputs].sort((a, b) => Number(a.parent ?? 0) - Number(b.parent ?? 0))) {
      const at = resolve(root, path);
      const former = this.#former(name);
      const isAside = existsAt(former);
      // The former output is still in its place.
      if (!isAside && (had || (await isLater(at)))) continue;
      if (parent || recovering) removeEmpty(at);
      const isFound = recovering && !parent && existsAt(at) && !(await this.#isMade(name, at));
      const stuck = parent || !existsAt(at) ? '' : await (isFound ? keepFound(at, path) : leave(at, leftAs(name, path)));
      const restore = async () => {
        await this.#putBack(former, at);
        returned.push(path);
      };
      const unreturned = isAside ? await attempt(stuck ? `The former ${path} is not restored` : `could not restore ${path}`, restore) : '';
      // One message for one path: what is in the way, and where the former output is.
      troubles.push(`${stuck} ${unreturned}`.trim());
    }
    const made = join(this.folder, MADE);
    if (left && existsAt(made))
      troubles.push(await attempt(`could not move ${relative(root, made)}`, () => renameSync(made, join(failed, MADE))));
    // If the disk is full, everything stays in place until there is space.
    if (!triesAgain) {
      this.#mark('undone');
      troubles.push(...this.#remove());
    }
    return { left: left ? failed : undefined, returned, kept, troubles: troubles.filter((trouble) => trouble !== '') };
  }

  /** Returns whether there was something to move. If it cannot be moved to `failed/`, it is saved in `kept/`, and this throws. */
  async #moveToFailed(from: string, name: string): Promise<boolean> {
    const { root, places } = this.project;
    try {
      return (await moveAside(from, join(places.failed(this.journal.cell), name))) !== undefined;
    } catch (error) {
      if (isPassing(error)) throw error;
      const kept = await moveAside(from, keptAs(this.project, join('failed', name))).catch(() => undefined);
      throw kept ? new Error(`${messageOf(error)}; it was saved as ${relative(root, kept)}`) : error;
    }
  }

  /** Whether the file at the path is what this execution recorded as made. */
  async #isMade(name: string, at: string): Promise<boolean> {
    try {
      const { outputs }: Unstored = JSON.parse(readFileSync(join(this.folder, MADE), 'utf8'));
      const { kind, hash } = outputs[name]!.content;
      const content = await contentOf(at, this.project.cache.fileHashes);
      return content?.kind === kind && content.hash === hash;
    } catch {
      return false; // no record, or the record or the file is unreadable
    }
  }

  /** Moves a former output back, or saves it if its path is blocked. */
  async #putBack(former: string, at: string): Promise<void> {
    try {
      if (existsAt(at) && !isEmptyFolder(at)) throw new Error('another file is in its place');
      return await placeAtomically(former, at);
    } catch (error) {
      if (isPassing(error)) throw error;
      const kept = await moveAside(former, keptAs(this.project, relative(this.project.root, at)));
      throw new Error(`${messageOf(error)}; it was saved as ${relative(this.project.root, kept ?? former)}`);
    }
  }

  async #dropFormer(): Promise<string[]> {
    const troubles: string[] = [];
    for (const { name, path, had, ours } of this.journal.outputs) {
      if (!had || ours) continue;
      try {
        await keepUserFile(this.project, this.#former(name), resolve(this.project.root, path), this.journal.cell);
      } catch (error) {
        const { root } = this.project;
        troubles.push(troubleWith(`could not save the former ${path}, which is now in ${relative(root, this.#former(name))}`, error));
      }
    }
    return troubles;
  }

  /** Removes the folder of this execution, but no former outputs. Returns the errors to report. */
  #remove(): string[] {
    const { root } = this.project;
    const former = join(this.folder, 'former');
    try {
      const kept = this.journal.outputs.filter(
        ({ name, had, ours }) => had && existsAt(this.#former(name)) && !(ours && this.journal.stage === 'done'),
      );
      if (kept.length === 0) removeTree(this.folder);
      else for (const name of ['staged', 'scratch']) removeTree(join(this.folder, name));
      return [];
    } catch (error) {
      const at = existsAt(former) ? this.folder : join(this.folder, 'staged');
      return [troubleWith(`could not remove ${relative(root, at)}`, error)];
    }
  }

  /** Marks the journal by renaming it, which needs no disk space. */
  #mark(stage: 'done' | 'undone'): void {
    this.journal.stage = stage;
    try {
      const began = join(this.folder, JOURNAL.begun);
      if (existsAt(began)) renameSync(began, join(this.folder, JOURNAL[stage]));
    } catch (error) {
      // The next run repeats the rollback and finds nothing to move.
      if (stage === 'done') throw error;
    }
  }

  /** Reports each error once, in whichever run it occurs. */
  #report(troubles: string[]): void {
    for (const trouble of troubles) if (!this.project.records.wasReported(trouble)) this.project.notice(trouble, this.journal.cell);
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
 * Makes way for the parent folders of a restored output. A file in their place is removed if tunesmith wrote it, and saved
 * otherwise. (An execution does this in its journal.)
 */
export async function clearObstacles(project: Project, path: string, cell: string): Promise<void> {
  const parent = fileAbove(path, project.root);
  if (parent === undefined) return;
  if (await isOwnOutput(project, parent)) removeTree(parent);
  else await keepUserFile(project, parent, parent, cell);
}

/** The file, or the link to no folder, that is in the place of a folder above `path`. */
function fileAbove(path: string, root: string): string | undefined {
  for (let at = dirname(path); at.length > root.length; at = dirname(at)) {
    if (!existsAt(at)) continue;
    return statSync(at, { throwIfNoEntry: false })?.isDirectory() ? undefined : at;
  }
  return undefined;
}

/** Saves the file `from` that was at `path`, because tunesmith did not write it. Reports where it is saved. */
export async function keepUserFile(project: Project, from: string, path: string, cell: string): Promise<void> {
  const name = relative(project.root, path);
  const kept = await moveAside(from, keptAs(project, name));
  if (kept) project.notice(`tunesmith did not write ${name}, so it was saved as ${relative(project.root, kept)}`, cell);
}

function keptAs({ places }: Project, name: string): string {
  return join(places.kept, new Date().toISOString().slice(0, 19).replaceAll(':', '-'), name);
}

/** Whether tunesmith wrote the file at an output's path, or can restore it from the cache. */
export async function isOwnOutput(project: Project, path: string): Promise<boolean> {
  try {
    const stat = lstatSync(path);
    // A link comes from the user, whatever its target.
    if (stat.isSymbolicLink()) return project.records.isOurs(path, LINK);
    const content = await contentOf(path, project.cache.fileHashes);
    if (content === undefined || project.records.isOurs(path, content.hash) || (await project.cache.objects.state(content)) === 'ok')
      return true;
    if (!stat.isDirectory()) return false;
    // A folder that was created for the outputs in it.
    for (const name of readdirSync(path)) if (!(await isOwnOutput(project, join(path, name)))) return false;
    return true;
  } catch {
    // tunesmith does not write unreadable files.
    return false;
  }
}

/** Recorded instead of a hash if a cell made a link. Moving a link loses nothing, and its target does not matter. */
export const LINK = 'link';

/** A file beside outputs in `failed/`. It states that they are complete, and their fingerprint. */
export interface Unstored {
  fingerprint: string;
  /** `at`: path relative to that folder. */
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
    /** Relative to the project root, because the project may move. */
    path: string;
    /** Whether there was a file or folder before. */
    had: boolean;
    /** Whether tunesmith wrote it or could write it again. */
    ours: boolean;
    /** It is no output, but was in the place of a folder above one. */
    parent?: true;
  }[];
}

/** The name of the journal is the stage of the execution. */
const JOURNAL = { begun: 'journal.json', done: 'done.json', undone: 'undone.json' };

/** Distinguishes the transactions of this process. */
let transactions = 0;

function readJournal(folder: string): Journal | undefined {
  for (const [stage, name] of Object.entries(JOURNAL)) {
    try {
      const { cell, outputs, stage: written } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Journal;
      // Earlier versions wrote the stage into the journal.
      if (outputs.every(({ name, path }) => typeof name === 'string' && typeof path === 'string'))
        return { cell: String(cell), outputs, stage: written === 'done' ? 'done' : (stage as Journal['stage']) };
    } catch {
      // Missing or damaged.
    }
  }
  return undefined;
}

/** For a journal that was lost in a power failure: everything that was moved aside is saved. */
function lost(folder: string): Journal['outputs'] {
  return namesIn(join(folder, 'former')).map((name) => ({ name, path: name, had: true, ours: false }));
}

/** Removes folders that were created for an output, if they are empty. */
function removeEmpty(folder: string): void {
  for (const name of namesIn(folder)) if (lstatSync(join(folder, name)).isDirectory()) removeEmpty(join(folder, name));
  try {
    rmdirSync(folder);
  } catch {
    // It is not empty, or it does not exist.
  }
}

/** A mount point itself stays. */
function isEmptyFolder(path: string): boolean {
  return lstatSync(path).isDirectory() && namesIn(path).length === 0;
}

function troubleWith(what: string, error: unknown): string {
  const { hint = '' } = systemError(error) ?? (error as { hint?: string });
  return `${what}: ${messageOf(error)}. ${isPassing(error) ? AGAIN : hint}`.trimEnd();
}

const AGAIN = 'The next run tries again.';

/** Errors that may be gone by the next run. */
function isPassing(error: unknown): boolean {
  const { code, name, message } = error as NodeJS.ErrnoException;
  return ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE'].includes(code ?? '') || (name === 'CacheError' && /^disk/.test(message));
}

function messageOf(error: unknown): string {
  return systemError(error)?.message ?? (error as Error).message;
}
