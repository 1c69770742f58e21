/**
 * Writes the events of a run to the records in batches of one second, so that a thousand cells do not cause a thousand disk
 * flushes. It also registers the results that the run uses in the index of the cache, so that gc does not remove them.
 */

import { relative } from 'node:path';
import { CacheError } from '../../cache/error.ts';
import type { Result } from '../../cache/index.ts';
import type { Cell, Pipeline } from '../cell.ts';
import type { CellState, RunEvent } from '../events.ts';
import { type Components, codeTexts } from './fingerprint.ts';
import { type Project, userOf } from './project.ts';
import { type Git, gitState, provenanceOf } from './provenance.ts';
import type { CellRecord, MetricRecord, Notice, RunRecord } from './records.ts';

/** What is known about a cell before it starts or when it ends. */
interface Known {
  fingerprint: string;
  components: Components;
  result?: Result;
}

export class RunRecorder {
  #run = 0;
  #use: number | undefined;
  /** The results that the run uses, and how many of them are registered in the index. */
  readonly #relied = new Set<string>();
  #registered = 0;
  readonly #fingerprints = new Map<string, string>();
  readonly #fresh: EndedCell[] = [];
  #others: EndedCell[] = [];
  #cells: CellRecord[] = [];
  #metrics: MetricRecord[] = [];
  readonly #notices: Notice[] = [];
  /** By cell. */
  readonly #results = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  readonly #gitQuery = new AbortController();
  readonly #git: Promise<void>;
  #gitState: Git | undefined;

  /** Asks git at the start, because the answer takes a while. */
  constructor(
    private readonly project: Project,
    private readonly pipeline: Pipeline,
  ) {
    this.#git = gitState(pipeline.folder, this.#gitQuery.signal).then((git) => {
      this.#gitState = git;
    });
  }

  /**
   * Protects all results from gc until the run has started. Call it before checking cells. It waits for a running gc, which
   * has already counted the uses.
   */
  async arrive(): Promise<void> {
    const { root, places, cache } = this.project;
    const turn = await cache.gcLock.publish();
    try {
      this.#use = cache.gcRoots.register(userOf(root, places), relative(root, this.pipeline.file));
    } finally {
      turn.release();
    }
  }

  /** Returns the number of the run. `plan`: what is known about its cells. */
  begin(plan: Iterable<{ freshness?: Known }>): number {
    const { project, pipeline } = this;
    for (const { freshness } of plan) if (freshness?.result) this.#relied.add(freshness.fingerprint);
    this.#registered = this.#relied.size;
    this.#run = project.records.begin(pipeline, provenanceOf(pipeline));
    if (this.#use !== undefined) project.cache.gcRoots.begin(this.#use, this.#relied);
    void this.#git.then(() => this.#soon());
    return this.#run;
  }

  addEvent(event: RunEvent): void {
    if (event.type === 'result') this.#results.set(event.cell, event.message);
    if (event.type === 'notice') this.#notices.push({ cell: event.cell, message: event.message });
    if (event.type !== 'metric') return;
    const { cell, name, value, step, better } = event;
    this.#metrics.push({ cell, name, value, step, better });
    this.#soon();
  }

  /** `known`: what was found out about the cell, if anything. */
  addCell(cell: Cell, state: CellState, known: Known | undefined, record: Omit<CellRecord, 'cell' | 'state' | 'fingerprint'>): void {
    if (known) {
      this.#fingerprints.set(cell.name, known.fingerprint);
      (state === 'fresh' ? this.#fresh : this.#others).push({ cell, known });
      if (state !== 'failed' && cell.cache) this.#relied.add(known.fingerprint);
    }
    // Fresh cells are not recorded, because they are many and have no details.
    if (state === 'fresh') return;
    this.#cells.push({
      ...record,
      cell: cell.name,
      state,
      fingerprint: known?.fingerprint,
      result: state === 'ran' ? this.#results.get(cell.name) : undefined,
    });
    this.#soon();
  }

  /** Resolves with the error if the run could not be recorded. The results of its cells are reported anyway. */
  async end(seconds: number, counts: Required<RunRecord['counts']>): Promise<CacheError | undefined> {
    const timer = setTimeout(() => this.#gitQuery.abort(), LONGEST_GIT_QUERY);
    await this.#git;
    clearTimeout(timer);
    return this.#try(() => this.#finish(seconds, counts));
  }

  #finish(seconds: number, { ran, fresh, restored, failed, skipped, canceled }: Required<RunRecord['counts']>): void {
    const { records, cache } = this.project;
    this.#write();
    const counts = { ran, fresh, restored, failed, skipped, canceled };
    const isNew = records.finish(this.#run, seconds, counts, this.#notices, this.#fingerprints);
    if (isNew) this.#keep(this.#fresh);
    if (this.#use !== undefined) cache.gcRoots.end(this.#use, this.#relied.size > this.#registered ? this.#relied : undefined);
  }

  /** Also called for a run that was interrupted or did not start. */
  close(): void {
    this.#gitQuery.abort();
    clearTimeout(this.#timer);
    if (this.#run === 0) this.#try(() => this.#use !== undefined && this.project.cache.gcRoots.forget([this.#use], []));
  }

  #soon(): void {
    if (this.#gitQuery.signal.aborted) return;
    this.#timer ??= setTimeout(() => this.#try(() => this.#write()), 1000).unref();
  }

  /** Retries later what could not be written, because a full disk must not stop running steps. */
  #try(work: () => void): CacheError | undefined {
    try {
      work();
      return undefined;
    } catch (error) {
      if (!(error instanceof CacheError)) throw error;
      return error;
    }
  }

  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { records } = this.project;
    records.add(this.#run, this.#cells, this.#metrics);
    this.#cells = [];
    this.#metrics = [];
    if (this.#gitState) records.foundGit(this.#run, this.#gitState);
    this.#gitState = undefined;
    this.#keep(this.#others);
    this.#others = [];
  }

  /** The data that later runs compare with. */
  #keep(cells: EndedCell[]): void {
    const { records } = this.project;
    for (const { cell, known } of cells) {
      if (!records.keepComponents(known.fingerprint, known.components)) continue;
      for (const text of codeTexts(cell, known.components).values()) records.keepText(text);
    }
  }
}

interface EndedCell {
  cell: Cell;
  known: Known;
}

/** Maximum time that the end of a run waits for git, in milliseconds. Git is slow in very large repositories. */
const LONGEST_GIT_QUERY = 500;

/** The metrics and results that cells which need not run reported in their last execution. */
export function formerReports({ file }: Pipeline, { records }: Project, states: Map<string, CellState>): RunEvent[] {
  const stands = ({ cell }: { cell: string }) => states.get(cell) === 'fresh' || states.get(cell) === 'restored';
  return [
    ...records
      .lastMetrics(file)
      .filter(stands)
      .map((metric): RunEvent => ({ type: 'metric', ...metric })),
    ...records
      .lastResults(file)
      .filter(stands)
      .map(({ cell, message }): RunEvent => ({ type: 'result', cell, message })),
  ];
}
