/**
 * Runs a pipeline: checks every cell, restores or executes the cells that are not fresh in the order of their dependencies, and
 * emits events. look.ts decides whether a cell must run, and execute.ts runs it. This file decides the order, what waits for
 * what, and what a failure or Ctrl-C means for the other cells.
 */
import { setMaxListeners } from 'node:events';
import { relative } from 'node:path';
import { existsAt } from '../../cache/atomic-move.ts';
import type { Content } from '../../cache/content.ts';
import { MissingObjectError } from '../../cache/error.ts';
import type { Lease } from '../../cache/lease.ts';
import { type Cell, lockfilePath, type Pipeline } from '../cell.ts';
import type { CellState, Emit, Failure, RunEvent } from '../events.ts';
import { shortened } from '../format/terminal-text.ts';
import { StepError } from '../step.ts';
import type { ExecutionContext } from './execute.ts';
import { checkFreshness, type Freshness } from './freshness.ts';
import { type LockfileEntry, lockfileEntry, updateLockfile } from './lockfile.ts';
import { LockfileCheck } from './lockfile-check.ts';
import { refuseSharedOutputs } from './output-owners.ts';
import { clearObstacles, isOwnOutput, keepUserFile, OutputTransaction } from './output-transaction.ts';
import { type PlannedCell, planCells } from './plan.ts';
import { CellLog } from './process/cell-log.ts';
import { explained, placeOf } from './process/failure.ts';
import { OrphanReaper } from './process/orphan-reaper.ts';
import { StepProcesses } from './process/step-processes.ts';
import type { Usage } from './process/usage.ts';
import { openProject, type Project } from './project.ts';
import { formerReports, RunRecorder } from './run-recorder.ts';
import { checkResources, demandOf, longestFirst, type MachineResources, machineFor, Pool, walk } from './scheduler.ts';
import { type Selection, selectCells } from './select-cells.ts';
import { StepCheckpoints } from './step-checkpoints.ts';
import { UpstreamChecks } from './upstream-checks.ts';

export interface RunOptions extends Selection {
  force?: boolean;
  /** Fail if any result would differ from the lockfile. */
  locked?: boolean;
  /** Maximum number of cells that execute at the same time; default: number of CPU cores. */
  jobs?: number;
  /** What a failure means for cells that do not depend on the failed one. Default: stop. */
  onFailure?: 'stop' | 'continue' | 'kill';
  /** Also report the metrics of cells that need not run, because they are still valid. */
  metrics?: boolean;
  /** Aborts on Ctrl-C. */
  signal: AbortSignal;
}

export type Summary = Extract<RunEvent, { type: 'summary' }>;

/** Resolves with the summary, which is also the last event. */
export async function runPipeline(pipeline: Pipeline, options: RunOptions, emit: Emit): Promise<Summary> {
  const began = performance.now();
  const selected = selectCells(pipeline, options);
  // Notices from before the run are reported right after its start.
  const early: RunEvent[] = [];
  let tell: Emit = (event) => early.push(event);
  const notice: Project['notice'] = (message, cell) => tell({ type: 'notice', ...(cell === undefined ? {} : { cell }), message });
  const project = openProject(pipeline, false, notice, options.signal);
  const transcript = new RunRecorder(project, pipeline);
  let summary: Summary;
  let ended = false;
  let unrecorded: Error | undefined;
  try {
    refuseSharedOutputs(pipeline, project);
    pipeline.remember?.();
    await OutputTransaction.recover(project);
    await StepCheckpoints.removeForgotten(project);
    await transcript.arrive();
    const found = await planCells(pipeline, project, selected, options.force ?? false);
    const locked = options.locked ? LockfileCheck.read(pipeline, project) : undefined;
    await locked?.check(pipeline, selected, found);
    const pending = pipeline.cells.filter(({ name }) => selected.has(name) && isPending(found.get(name)));
    const machine = await machineFor(pending);
    await checkResources(pending, machine, pipeline);
    const run = transcript.begin(found.values());
    emit({ type: 'start', run, pipeline: pipeline.name, cells: pipeline.cells.flatMap(({ name }) => (selected.has(name) ? [name] : [])) });
    tell = (event) => {
      if (ended) return;
      transcript.hear(event);
      emit(event);
    };
    for (const event of early) tell(event);
    const work = new Run(pipeline, project, options, selected, found, machine, run, tell, transcript, locked);
    const states = await work.all();
    const seconds = Math.round(performance.now() - began) / 1000;
    summary = summarize(pipeline, states, seconds);
    if (!locked && summary.failed + summary.canceled === 0) await lock(pipeline, project, work.ended);
    unrecorded = await transcript.end(seconds, summary);
    if (options.metrics && summary.fresh + summary.restored > 0) formerReports(pipeline, project, states).forEach(emit);
  } finally {
    transcript.close();
    project.close();
  }
  // The summary is the last event. Notices from closing come before it.
  ended = true;
  emit(summary);
  if (unrecorded) throw unrecorded;
  return summary;
}

/** Takes a lease, because other engines may be writing the lockfile for other cells of this pipeline. */
async function lock({ file, cells }: Pipeline, project: Project, ended: Map<string, LockfileEntry | undefined>): Promise<void> {
  const path = lockfilePath(file);
  const lease = await project.records.leases.acquire(`lock ${path}`);
  try {
    updateLockfile(
      path,
      cells.map(({ name }) => name),
      ended,
    );
  } catch (error) {
    // The results are stored, so a missing lockfile is no reason to fail.
    project.notice(`could not write ${relative(project.root, path)}: ${explained(error).message}`);
  } finally {
    lease.release();
  }
}

class Run {
  /** The results of cells for the lockfile; undefined if a result is not stored. */
  readonly ended = new Map<string, LockfileEntry | undefined>();
  readonly #states = new Map<string, CellState>();
  readonly #outputs = new Map<string, Record<string, Content>>();
  /** Cells outside of the selection whose outputs could not be restored, and why. */
  readonly #unrestored = new Map<string, string>();
  #upstreamChecks: UpstreamChecks | undefined;
  /** The priority of each cell if not all can run at the same time. */
  #order = new Map<string, number>();
  readonly #jobs: number;
  readonly #orphanReaper = new OrphanReaper();
  readonly #stepProcesses = new StepProcesses(this.#orphanReaper);
  readonly #kill = new AbortController();
  readonly #signal: AbortSignal;
  readonly #executing: Pool;
  /** Slots for restoring, which needs no CPU, but the disk limits how many restorations run at the same time. */
  readonly #restoring = new Pool({ cells: 4, cpu: 0, memory: 0 });
  #stopping = false;
  #bug: { error: unknown } | undefined;

  constructor(
    private readonly pipeline: Pipeline,
    private readonly project: Project,
    private readonly options: RunOptions,
    private readonly selected: Set<string>,
    private readonly found: Map<string, PlannedCell>,
    machine: MachineResources,
    private readonly run: number,
    private readonly emit: Emit,
    private readonly transcript: RunRecorder,
    private readonly locked: LockfileCheck | undefined,
  ) {
    this.#signal = AbortSignal.any([options.signal, this.#kill.signal]);
    // Any number of cells may add listeners.
    setMaxListeners(0, this.#signal);
    this.#jobs = Math.max(1, options.jobs ?? machine.cpu);
    // If the user asks for more cells than cores, allow it.
    this.#executing = new Pool({ cells: this.#jobs, cpu: Math.max(this.#jobs, machine.cpu), memory: machine.memory }, machine.gpus);
  }

  async all(): Promise<Map<string, CellState>> {
    const pending: Cell[] = [];
    for (const cell of this.pipeline.cells) {
      const found = this.found.get(cell.name);
      if (!found) continue;
      if (found.outputs) this.#outputs.set(cell.name, found.outputs);
      if (!this.selected.has(cell.name)) continue;
      if (found.state === 'off') this.#recordOutcome(cell, 'skipped', 0, { why: found.why });
      else if (isPending(found)) pending.push(cell);
      else this.#handleFresh(cell, found.look!, () => 0);
    }
    if (pending.length > 0) {
      this.#upstreamChecks = await UpstreamChecks.of(pending, this.pipeline);
      this.#order = longestFirst(this.pipeline.cells, this.project.records.durations(this.pipeline.file));
      try {
        await walk([...this.#restorableBefore(pending), ...pending], edgesOf, (cell) => this.#finishCell(cell));
      } finally {
        await this.#stepProcesses.close();
        this.#orphanReaper.close();
      }
    }
    if (this.#bug) throw this.#bug.error;
    return this.#states;
  }

  /** Cells outside of the selection whose outputs must be restored for cells that run. */
  #restorableBefore(pending: Cell[]): Cell[] {
    const above = new Set(pending.flatMap((cell) => [...cell.reads, ...cell.waits]));
    return this.pipeline.cells.filter(
      ({ name }) => above.has(name) && !this.selected.has(name) && this.found.get(name)!.state === 'restore',
    );
  }

  /** Never rejects, because p-graph would continue but lose track of its tasks. */
  async #finishCell(cell: Cell): Promise<void> {
    const seconds = stopwatch();
    try {
      if (!this.selected.has(cell.name)) {
        const trouble = await this.#restore(cell, this.found.get(cell.name)!.look!);
        if (trouble) this.#unrestored.set(cell.name, trouble);
        return;
      }
      await this.#failUpstreamProblems();
      if (this.#states.has(cell.name)) return;
      const end = this.#blockedBecause(cell);
      if (end) this.#recordOutcome(cell, end.state, 0, { why: end.why });
      else await this.#bringUpToDate(cell, seconds);
    } catch (error) {
      if (this.#signal.aborted) {
        if (this.selected.has(cell.name)) this.#recordOutcome(cell, 'canceled', seconds(), {});
        return;
      }
      try {
        const { message, hint, option, detail } = explained(error);
        if (!this.selected.has(cell.name)) this.#unrestored.set(cell.name, message);
        else {
          const place = option && (await placeOf(option, cell, this.pipeline, message));
          this.#handleFailure(cell, seconds(), { message, place, hint, tail: [], log: this.#writeFailureLog(cell, message, detail) });
        }
      } catch (bug) {
        this.#bug ??= { error: bug };
        this.#kill.abort();
        if (this.selected.has(cell.name)) this.#recordOutcome(cell, 'canceled', seconds(), {});
      }
    }
  }

  /** Fails cells that cannot succeed as soon as that is known. */
  async #failUpstreamProblems(): Promise<void> {
    const made: (CellState | undefined)[] = ['ran', 'fresh', 'restored'];
    const exists = (name: string) => made.includes(this.#states.get(name)) || (!this.selected.has(name) && this.found.get(name)!.final);
    for (const { cell, at, problem } of this.#upstreamChecks?.problems(exists) ?? []) {
      const { option, message, hint } = problem;
      const place = await placeOf(option.split('.'), at, this.pipeline, message);
      this.#handleFailure(cell, 0, { message, place, hint, tail: [], log: this.#writeFailureLog(cell, message) });
    }
  }

  /** Writes a log for a cell that failed before it started. */
  #writeFailureLog(cell: Cell, message: string, detail?: string): string {
    const path = this.project.places.log(this.run, cell.name);
    const log = new CellLog(
      path,
      (text) => text,
      () => {},
    );
    log.line('step', message);
    if (detail) log.detail(detail);
    log.close();
    return path;
  }

  /** The final state of a cell that cannot start; undefined if it can. */
  #blockedBecause(cell: Cell): { state: 'skipped' | 'canceled'; why: string } | undefined {
    for (const name of edgesOf(cell)) {
      const state = this.#states.get(name);
      const below = state === 'failed' || (state === 'skipped' && this.found.get(name)?.state !== 'off');
      if (below) return { state: 'skipped', why: `${name} ${state === 'failed' ? 'failed' : 'was skipped'}` };
    }
    const canceled = edgesOf(cell).find((name) => this.#states.get(name) === 'canceled');
    if (canceled) return { state: 'canceled', why: `${canceled} was canceled` };
    if (this.#signal.aborted || this.#stopping)
      return { state: 'canceled', why: this.options.signal.aborted ? 'interrupted' : 'another cell failed' };
    return undefined;
  }

  /** Brings a cell to its final state: fresh, restored or executed. */
  async #bringUpToDate(cell: Cell, seconds: () => number): Promise<void> {
    const unrestored = edgesOf(cell).find((name) => this.#unrestored.has(name));
    if (unrestored)
      throw new StepError(`${unrestored} could not be restored: ${this.#unrestored.get(unrestored)}`, 'Select that cell, too.');
    // The survey's decision is valid unless a cell that this one reads was still undecided.
    const surveyed = this.found.get(cell.name)!;
    const settledAbove = cell.frozen || cell.reads.every((name) => this.found.get(name)!.final);
    let found = (settledAbove && surveyed.look) || (await this.#checkFreshness(cell));
    await this.locked?.demand(cell, found);
    if (found.state === 'fresh') return this.#handleFresh(cell, found, seconds);
    if (found.state === 'restore') {
      const why = await this.#restore(cell, found);
      if (why === undefined) return this.#handleRestored(cell, found, seconds);
      if (cell.frozen) throw new StepError(`is frozen, and ${why}`, 'Run it once without `frozen: true`.');
      found = { ...found, state: 'run', why };
    }
    await this.#execute(cell, found, seconds);
  }

  /** Restores a cell. Resolves with undefined on success, otherwise with the reason why the cell must run. */
  async #restore(cell: Cell, found: Freshness): Promise<string | undefined> {
    const held = await this.#restoring.take(this.#order.get(cell.name)!, { cells: 1, cpu: 0, memory: 0, gpu: 0 });
    let leases: Lease[] = [];
    try {
      leases = await this.project.leaseOutputs(pathsOf(cell), this.#leaseOptions(cell));
      return await this.#restoreOutputs(cell, found);
    } finally {
      for (const lease of leases) lease.release();
      held.release();
    }
  }

  async #restoreOutputs(cell: Cell, { result, fingerprint, differing }: Freshness): Promise<string | undefined> {
    try {
      for (const name of differing) {
        this.#signal.throwIfAborted();
        const { path } = cell.outputs[name]!;
        if (existsAt(path) && !(await isOwnOutput(this.project, path))) await keepUserFile(this.project, path, path, cell.name);
        await clearObstacles(this.project, path, cell.name);
        await this.project.cache.objects.restore(result!.outputs[name]!, path);
        this.project.records.wrote(path, result!.outputs[name]!.hash, fingerprint);
      }
      return undefined;
    } catch (error) {
      if (error instanceof MissingObjectError) return 'its stored result is damaged';
      throw error;
    }
  }

  /**
   * Executes a cell with leases on its fingerprint (another project may share the cache) and on its outputs (another run may
   * be active in this project). After waiting for a lease, it uses the result of the other run if there is one.
   */
  async #execute(cell: Cell, found: Freshness, seconds: () => number): Promise<void> {
    const enter = () => this.#executing.take(this.#order.get(cell.name)!, demandOf(cell, this.#jobs));
    let held = await enter();
    const leases: Lease[] = [];
    try {
      if (this.#isStopping()) return this.#recordOutcome(cell, 'canceled', seconds(), { why: this.#blockedBecause(cell)?.why });
      let waited = false;
      const waiting = this.#leaseOptions(cell, () => {
        waited = true;
        // Release the slot while this cell waits.
        held.release();
      });
      if (cell.cache) leases.push(await this.project.cache.leases.acquire(`cell ${found.fingerprint}`, waiting));
      const placeLeases = await this.project.leaseOutputs(pathsOf(cell), waiting);
      leases.push(...placeLeases);
      if (waited) {
        held = await enter();
        if (this.#isStopping()) return this.#recordOutcome(cell, 'canceled', seconds(), { why: this.#blockedBecause(cell)?.why });
      }
      const why = found.why;
      if (why !== 'forced' || waited) {
        const now = await this.#checkFreshness(cell);
        await this.locked?.demand(cell, now);
        if (now.state === 'fresh') return this.#handleFresh(cell, now, seconds);
        if (now.state === 'restore' && (await this.#restoreOutputs(cell, now)) === undefined)
          return this.#handleRestored(cell, now, seconds);
        found = now;
      }
      const { execute, storeUnstored } = await import('./execute.ts');
      const surroundings = this.#executionContext(held.gpus, placeLeases);
      const stored = why === 'forced' || !cell.cache ? undefined : await storeUnstored(cell, found, surroundings);
      if (stored) {
        this.#outputs.set(cell.name, stored.outputs);
        this.ended.set(cell.name, stored.kept ? lockfileEntry(found.fingerprint, stored.outputs) : undefined);
        return this.#recordOutcome(cell, 'restored', seconds(), { why: 'an earlier run made it but could not store it', look: found });
      }
      // The time is the duration of the execution, without waiting.
      seconds = stopwatch();
      const execution = await execute(cell, found, why, surroundings);
      const { fingerprint } = found;
      if (execution.state === 'ran') {
        this.#outputs.set(cell.name, execution.outputs);
        this.ended.set(cell.name, execution.kept ? lockfileEntry(fingerprint, execution.outputs) : undefined);
        this.#recordOutcome(cell, 'ran', seconds(), { why, look: found, log: execution.log, usage: execution.usage });
      } else if (execution.state === 'failed')
        this.#handleFailure(cell, seconds(), execution.failure, { why, look: found, usage: execution.usage });
      else
        this.#recordOutcome(cell, 'canceled', seconds(), {
          why: this.options.signal.aborted ? 'interrupted' : 'another cell failed',
          log: execution.log,
          usage: execution.usage,
        });
    } finally {
      for (const lease of leases) lease.release();
      held.release();
    }
  }

  #checkFreshness(cell: Cell): Promise<Freshness> {
    return checkFreshness(cell, this.pipeline, this.project, (name) => this.#outputs.get(name)!, this.options.force ?? false);
  }

  /** Whether no new cell may start. */
  #isStopping(): boolean {
    return this.#stopping || this.#signal.aborted;
  }

  #leaseOptions(cell: Cell, meanwhile?: () => void) {
    return {
      signal: this.#signal,
      onWait: (pid: number) => {
        if (pid !== process.pid && this.selected.has(cell.name)) this.emit({ type: 'waiting', cell: cell.name, pid });
        meanwhile?.();
      },
    };
  }

  #executionContext(gpus: string[], leases: Lease[]): ExecutionContext {
    return {
      pipeline: this.pipeline,
      project: this.project,
      run: this.run,
      outputsOf: (name) => this.#outputs.get(name)!,
      gpus,
      leases,
      guard: this.#orphanReaper,
      workers: this.#stepProcesses,
      locked: this.locked,
      signal: this.#signal,
      emit: this.emit,
    };
  }

  #handleFresh(cell: Cell, look: Freshness, seconds: () => number): void {
    this.#adoptResult(cell, look);
    this.#recordOutcome(cell, 'fresh', seconds(), { look });
  }

  #handleRestored(cell: Cell, look: Freshness, seconds: () => number): void {
    this.#adoptResult(cell, look);
    this.#recordOutcome(cell, 'restored', seconds(), { why: look.why, look });
  }

  /** Uses a stored result. */
  #adoptResult(cell: Cell, { result, fingerprint }: Freshness): void {
    this.#outputs.set(cell.name, result!.outputs);
    this.ended.set(cell.name, lockfileEntry(fingerprint, result!.outputs));
  }

  #handleFailure(cell: Cell, seconds: number, failure: Failure, more: Pick<End, 'why' | 'look' | 'usage'> = {}): void {
    this.#recordOutcome(cell, 'failed', seconds, { ...more, failure, log: failure.log });
    const mode = this.options.onFailure ?? 'stop';
    if (mode !== 'continue') this.#stopping = true;
    if (mode === 'kill') this.#kill.abort();
  }

  #recordOutcome(cell: Cell, state: CellState, seconds: number, { why, failure, look, log, usage }: End): void {
    this.#states.set(cell.name, state);
    this.transcript.ended(cell, state, look, {
      why,
      seconds,
      failure: failure && shortened(failure.message, MOST_WRITTEN),
      log: log || undefined,
      usage,
    });
    this.emit({ type: 'cell', cell: cell.name, state, seconds, ...(why ? { why } : {}), ...(failure ? { failure } : {}) });
  }
}

/** Maximum number of characters of a message in the records. The log has the full message. */
const MOST_WRITTEN = 4000;

/** The data of a finished cell. */
interface End {
  why?: string;
  failure?: Failure;
  look?: Freshness;
  log?: string;
  usage?: Usage;
}

/** The cells that must end before a cell starts. A frozen cell depends on none. */
function edgesOf({ frozen, reads, waits }: Cell): string[] {
  return frozen ? [] : [...reads, ...waits];
}

/** Whether the cell has or may have something to do. */
function isPending(found: PlannedCell | undefined): boolean {
  return found !== undefined && found.state !== 'off' && !found.final;
}

function stopwatch(): () => number {
  const began = performance.now();
  return () => Math.round(performance.now() - began) / 1000;
}

function pathsOf(cell: Cell): string[] {
  return Object.values(cell.outputs).map(({ path }) => path);
}

function summarize(pipeline: Pipeline, states: Map<string, CellState>, seconds: number): Summary {
  const counts = { ran: 0, fresh: 0, restored: 0, failed: 0, skipped: 0, canceled: 0 };
  const cells: Record<string, CellState> = Object.create(null);
  for (const { name } of pipeline.cells) {
    const state = states.get(name);
    if (!state) continue;
    cells[name] = state;
    counts[state]++;
  }
  return { type: 'summary', pipeline: pipeline.name, cells, ...counts, seconds };
}
