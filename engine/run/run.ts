/**
 * Runs a pipeline: plans every cell, restores or executes the cells that are not fresh in the order of their dependencies, and
 * emits events. plan.ts and freshness.ts decide whether a cell must run, scheduler.ts when, and execute.ts executes it. This
 * file takes each cell to its outcome, and decides what a failure or Ctrl-C means for the other cells.
 */
import { setMaxListeners } from 'node:events';
import { existsAt } from '../../cache/atomic-move.ts';
import type { Content } from '../../cache/content.ts';
import { MissingObjectError } from '../../cache/error.ts';
import type { Lease } from '../../cache/lease.ts';
import { type Cell, optionPath, optionsIn, type Pipeline } from '../contract/cell.ts';
import type { CellState, Emit, Failure, RunEvent, Summary } from '../contract/events.ts';
import { StepError } from '../contract/step.ts';
import { shortened } from '../format/terminal-text.ts';
import type { ExecutionContext } from './attempt.ts';
import type { Execution } from './execute.ts';
import { checkFreshness, type Freshness } from './freshness.ts';
import { LockfileCheck, type LockfileEntry, lockfileEntry, writeLockfile } from './lockfile.ts';
import { clearObstacles, isOwnOutput, keepUserFile, OutputTransaction } from './output-transaction.ts';
import { type PlannedCell, planCells, refuseSharedOutputs } from './plan.ts';
import { CellLog } from './process/cell-log.ts';
import { explained, placeOf, type Verdict } from './process/failure.ts';
import { OrphanReaper } from './process/orphan-reaper.ts';
import { StepProcesses } from './process/process-reuse.ts';
import { maskOf } from './process/secret-masking.ts';
import type { Usage } from './process/usage.ts';
import { openProject, type Project } from './project.ts';
import { checkRequirements, lacksOf } from './requirements.ts';
import { formerReports, RunRecorder } from './run-recorder.ts';
import { demandOf, longestFirst, type MachineResources, machineFor, Pool, walk } from './scheduler.ts';
import { type Selection, selectCells } from './select-cells.ts';
import { StepCheckpoints } from './step-checkpoints.ts';
import { type UpstreamChecks, upstreamChecks } from './upstream-checks.ts';

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

/** Resolves with the summary, which is also the last event. */
export async function runPipeline(pipeline: Pipeline, options: RunOptions, emit: Emit): Promise<Summary> {
  const seconds = stopwatch();
  const selected = selectCells(pipeline, options);
  // Notices from before the run are reported right after its start.
  const early: RunEvent[] = [];
  let report: Emit = (event) => early.push(event);
  const notice: Project['notice'] = (message, cell) => report({ type: 'notice', ...(cell === undefined ? {} : { cell }), message });
  const project = openProject(pipeline, { notice, signal: options.signal });
  const recorder = new RunRecorder(project, pipeline);
  let summary: Summary;
  let ended = false;
  let unrecorded: Error | undefined;
  try {
    refuseSharedOutputs(pipeline, project);
    pipeline.remember?.();
    await OutputTransaction.recover(project);
    await StepCheckpoints.removeForgotten(project);
    await recorder.arrive();
    const plan = await planCells(pipeline, project, { selected, force: options.force });
    const lockfileCheck = options.locked ? LockfileCheck.read(pipeline, project) : undefined;
    await lockfileCheck?.checkPlan(pipeline, selected, plan);
    const pending = pipeline.cells.filter(({ name }) => selected.has(name) && isPending(plan.get(name)));
    const machine = await machineFor(pending);
    await checkRequirements(pending, plan, machine, pipeline, project);
    const number = recorder.begin(plan.values());
    const cells = pipeline.cells.flatMap(({ name }) => (selected.has(name) ? [name] : []));
    emit({ type: 'start', run: number, pipeline: pipeline.name, cells });
    report = (event) => {
      if (ended) return;
      recorder.addEvent(event);
      emit(event);
    };
    for (const event of early) report(event);
    const run = new Run({ pipeline, project, options, selected, plan, machine, run: number, emit: report, recorder, lockfileCheck });
    const outcomes = await run.finishAll();
    summary = summarize(pipeline, outcomes, seconds());
    if (!lockfileCheck && summary.failed + summary.canceled === 0) await writeLockfile(pipeline, project, run.lockfileEntries);
    unrecorded = await recorder.end(summary);
    if (options.metrics && summary.fresh + summary.restored > 0) formerReports(pipeline, project, outcomes).forEach(emit);
  } finally {
    recorder.close();
    project.close();
  }
  // The summary is the last event. Notices from closing come before it.
  ended = true;
  emit(summary);
  if (unrecorded) throw unrecorded;
  return summary;
}

interface RunSetup {
  pipeline: Pipeline;
  project: Project;
  options: RunOptions;
  /** The names of the selected cells. */
  selected: Set<string>;
  plan: Map<string, PlannedCell>;
  machine: MachineResources;
  run: number;
  emit: Emit;
  recorder: RunRecorder;
  lockfileCheck?: LockfileCheck;
}

/** Takes each cell from its plan to its outcome. Each outcome has a method: `#handleFresh`, `#handleRestored` … */
class Run {
  /** The results of cells for the lockfile; undefined if a result is not stored. */
  readonly lockfileEntries = new Map<string, LockfileEntry | undefined>();
  readonly #outcomes = new Map<string, CellState>();
  readonly #outputs = new Map<string, Record<string, Content>>();
  /** Cells outside of the selection whose outputs could not be restored, and why. */
  readonly #unrestored = new Map<string, string>();
  #upstreamChecks: UpstreamChecks = async () => [];
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

  constructor(private readonly setup: RunSetup) {
    const { options, machine } = setup;
    this.#signal = AbortSignal.any([options.signal, this.#kill.signal]);
    // Any number of cells may add listeners.
    setMaxListeners(0, this.#signal);
    this.#jobs = Math.max(1, options.jobs ?? machine.cpu);
    // If the user asks for more cells than cores, allow it.
    this.#executing = new Pool({ cells: this.#jobs, cpu: Math.max(this.#jobs, machine.cpu), memory: machine.memory }, machine.gpus);
  }

  /** Resolves with the outcome of each selected cell. */
  async finishAll(): Promise<Map<string, CellState>> {
    const { pipeline, project, plan, selected } = this.setup;
    const pending: Cell[] = [];
    for (const cell of pipeline.cells) {
      const planned = plan.get(cell.name);
      if (!planned) continue;
      if (planned.outputs) this.#outputs.set(cell.name, planned.outputs);
      if (!selected.has(cell.name)) continue;
      if (planned.state === 'off') this.#handleSkipped(cell, planned.why);
      else if (isPending(planned)) pending.push(cell);
      else this.#handleFresh(cell, planned.freshness!, () => 0);
    }
    if (pending.length > 0) {
      this.#upstreamChecks = await upstreamChecks(pending, pipeline);
      this.#order = longestFirst(pipeline.cells, project.records.durations(pipeline.file));
      try {
        await walk([...this.#restorableBefore(pending), ...pending], edgesOf, (cell) => this.#finishCell(cell));
      } finally {
        await this.#stepProcesses.close();
        this.#orphanReaper.close();
      }
    }
    if (this.#bug) throw this.#bug.error;
    return this.#outcomes;
  }

  /** Cells outside of the selection whose outputs must be restored for cells that run. */
  #restorableBefore(pending: Cell[]): Cell[] {
    const { pipeline, plan, selected } = this.setup;
    const dependencies = new Set(pending.flatMap((cell) => [...cell.reads, ...cell.waits]));
    return pipeline.cells.filter(({ name }) => dependencies.has(name) && !selected.has(name) && plan.get(name)!.state === 'restore');
  }

  /** Never rejects, because p-graph would continue but lose track of its tasks. */
  async #finishCell(cell: Cell): Promise<void> {
    const { plan, selected, project } = this.setup;
    const seconds = stopwatch();
    // An error after the outcome, such as a lease that cannot be returned on a full disk, does not change the outcome.
    const isOpen = () => selected.has(cell.name) && !this.#outcomes.has(cell.name);
    try {
      if (!selected.has(cell.name)) {
        const problem = await this.#restore(cell, plan.get(cell.name)!.freshness!);
        if (problem) this.#unrestored.set(cell.name, problem);
        return;
      }
      await this.#failUpstreamProblems();
      if (this.#outcomes.has(cell.name) || this.#handleBlocked(cell)) return;
      await this.#bringUpToDate(cell, seconds);
    } catch (error) {
      if (this.#signal.aborted) {
        if (isOpen()) this.#handleCanceled(cell, seconds());
        return;
      }
      try {
        const verdict = explained(error);
        if (isOpen()) await this.#failBeforeStart(cell, seconds(), verdict);
        else if (selected.has(cell.name)) project.notice([verdict.message, verdict.hint].filter(Boolean).join('. '));
        else this.#unrestored.set(cell.name, verdict.message);
      } catch (bug) {
        this.#bug ??= { error: bug };
        this.#kill.abort();
        if (isOpen()) this.#handleCanceled(cell, seconds());
      }
    }
  }

  /** Fails cells that cannot succeed as soon as that is known. */
  async #failUpstreamProblems(): Promise<void> {
    const { plan, selected } = this.setup;
    const successes: (CellState | undefined)[] = ['ran', 'fresh', 'restored'];
    const exists = (name: string) => successes.includes(this.#outcomes.get(name)) || (!selected.has(name) && plan.get(name)!.final);
    for (const { cell, at, problem } of await this.#upstreamChecks(exists))
      await this.#failBeforeStart(cell, 0, { ...problem, option: optionPath(problem.option, optionsIn(at)).map(String) }, at);
  }

  /** Fails a cell that has not started, with a log. `at`: the cell with the option that causes the failure. */
  async #failBeforeStart(cell: Cell, seconds: number, { message, hint, option, detail }: Verdict, at = cell): Promise<void> {
    const { pipeline, project, run } = this.setup;
    const place = option && (await placeOf(option, at, pipeline, message));
    const log = new CellLog(project.places.log(run, cell.name), maskOf([]), () => {});
    log.line('step', message);
    if (detail) log.detail(detail);
    log.close();
    this.#handleFailed(cell, seconds, { message, place, hint, tail: [], log: log.path });
  }

  /** Skips or cancels a cell that cannot start. Returns whether it did. */
  #handleBlocked(cell: Cell): boolean {
    for (const name of edgesOf(cell)) {
      const outcome = this.#outcomes.get(name);
      if (outcome === 'failed' || (outcome === 'skipped' && this.setup.plan.get(name)?.state !== 'off')) {
        this.#handleSkipped(cell, `${name} ${outcome === 'failed' ? 'failed' : 'was skipped'}`);
        return true;
      }
    }
    const canceled = edgesOf(cell).find((name) => this.#outcomes.get(name) === 'canceled');
    if (canceled) this.#handleCanceled(cell, 0, { why: `${canceled} was canceled` });
    else if (this.#isStopping()) this.#handleCanceled(cell, 0, { why: this.#whyStopping() });
    else return false;
    return true;
  }

  /** Whether no new cell may start. */
  #isStopping(): boolean {
    return this.#stopping || this.#signal.aborted;
  }

  #whyStopping(): string {
    return this.setup.options.signal.aborted ? 'interrupted' : 'another cell failed';
  }

  /** Brings a cell to its final state: fresh, restored or executed. */
  async #bringUpToDate(cell: Cell, seconds: () => number): Promise<void> {
    const { plan, lockfileCheck } = this.setup;
    const unrestored = edgesOf(cell).find((name) => this.#unrestored.has(name));
    if (unrestored)
      throw new StepError(`${unrestored} could not be restored: ${this.#unrestored.get(unrestored)}`, 'Select that cell, too.');
    // The plan's decision is valid unless a cell that this one reads was still undecided.
    const isDecided = cell.frozen || cell.reads.every((name) => plan.get(name)!.final);
    let freshness = (isDecided && plan.get(cell.name)!.freshness) || (await this.#checkFreshness(cell));
    await lockfileCheck?.checkCell(cell, freshness);
    if (freshness.state === 'fresh') return this.#handleFresh(cell, freshness, seconds);
    if (freshness.state === 'restore') {
      const why = await this.#restore(cell, freshness);
      if (why === undefined) return this.#handleRestored(cell, freshness, seconds);
      if (cell.frozen) throw new StepError(`is frozen, and ${why}`, 'Run it once without `frozen: true`.');
      freshness = { ...freshness, state: 'run', why };
    }
    await this.#execute(cell, freshness, seconds);
  }

  #checkFreshness(cell: Cell): Promise<Freshness> {
    const { pipeline, project, options } = this.setup;
    return checkFreshness(cell, { pipeline, project, outputsOf: (name) => this.#outputs.get(name)!, force: options.force });
  }

  /** Restores a cell. Resolves with undefined on success, otherwise with the reason why the cell must run. */
  async #restore(cell: Cell, freshness: Freshness): Promise<string | undefined> {
    const slot = await this.#restoring.take(this.#order.get(cell.name)!, { cells: 1, cpu: 0, memory: 0, gpu: 0 });
    let leases: Lease[] = [];
    try {
      leases = await this.setup.project.leaseOutputs(pathsOf(cell), this.#leaseOptions(cell));
      return await this.#restoreOutputs(cell, freshness);
    } finally {
      for (const lease of leases) lease.release();
      slot.release();
    }
  }

  async #restoreOutputs(cell: Cell, { result, fingerprint, differing }: Freshness): Promise<string | undefined> {
    const { project } = this.setup;
    try {
      for (const name of differing) {
        this.#signal.throwIfAborted();
        const { path } = cell.outputs[name]!;
        if (existsAt(path) && !(await isOwnOutput(project, path))) await keepUserFile(project, path, path, cell.name);
        await clearObstacles(project, path, cell.name);
        await project.cache.objects.restore(result!.outputs[name]!, path);
        project.records.wrote(path, result!.outputs[name]!.hash, fingerprint);
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
  async #execute(cell: Cell, freshness: Freshness, seconds: () => number): Promise<void> {
    const { project, lockfileCheck, machine } = this.setup;
    const { why } = freshness;
    const [lack] = lacksOf(cell, machine);
    if (lack) throw new StepError(lack.message, lack.hint);
    const takeSlot = () => this.#executing.take(this.#order.get(cell.name)!, demandOf(cell, this.#jobs));
    let slot = await takeSlot();
    const leases: Lease[] = [];
    try {
      if (this.#isStopping()) return this.#handleCanceled(cell, seconds(), { why: this.#whyStopping() });
      let waited = false;
      const leaseOptions = this.#leaseOptions(cell, () => {
        waited = true;
        // Release the slot while this cell waits.
        slot.release();
      });
      if (cell.cache) leases.push(await project.cache.leases.acquire(`cell ${freshness.fingerprint}`, leaseOptions));
      const outputLeases = await project.leaseOutputs(pathsOf(cell), leaseOptions);
      leases.push(...outputLeases);
      if (waited) {
        slot = await takeSlot();
        if (this.#isStopping()) return this.#handleCanceled(cell, seconds(), { why: this.#whyStopping() });
      }
      if (why !== 'forced' || waited) {
        freshness = await this.#checkFreshness(cell);
        await lockfileCheck?.checkCell(cell, freshness);
        if (freshness.state === 'fresh') return this.#handleFresh(cell, freshness, seconds);
        if (freshness.state === 'restore' && (await this.#restoreOutputs(cell, freshness)) === undefined)
          return this.#handleRestored(cell, freshness, seconds);
      }
      await this.#executeNow(cell, { ...freshness, why }, { gpus: slot.gpus, leases: outputLeases }, seconds);
    } finally {
      for (const lease of leases) lease.release();
      slot.release();
    }
  }

  /** Executes a cell that has its resources and leases, unless an earlier run made its outputs but could not store them. */
  async #executeNow(
    cell: Cell,
    freshness: Freshness,
    own: Pick<ExecutionContext, 'gpus' | 'leases'>,
    seconds: () => number,
  ): Promise<void> {
    const { why } = freshness;
    const { CellExecution } = await import('./execute.ts');
    const execution = new CellExecution(cell, freshness, {
      ...this.setup,
      ...own,
      outputsOf: (name) => this.#outputs.get(name)!,
      orphanReaper: this.#orphanReaper,
      stepProcesses: this.#stepProcesses,
      signal: this.#signal,
    });
    const stored = why === 'forced' || !cell.cache ? undefined : await execution.storeUnstored();
    if (stored) {
      this.#addResult(cell, freshness, stored.outputs, stored.valid);
      return this.#recordOutcome(cell, 'restored', seconds(), { why: 'an earlier run made it but could not store it', freshness });
    }
    // The time is the duration of the execution, without waiting.
    const executing = stopwatch();
    const ended = await execution.run();
    const { usage } = ended;
    if (ended.state === 'ran') this.#handleRan(cell, executing(), freshness, ended);
    else if (ended.state === 'failed') this.#handleFailed(cell, executing(), ended.failure, { why, freshness, usage });
    else this.#handleCanceled(cell, executing(), { why: this.#whyStopping(), log: ended.log, usage });
  }

  #leaseOptions(cell: Cell, onWait?: () => void) {
    return {
      signal: this.#signal,
      onWait: (pid: number) => {
        if (pid !== process.pid && this.setup.selected.has(cell.name)) this.setup.emit({ type: 'waiting', cell: cell.name, pid });
        onWait?.();
      },
    };
  }

  #handleSkipped(cell: Cell, why: string): void {
    this.#recordOutcome(cell, 'skipped', 0, { why });
  }

  #handleFresh(cell: Cell, freshness: Freshness, seconds: () => number): void {
    this.#addResult(cell, freshness, freshness.result!.outputs);
    this.#recordOutcome(cell, 'fresh', seconds(), { freshness });
  }

  #handleRestored(cell: Cell, freshness: Freshness, seconds: () => number): void {
    this.#addResult(cell, freshness, freshness.result!.outputs);
    this.#recordOutcome(cell, 'restored', seconds(), { why: freshness.why, freshness });
  }

  #handleRan(cell: Cell, seconds: number, freshness: Freshness, { outputs, valid, log, usage }: Execution & { state: 'ran' }): void {
    this.#addResult(cell, freshness, outputs, valid);
    this.#recordOutcome(cell, 'ran', seconds, { why: freshness.why, freshness, log, usage });
  }

  #handleFailed(cell: Cell, seconds: number, failure: Failure, details: Pick<Details, 'why' | 'freshness' | 'usage'> = {}): void {
    this.#recordOutcome(cell, 'failed', seconds, { ...details, failure, log: failure.log });
    const mode = this.setup.options.onFailure ?? 'stop';
    if (mode !== 'continue') this.#stopping = true;
    if (mode === 'kill') this.#kill.abort();
  }

  #handleCanceled(cell: Cell, seconds: number, details: Pick<Details, 'why' | 'log' | 'usage'> = {}): void {
    this.#recordOutcome(cell, 'canceled', seconds, details);
  }

  /** Adds the result for the cells that read it and for the lockfile. `valid`: the outputs belong to the fingerprint. */
  #addResult(cell: Cell, { fingerprint }: Freshness, outputs: Record<string, Content>, valid = true): void {
    this.#outputs.set(cell.name, outputs);
    this.lockfileEntries.set(cell.name, valid ? lockfileEntry(fingerprint, outputs) : undefined);
  }

  #recordOutcome(cell: Cell, state: CellState, seconds: number, { why, failure, freshness, log, usage }: Details): void {
    this.#outcomes.set(cell.name, state);
    this.setup.recorder.addCell(cell, state, freshness, {
      why,
      seconds,
      failure: failure && shortened(failure.message, LONGEST_MESSAGE),
      log: log || undefined,
      usage,
    });
    this.setup.emit({ type: 'cell', cell: cell.name, state, seconds, ...(why ? { why } : {}), ...(failure ? { failure } : {}) });
  }
}

interface Details {
  why?: string;
  failure?: Failure;
  freshness?: Freshness;
  log?: string;
  usage?: Usage;
}

/** Maximum number of characters of a message in the records. The log has the full message. */
const LONGEST_MESSAGE = 4000;

/** The cells that must end before a cell starts. A frozen cell depends on none. */
function edgesOf({ frozen, reads, waits }: Cell): string[] {
  return frozen ? [] : [...reads, ...waits];
}

/** Whether the cell has or may have something to do. */
function isPending(planned: PlannedCell | undefined): boolean {
  return planned !== undefined && planned.state !== 'off' && !planned.final;
}

function stopwatch(): () => number {
  const began = performance.now();
  return () => Math.round(performance.now() - began) / 1000;
}

function pathsOf(cell: Cell): string[] {
  return Object.values(cell.outputs).map(({ path }) => path);
}

function summarize(pipeline: Pipeline, outcomes: Map<string, CellState>, seconds: number): Summary {
  const counts = { ran: 0, fresh: 0, restored: 0, failed: 0, skipped: 0, canceled: 0 };
  const cells: Record<string, CellState> = Object.create(null);
  for (const { name } of pipeline.cells) {
    const state = outcomes.get(name);
    if (!state) continue;
    cells[name] = state;
    counts[state]++;
  }
  return { type: 'summary', pipeline: pipeline.name, cells, ...counts, seconds };
}
