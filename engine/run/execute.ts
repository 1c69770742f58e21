/**
 * Executes one cell with retries: moves the former outputs aside, runs the step, checks its outputs, checks that its inputs
 * are unchanged, and stores the result. Any error becomes the cell's failure and restores the former outputs.
 */

import { lstatSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { existsAt, placeAtomically, removeTree } from '../../cache/atomic-move.ts';
import { type Content, type ContentOptions, contentOf, modesOf, stampsOf, stampsWithin } from '../../cache/content.ts';
import type { Lease } from '../../cache/lease.ts';
import type { Cell, Pipeline } from '../cell.ts';
import type { Failure, RunEvent } from '../events.ts';
import type { FetchProgress } from '../fetch/fetched-store.ts';
import { compareBytes } from '../format/scalars.ts';
import { StepError } from '../step.ts';
import { attempt, misplacedHint } from './attempt.ts';
import { componentsOf, fingerprintOf } from './fingerprint.ts';
import { type Freshness, type OutputContents, sameContent, subjectOf } from './freshness.ts';
import type { LockfileCheck } from './lockfile-check.ts';
import { LINK, MADE, OutputTransaction, type Unstored } from './output-transaction.ts';
import { CellLog } from './process/cell-log.ts';
import { secretValues } from './process/child-process.ts';
import { explained, placeOf, type Verdict } from './process/failure.ts';
import type { OrphanReaper } from './process/orphan-reaper.ts';
import { type Mask, maskOf } from './process/secret-masking.ts';
import type { StepProcesses } from './process/step-processes.ts';
import { Meter, type Usage } from './process/usage.ts';
import type { Project } from './project.ts';
import { fetched, type Inputs, manifestOf, resolveInputs } from './resolve-inputs.ts';
import { StepCheckpoints } from './step-checkpoints.ts';

/** What an execution needs from its run. */
export interface ExecutionContext {
  pipeline: Pipeline;
  project: Project;
  run: number;
  outputsOf: OutputContents;
  /** GPUs that the cell has alone. */
  gpus: string[];
  guard: OrphanReaper;
  workers: StepProcesses;
  /** Leases on the paths of the cell's outputs. */
  leases: Lease[];
  /** Set with `--locked`. */
  locked?: LockfileCheck;
  /** Aborted by Ctrl-C and by `--on-failure kill`. */
  signal: AbortSignal;
  emit(event: RunEvent): void;
}

export type Execution = { usage?: Usage } & (
  | ({ state: 'ran'; log: string } & Made)
  | { state: 'failed'; failure: Failure }
  | { state: 'canceled'; log: string }
);

export async function execute(cell: Cell, found: Freshness, why: string, around: ExecutionContext): Promise<Execution> {
  const meter = new Meter();
  const path = around.project.places.log(around.run, cell.name);
  const mask = maskOf(secretValues(cell));
  const log = new CellLog(path, mask, (stream, line) => {
    // Output of a step's process often comes from libraries and goes only to the log. Lines from `log()` are for the screen.
    if (cell.action.kind === 'shell' || stream === 'step') around.emit({ type: 'log', cell: cell.name, stream, line });
  });
  let checkpoints: StepCheckpoints | undefined;
  try {
    const written = await stampsOfInputs(found.inputs, around);
    if (cell.action.kind === 'step') checkpoints = await StepCheckpoints.hold(around.project, found.fingerprint, around.signal);
    for (let number = 1; ; number++) {
      if (around.signal.aborted) return { state: 'canceled', log: path };
      around.emit({ type: 'running', cell: cell.name, why, attempt: number, log: path });
      const ending = await executeAttempt(cell, found, written, checkpoints, log, mask, meter, around);
      if (checkpoints && existsAt(checkpoints.folder)) {
        // If an input changed during the run, the checkpoint may come from both versions.
        if (ending !== 'canceled' && 'made' in ending) checkpoints.remove();
        else if (await changedMeanwhile(cell, found, written, around)) checkpoints.remove();
      }
      if (ending === 'canceled') return { state: 'canceled', log: path, usage: meter.usage };
      if ('made' in ending) {
        removeFailed(cell, around);
        return { state: 'ran', ...ending.made, log: path, usage: meter.usage };
      }
      const { message, option, detail } = ending.failed;
      if (ending.final || number > cell.retry.times) {
        const changed = await changedMeanwhile(cell, found, written, around);
        const hint = changed ? `${changed} changed during the run. If that caused the failure, run again.` : ending.failed.hint;
        const tail = [...log.tail];
        if (detail) log.detail(detail);
        const place = option && (await placeOf(option, cell, around.pipeline, message));
        return { state: 'failed', failure: { message, place, hint, stack: ending.failed.stack, tail, log: path }, usage: meter.usage };
      }
      log.detail([`attempt ${number} failed: ${message}`, detail].filter(Boolean).join('\n'));
      log.tail.length = 0;
      await sleep(delayBefore(number, cell.retry), undefined, { signal: around.signal }).catch(() => {});
    }
  } finally {
    checkpoints?.release();
    log.close();
    if (log.trouble)
      around.project.notice(`the log ${relative(around.project.root, path)} is incomplete: ${log.trouble.message}`, cell.name);
  }
}

/**
 * Stores outputs that an earlier run of the cell made but could not store. Undefined if there are none or they have changed
 * since; the cell then has to run.
 */
export async function storeUnstored(cell: Cell, found: Freshness, around: ExecutionContext): Promise<Made | undefined> {
  const { project } = around;
  const failed = project.places.failed(cell.name);
  const unstored = await unstoredIn(failed, cell, found, project);
  if (!unstored) return undefined;
  const written = await stampsOfInputs(found.inputs, around);
  const aside = OutputTransaction.begin(project, cell);
  try {
    for (const [name, { at }] of Object.entries(unstored.outputs)) await placeAtomically(join(failed, at), aside.staged(name));
    await aside.moveFormerAside(cell.outputs);
    await aside.moveStagedIntoPlace();
    const made = await storeResult(cell, found, written, aside, around);
    await aside.commit();
    removeFailed(cell, around);
    new StepCheckpoints(join(project.places.checkpoints, found.fingerprint), () => {}).remove();
    return made;
  } catch (error) {
    await aside.rollback();
    throw asUnstored(error);
  }
}

async function unstoredIn(failed: string, cell: Cell, found: Freshness, { cache }: Project): Promise<Unstored | undefined> {
  try {
    const unstored: Unstored = JSON.parse(readFileSync(join(failed, MADE), 'utf8'));
    if (unstored.fingerprint !== found.fingerprint) return undefined;
    for (const name of Object.keys(cell.outputs)) {
      const { content, at } = unstored.outputs[name]!;
      if (!sameContent(content, await contentOf(join(failed, at), cache.fileHashes))) return undefined;
    }
    return unstored;
  } catch {
    return undefined; // missing or damaged
  }
}

/** Adds to an error's hint that the cell need not run again. */
function asUnstored(error: unknown): StepError {
  const { message, hint } = explained(error);
  const isFull = /^(the )?disk (is )?(full|quota)/.test(message);
  if (hint === undefined || isFull)
    return new StepError(message, `${isFull ? 'Free space' : 'Correct the problem'} and run again. ${STORED_THEN}`);
  return new StepError(message, `${hint.replace(/\.?$/, '.')} ${STORED_THEN}`);
}

const STORED_THEN = 'The outputs of the cell are in .tunesmith/failed. The next run stores them without running the cell.';

/** Removes the partial outputs of earlier attempts after the cell has succeeded. */
function removeFailed(cell: Cell, { project }: ExecutionContext): void {
  try {
    removeTree(project.places.failed(cell.name));
  } catch {
    // Leftovers do no harm.
  }
}

function delayBefore(retry: number, { delay, factor, longest }: Cell['retry']): number {
  return Math.min(delay * factor ** (retry - 1), longest);
}

interface Made {
  outputs: Record<string, Content>;
  /** False if an input changed during the run, so that the outputs do not belong to the fingerprint. */
  kept: boolean;
}

/** `final`: do not retry, because only storing failed, or the outputs belong to another run. */
type Ending = { made: Made } | { failed: Verdict; final?: boolean } | 'canceled';

/** One attempt, from moving the former outputs aside to the new outputs in their places. */
async function executeAttempt(
  cell: Cell,
  found: Freshness,
  written: Stamps,
  checkpoints: StepCheckpoints | undefined,
  log: CellLog,
  mask: Mask,
  meter: Meter,
  around: ExecutionContext,
): Promise<Ending> {
  const { project, signal } = around;
  const deadline = new AbortController();
  const timer = cell.timeout === undefined ? undefined : setTimeout(() => deadline.abort(), Math.min(cell.timeout, LONGEST_TIMER));
  const aside = OutputTransaction.begin(project, cell);
  let verdict: Verdict | undefined;
  let trouble: unknown;
  try {
    await demandOwnInputs(found.inputs, around);
    const inputs = await fetched(found.inputs, cell, project, fetching(cell, log, around, AbortSignal.any([signal, deadline.signal])));
    const shell = cell.action.kind === 'shell';
    if (shell) await aside.moveFormerAside(cell.outputs);
    const outputs = Object.fromEntries(Object.entries(cell.outputs).map(([name, { path }]) => [name, shell ? path : aside.staged(name)]));
    verdict = await attempt({
      ...around,
      cell,
      inputs,
      fingerprint: found.fingerprint,
      outputs,
      scratch: aside.scratch,
      checkpoints: checkpoints?.folder,
      log,
      mask,
      meter,
      signal: AbortSignal.any([signal, deadline.signal]),
    });
    clearTimeout(timer);
    if (deadline.signal.aborted) verdict = { message: `timed out after ${duration(cell.timeout!)}` };
    if (!signal.aborted) verdict ??= missing(cell, outputs, around.pipeline);
    demandLeases(around.leases);
    if (!verdict && !signal.aborted) {
      if (!shell) {
        await aside.moveFormerAside(cell.outputs);
        await aside.moveStagedIntoPlace();
      }
      const made = await storeResult(cell, found, written, aside, around);
      await aside.commit();
      return { made };
    }
  } catch (error) {
    trouble = error;
  } finally {
    clearTimeout(timer);
  }
  const taken = areTakenOver(around.leases);
  const left = taken ? await aside.commit() : await aside.rollback();
  const unstored = trouble !== undefined && (await unstoredIn(project.places.failed(cell.name), cell, found, project)) !== undefined;
  if (signal.aborted) return 'canceled';
  if (deadline.signal.aborted) verdict = { message: `timed out after ${duration(cell.timeout!)}` };
  else if (trouble) verdict = explained(unstored ? asUnstored(trouble) : trouble);
  if (left && verdict)
    verdict.detail = [verdict.detail, `its partial outputs are in ${relative(project.root, left)}`].filter(Boolean).join('\n');
  return { failed: verdict!, final: unstored || taken };
}

/** Maximum delay of a timer, about 24 days. Node treats a longer one as 1 ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The failure if a declared output is missing or has another kind. */
function missing(cell: Cell, outputs: Record<string, string>, { folder }: Pipeline): Verdict | undefined {
  for (const [name, { path, declaration }] of Object.entries(cell.outputs)) {
    const at = outputs[name]!;
    if (!existsAt(at)) {
      const shown = relative(folder, path);
      const where = cell.action.kind === 'shell' ? ` at ${shown}` : '';
      const hint = cell.action.kind === 'shell' ? misplacedHint(cell.action.commands, shown, folder) : undefined;
      return { message: `did not make output ${name}${where}`, hint: hint ?? 'create it, or remove it from `outputs`' };
    }
    const kind = lstatSync(at).isDirectory() ? 'folder' : 'file';
    if (declaration.kind !== 'any' && declaration.kind !== kind && !lstatSync(at).isSymbolicLink()) {
      return { message: `made output ${name} as a ${kind}, but declares a ${declaration.kind}` };
    }
  }
  return undefined;
}

/** Stores the result: objects first, then the index. Stores nothing if the inputs changed during the run. */
async function storeResult(
  cell: Cell,
  found: Freshness,
  written: Stamps,
  aside: OutputTransaction,
  around: ExecutionContext,
): Promise<Made> {
  const { project, pipeline } = around;
  const { cache, records } = project;
  const outputs: Record<string, Content> = Object.create(null);
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    const content = await contentOf(path, cache.fileHashes);
    // A broken link.
    if (!content)
      throw Object.assign(new Error(`output ${name} is a broken link`), { hint: 'create the target of the link, or write a file' });
    const modes = modesOf(path);
    outputs[name] = modes ? { ...content, modes } : content;
  }
  around.locked?.demandBytes(cell, outputs);
  const changed = await changedMeanwhile(cell, found, written, around);
  if (changed) await demandOwnInputs(found.inputs, around);
  demandLeases(around.leases);
  if (changed)
    project.notice(`${changed} changed while ${cell.name} ran, so its result was not stored; the next run executes it again`, cell.name);
  else if (cell.cache) {
    aside.markMade(found.fingerprint, outputs);
    for (const input of Object.values(found.inputs)) records.keepManifest(input.hash, await manifestOf(input, cache.fileHashes));
    // Keep gc out, which would remove objects that no result refers to yet.
    const turn = await cache.gcLock.publish();
    try {
      for (const [name, content] of Object.entries(outputs)) await cache.objects.put(cell.outputs[name]!.path, content);
      cache.index.save({
        fingerprint: found.fingerprint,
        subject: subjectOf(cell, pipeline),
        outputs,
        record: { components: found.components } as never,
        created: new Date().toISOString(),
      });
    } finally {
      turn.release();
    }
  }
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    records.wrote(path, outputs[name]!.hash, found.fingerprint);
    if (lstatSync(path).isSymbolicLink()) records.wrote(path, LINK, found.fingerprint);
  }
  return { outputs, kept: !changed };
}

/** Timestamps of everything that a cell reads, by path, including the files in folders. */
type Stamps = Map<string, { whole: string | undefined; files: Map<string, string> }>;

async function stampsOfInputs(inputs: Inputs, { project, signal }: ExecutionContext): Promise<Stamps> {
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
async function changedMeanwhile(
  cell: Cell,
  found: Freshness,
  written: Stamps,
  { pipeline, project, outputsOf }: ExecutionContext,
): Promise<string | undefined> {
  const named = (role: string, path: string) => `input ${role} (${relative(pipeline.folder, path)})`;
  try {
    const inputs = await resolveInputs(cell, pipeline, project, outputsOf);
    for (const [role, { sources }] of Object.entries(found.inputs)) {
      const now = new Map(inputs[role]?.sources.map((source) => [source.path, source.content]));
      for (const { path, content, origin, reading } of sources) {
        // The content of other cells' outputs comes from records, so read the file itself here.
        const current = origin ? await contentOf(path, project.cache.fileHashes) : now.get(path);
        // The cell may have read an edit that was reverted since.
        const before = written.get(path);
        if (sameContent(content, current) && (!before || (await stampsOf(path, reading)) === before.whole)) continue;
        return named(role, await fileWithin(path, before?.files ?? new Map(), reading));
      }
    }
    const { code } = found.components;
    if (code && cell.action.kind === 'step' && 'path' in cell.action.module) {
      const folder = dirname(cell.action.module.path);
      for (const [file, hash] of Object.entries(code.files)) {
        if ((await contentOf(resolve(folder, file), project.cache.fileHashes))?.hash !== hash) return file;
      }
    }
    // Added files and other changes.
    return fingerprintOf(await componentsOf(cell, inputs)) === found.fingerprint ? undefined : 'an input';
  } catch {
    return 'an input';
  }
}

/** The path of the first changed file in a folder; the folder itself if none is found. */
async function fileWithin(path: string, before: Map<string, string>, reading: ContentOptions | undefined): Promise<string> {
  const now = await stampsWithin(path, reading).catch(() => new Map<string, string>());
  const names = [...new Set([...before.keys(), ...now.keys()])].sort(compareBytes);
  const changed = names.find((name) => before.get(name) !== now.get(name));
  return changed === undefined ? path : join(path, changed);
}

/** Formats a duration as in a pipeline: `90s`, `5m`, `2h`. */
function duration(ms: number): string {
  for (const [unit, size] of Object.entries({ h: 3_600_000, m: 60_000, s: 1000 })) if (ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}

/*
 * Detects interference between runs of one pipeline with different parameters, which write to the same paths and take turns by
 * leases. A run must not mix its results with those of another run, after it was suspended for longer than others wait, or
 * when another run has made one of its inputs again.
 */

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
export async function demandOwnInputs(inputs: Inputs, { pipeline, project }: ExecutionContext): Promise<void> {
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

/* Reports downloads of a cell's inputs to the log and the screen. */

export function fetching({ name: cell }: Cell, log: CellLog, { emit }: ExecutionContext, signal: AbortSignal): FetchProgress {
  const began = performance.now();
  let [done, total, came, next] = [0, 0, 0, 0];
  return {
    signal,
    log: (message) => log.line('step', message),
    expect(bytes, files) {
      total += bytes;
      const size = bytes < 1e5 ? 'under 0.1 MB' : `${(bytes / 1e6).toFixed(1)} MB`;
      log.line('step', `downloading ${files === 1 ? '1 file' : `${files} files`}, ${size}`);
    },
    onBytes(count) {
      done += count;
      came += count;
      const now = performance.now();
      if (now < next && done !== total) return;
      next = now + 50;
      const rate = came / 1e6 / Math.max(0.001, (now - began) / 1000);
      emit({ type: 'progress', cell, done, total, values: { 'MB/s': Math.round(rate * 10) / 10 } });
    },
    onWait: (pid) => {
      if (pid !== process.pid) log.line('step', `waiting for process ${pid}, which is downloading the same files`);
    },
  };
}
