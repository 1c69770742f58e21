/**
 * Executes one cell with retries: moves the former outputs aside, runs the step, checks its outputs, checks that its inputs
 * are unchanged, and stores the result. Any error becomes the cell's failure and restores the former outputs.
 */

import { lstatSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { existsAt, placeAtomically, removeTree } from '../../cache/atomic-move.ts';
import { type Content, contentOf, modesOf } from '../../cache/content.ts';
import { systemError } from '../../cache/error.ts';
import type { Cell, Pipeline } from '../contract/cell.ts';
import type { Failure } from '../contract/events.ts';
import { StepError } from '../contract/step.ts';
import type { FetchProgress } from '../fetch/fetched-store.ts';
import { attempt, type ExecutionContext, misplacedHint } from './attempt.ts';
import { type Freshness, sameContent, subjectOf } from './freshness.ts';
import { areLost, changedInput, refuseForeignInputs, refuseLostLeases, type Stamps, stampsOfInputs } from './interference.ts';
import { LINK, MADE, OutputTransaction, type Unstored } from './output-transaction.ts';
import { CellLog } from './process/cell-log.ts';
import { secretValues } from './process/child-process.ts';
import { explained, placeOf, type Verdict } from './process/failure.ts';
import { type Mask, maskOf } from './process/secret-masking.ts';
import { Meter, type Usage } from './process/usage.ts';
import { fetched, manifestOf } from './resolve-inputs.ts';
import { StepCheckpoints } from './step-checkpoints.ts';

export type Execution = { usage?: Usage } & (
  | ({ state: 'ran'; log: string } & CellResult)
  | { state: 'failed'; failure: Failure }
  | { state: 'canceled'; log: string }
);

interface CellResult {
  outputs: Record<string, Content>;
  /** False if an input changed during the run, so that the outputs do not belong to the fingerprint. */
  valid: boolean;
}

/** `final`: do not retry, because only storing failed, or the outputs belong to another run. */
type AttemptOutcome = { result: CellResult } | { failed: Verdict; final?: boolean } | 'canceled';

export class CellExecution {
  readonly #meter = new Meter();
  readonly #mask: Mask;
  /** What the inputs were before the cell started. */
  #stamps: Stamps = new Map();

  constructor(
    private readonly cell: Cell,
    private readonly freshness: Freshness,
    private readonly context: ExecutionContext,
  ) {
    this.#mask = maskOf(secretValues(cell));
  }

  /** Makes attempts until one succeeds, the cell is canceled or no retry is left. */
  async run(): Promise<Execution> {
    const { cell, freshness, context } = this;
    const { project, signal, emit } = context;
    const log = this.#openLog();
    const { path } = log;
    let checkpoints: StepCheckpoints | undefined;
    try {
      this.#stamps = await stampsOfInputs(freshness.inputs, context);
      if (cell.action.kind === 'step') checkpoints = await StepCheckpoints.hold(project, freshness.fingerprint, signal);
      for (let number = 1; ; number++) {
        if (signal.aborted) return { state: 'canceled', log: path };
        emit({ type: 'running', cell: cell.name, why: freshness.why, attempt: number, log: path });
        const outcome = await this.#attempt(log, checkpoints);
        if (checkpoints && existsAt(checkpoints.folder)) {
          // If an input changed during the run, the checkpoint may come from both versions.
          if (outcome !== 'canceled' && 'result' in outcome) checkpoints.remove();
          else if (await this.#changedInput()) checkpoints.remove();
        }
        if (outcome === 'canceled') return { state: 'canceled', log: path, usage: this.#meter.usage };
        if ('result' in outcome) {
          this.#removePartialOutputs();
          return { state: 'ran', ...outcome.result, log: path, usage: this.#meter.usage };
        }
        if (outcome.final || number > cell.retry.times) return await this.#failure(outcome.failed, log);
        const { message, detail } = outcome.failed;
        log.detail([`attempt ${number} failed: ${message}`, detail].filter(Boolean).join('\n'));
        log.tail.length = 0;
        await sleep(delayBefore(number, cell.retry), undefined, { signal }).catch(() => {});
      }
    } finally {
      checkpoints?.release();
      log.close();
      if (log.trouble)
        project.notice(
          `the log ${relative(project.root, path)} is incomplete: ${(systemError(log.trouble) ?? log.trouble).message}`,
          cell.name,
        );
    }
  }

  #openLog(): CellLog {
    const { cell, context } = this;
    return new CellLog(context.project.places.log(context.run, cell.name), this.#mask, (stream, line) => {
      // Output of a step's process often comes from libraries and goes only to the log. Lines from `log()` are for the screen.
      if (cell.action.kind === 'shell' || stream === 'step') context.emit({ type: 'log', cell: cell.name, stream, line });
    });
  }

  async #failure({ message, hint, option, detail, stack }: Verdict, log: CellLog): Promise<Execution> {
    const changed = await this.#changedInput();
    const tail = [...log.tail];
    if (detail) log.detail(detail);
    const failure: Failure = {
      message,
      place: option && (await placeOf(option, this.cell, this.context.pipeline, message)),
      hint: changed ? `${changed} changed during the run. If that caused the failure, run again.` : hint,
      stack,
      tail,
      log: log.path,
    };
    return { state: 'failed', failure, usage: this.#meter.usage };
  }

  /** One attempt, from moving the former outputs aside to the new outputs in their places. */
  async #attempt(log: CellLog, checkpoints: StepCheckpoints | undefined): Promise<AttemptOutcome> {
    const { cell, freshness, context } = this;
    const { project, signal, leases } = context;
    const deadline = new AbortController();
    const timer = cell.timeout === undefined ? undefined : setTimeout(() => deadline.abort(), Math.min(cell.timeout, LONGEST_TIMER));
    const transaction = OutputTransaction.begin(project, cell);
    const either = AbortSignal.any([signal, deadline.signal]);
    let verdict: Verdict | undefined;
    let error: unknown;
    try {
      await refuseForeignInputs(freshness.inputs, context);
      const inputs = await fetched(freshness.inputs, cell, project.sources, downloadProgress(cell, log, context.emit, either));
      const isShell = cell.action.kind === 'shell';
      if (isShell) await transaction.moveFormerAside(cell.outputs);
      const paths = Object.entries(cell.outputs).map(([name, { path }]) => [name, isShell ? path : transaction.staged(name)]);
      const outputs = Object.fromEntries(paths) as Record<string, string>;
      verdict = await attempt({
        ...context,
        cell,
        inputs,
        fingerprint: freshness.fingerprint,
        outputs,
        scratch: transaction.scratch,
        checkpoints: checkpoints?.folder,
        log,
        mask: this.#mask,
        meter: this.#meter,
        signal: either,
      });
      clearTimeout(timer);
      if (deadline.signal.aborted) verdict = timedOut(cell);
      if (!signal.aborted) verdict ??= missingOutput(cell, outputs, context.pipeline);
      refuseLostLeases(leases);
      if (!verdict && !signal.aborted) {
        if (!isShell) {
          await transaction.moveFormerAside(cell.outputs);
          await transaction.moveStagedIntoPlace();
        }
        const result = await this.#store(transaction);
        await transaction.commit();
        return { result };
      }
    } catch (thrown) {
      error = thrown;
    } finally {
      clearTimeout(timer);
    }
    const isLost = areLost(leases);
    const partial = isLost ? await transaction.commit() : await transaction.rollback();
    const isUnstored = error !== undefined && (await this.#unstored()) !== undefined;
    if (signal.aborted) return 'canceled';
    if (deadline.signal.aborted) verdict = timedOut(cell);
    else if (error) verdict = explained(isUnstored ? asUnstored(error) : error);
    if (partial && verdict)
      verdict.detail = [verdict.detail, `its outputs are in ${relative(project.root, partial)}`].filter(Boolean).join('\n');
    return { failed: verdict!, final: isUnstored || isLost };
  }

  /**
   * Stores outputs that an earlier run of the cell made but could not store. Undefined if there are none or they have changed
   * since; the cell then has to run.
   */
  async storeUnstored(): Promise<CellResult | undefined> {
    const { cell, freshness, context } = this;
    const { project } = context;
    const unstored = await this.#unstored();
    if (!unstored) return undefined;
    this.#stamps = await stampsOfInputs(freshness.inputs, context);
    const transaction = OutputTransaction.begin(project, cell);
    try {
      for (const [name, { at }] of Object.entries(unstored.outputs))
        await placeAtomically(join(project.places.failed(cell.name), at), transaction.staged(name));
      await transaction.moveFormerAside(cell.outputs);
      await transaction.moveStagedIntoPlace();
      const result = await this.#store(transaction);
      await transaction.commit();
      this.#removePartialOutputs();
      new StepCheckpoints(join(project.places.checkpoints, freshness.fingerprint), () => {}).remove();
      return result;
    } catch (error) {
      await transaction.rollback();
      throw asUnstored(error);
    }
  }

  /** Outputs of this fingerprint that could not be stored; undefined if there are none, or they are incomplete. */
  async #unstored(): Promise<Unstored | undefined> {
    const { cell, freshness, context } = this;
    const folder = context.project.places.failed(cell.name);
    try {
      const unstored: Unstored = JSON.parse(readFileSync(join(folder, MADE), 'utf8'));
      if (unstored.fingerprint !== freshness.fingerprint) return undefined;
      for (const name of Object.keys(cell.outputs)) {
        const { content, at } = unstored.outputs[name]!;
        if (!sameContent(content, await contentOf(join(folder, at), context.project.cache.fileHashes))) return undefined;
      }
      return unstored;
    } catch {
      return undefined; // missing or damaged
    }
  }

  /** Stores the result: objects first, then the index. Stores nothing if the inputs changed during the run. */
  async #store(transaction: OutputTransaction): Promise<CellResult> {
    const { cell, freshness, context } = this;
    const { project, leases, lockfileCheck } = context;
    const { fingerprint, inputs } = freshness;
    const outputs = await this.#outputContents();
    lockfileCheck?.checkOutputs(cell, outputs);
    const changed = await this.#changedInput();
    if (changed) await refuseForeignInputs(inputs, context);
    refuseLostLeases(leases);
    if (changed)
      project.notice(`${changed} changed while ${cell.name} ran, so its result was not stored; the next run executes it again`, cell.name);
    else if (cell.cache) {
      transaction.markMade(fingerprint, outputs);
      await this.#publish(outputs);
    }
    for (const [name, { path }] of Object.entries(cell.outputs)) {
      project.records.wrote(path, outputs[name]!.hash, fingerprint);
      if (lstatSync(path).isSymbolicLink()) project.records.wrote(path, LINK, fingerprint);
    }
    return { outputs, valid: !changed };
  }

  async #outputContents(): Promise<Record<string, Content>> {
    const outputs: Record<string, Content> = Object.create(null);
    for (const [name, { path }] of Object.entries(this.cell.outputs)) {
      const content = await contentOf(path, this.context.project.cache.fileHashes);
      // A broken link.
      if (!content)
        throw Object.assign(new Error(`output ${name} is a broken link`), { hint: 'create the target of the link, or write a file' });
      const modes = modesOf(path);
      outputs[name] = modes ? { ...content, modes } : content;
    }
    return outputs;
  }

  /** Writes the objects and the result to the cache. */
  async #publish(outputs: Record<string, Content>): Promise<void> {
    const { cell, freshness, context } = this;
    const { cache, records } = context.project;
    for (const input of Object.values(freshness.inputs)) records.keepManifest(input.hash, await manifestOf(input, cache.fileHashes));
    // Keep gc out, which would remove objects that no result refers to yet.
    const turn = await cache.gcLock.publish();
    try {
      for (const [name, content] of Object.entries(outputs)) await cache.objects.put(cell.outputs[name]!.path, content);
      cache.index.save({
        fingerprint: freshness.fingerprint,
        subject: subjectOf(cell, context.pipeline),
        outputs,
        record: { components: freshness.components } as never,
        created: new Date().toISOString(),
      });
    } finally {
      turn.release();
    }
  }

  #changedInput(): Promise<string | undefined> {
    return changedInput(this.cell, this.freshness, this.#stamps, this.context);
  }

  /** Removes the partial outputs of earlier attempts after the cell has succeeded. */
  #removePartialOutputs(): void {
    try {
      removeTree(this.context.project.places.failed(this.cell.name));
    } catch {
      // Leftovers do no harm.
    }
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

function delayBefore(retry: number, { delay, factor, longest }: Cell['retry']): number {
  return Math.min(delay * factor ** (retry - 1), longest);
}

function timedOut({ timeout }: Cell): Verdict {
  return { message: `timed out after ${duration(timeout!)}` };
}

/** Formats a duration as in a pipeline: `90s`, `5m`, `2h`. */
function duration(ms: number): string {
  for (const [unit, size] of Object.entries({ h: 3_600_000, m: 60_000, s: 1000 })) if (ms % size === 0) return `${ms / size}${unit}`;
  return `${ms}ms`;
}

/** Maximum delay of a timer, about 24 days. Node treats a longer one as 1 ms. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The failure if a declared output is missing or has another kind. */
function missingOutput(cell: Cell, outputs: Record<string, string>, { folder }: Pipeline): Verdict | undefined {
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

/** Reports downloads of a cell's inputs to the log and the screen. */
function downloadProgress({ name: cell }: Cell, log: CellLog, emit: ExecutionContext['emit'], signal: AbortSignal): FetchProgress {
  const began = performance.now();
  let [done, total, nextReport] = [0, 0, 0];
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
      const now = performance.now();
      if (now < nextReport && done !== total) return;
      nextReport = now + 50;
      const rate = done / 1e6 / Math.max(0.001, (now - began) / 1000);
      emit({ type: 'progress', cell, done, total, values: { 'MB/s': Math.round(rate * 10) / 10 } });
    },
    onWait: (pid) => {
      if (pid !== process.pid) log.line('step', `waiting for process ${pid}, which is downloading the same files`);
    },
  };
}
