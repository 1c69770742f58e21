/**
 * Writes what happens in a run into the records, a second's worth at a time: a thousand cells must not mean a thousand waits
 * for the disk. It also says in the index of the cache which results the run relies on, so that no gc removes them.
 */
import { relative } from 'node:path';
import { CacheError } from '../../cache/error.ts';
import type { Result } from '../../cache/index.ts';
import type { CellState, RunEvent } from '../events.ts';
import type { Cell, Pipeline } from '../pipeline/pipeline.ts';
import type { Components } from './fingerprint.ts';
import { userOf } from './places.ts';
import type { Project } from './project.ts';
import type { CellRecord, MetricRecord, Notice, RunRecord } from './records.ts';
import { type Git, gitState, settingOf } from './setting.ts';
import { codeTexts } from './step-code.ts';

/** What was found out about a cell before it began, or when it ended. */
interface Known {
  fingerprint: string;
  components: Components;
  result?: Result;
}

export class Transcript {
  #run = 0;
  #use: number | undefined;
  /** The results that the run relies on, and how many of them the index knows. */
  readonly #relied = new Set<string>();
  #told = 0;
  readonly #fingerprints = new Map<string, string>();
  readonly #fresh: Ended[] = [];
  #others: Ended[] = [];
  #cells: CellRecord[] = [];
  #metrics: MetricRecord[] = [];
  readonly #notices: Notice[] = [];
  /** By cell. */
  readonly #results = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  readonly #asking = new AbortController();
  readonly #git: Promise<void>;
  #found: Git | undefined;

  /** Asks git at once: the answer takes a while. */
  constructor(
    private readonly project: Project,
    private readonly pipeline: Pipeline,
  ) {
    this.#git = gitState(pipeline.folder, this.#asking.signal).then((git) => {
      this.#found = git;
    });
  }

  /**
   * Before a look at what there is: whatever is found from here on, no gc removes it before the run has begun. In turn, since
   * a gc that is at work has counted already who relies on what.
   */
  async arrive(): Promise<void> {
    const { root, places, cache } = this.project;
    const turn = await cache.turns.publish();
    try {
      this.#use = cache.uses.arrive(userOf(root, places), relative(root, this.pipeline.file));
    } finally {
      turn.release();
    }
  }

  /** Returns the number of the run. `found`: what is known of its cells. */
  begin(found: Iterable<{ look?: Known }>): number {
    const { project, pipeline } = this;
    for (const { look } of found) if (look?.result) this.#relied.add(look.fingerprint);
    this.#told = this.#relied.size;
    this.#run = project.records.begin(pipeline, settingOf(pipeline));
    if (this.#use !== undefined) project.cache.uses.begin(this.#use, this.#relied);
    void this.#git.then(() => this.#soon());
    return this.#run;
  }

  hear(event: RunEvent): void {
    if (event.type === 'result') this.#results.set(event.cell, event.message);
    if (event.type === 'notice') this.#notices.push({ cell: event.cell, message: event.message });
    if (event.type !== 'metric') return;
    const { cell, name, value, step } = event;
    this.#metrics.push({ cell, name, value, step });
    this.#soon();
  }

  /** `known`: what the cell was found to be, as far as it came to that. */
  ended(cell: Cell, state: CellState, known: Known | undefined, record: Omit<CellRecord, 'cell' | 'state' | 'fingerprint'>): void {
    if (known) {
      this.#fingerprints.set(cell.name, known.fingerprint);
      (state === 'fresh' ? this.#fresh : this.#others).push({ cell, known });
      if (state !== 'failed' && cell.cache) this.#relied.add(known.fingerprint);
    }
    // Of those that stayed fresh a project has very many, and they have nothing to tell.
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

  /** Resolves with why the run could not be recorded, if it could not: what came of its cells is told all the same. */
  async end(seconds: number, counts: Required<RunRecord['counts']>): Promise<CacheError | undefined> {
    const patience = setTimeout(() => this.#asking.abort(), PATIENCE);
    await this.#git;
    clearTimeout(patience);
    return this.#try(() => this.#finish(seconds, counts));
  }

  #finish(seconds: number, { ran, fresh, restored, failed, skipped, canceled }: Required<RunRecord['counts']>): void {
    const { records, cache } = this.project;
    this.#write();
    const counts = { ran, fresh, restored, failed, skipped, canceled };
    const isNew = records.finish(this.#run, seconds, counts, this.#notices, this.#fingerprints);
    if (isNew) this.#keep(this.#fresh);
    if (this.#use !== undefined) cache.uses.end(this.#use, this.#relied.size > this.#told ? this.#relied : undefined);
  }

  /** Also of a run that did not come to its end, or to its beginning. */
  close(): void {
    this.#asking.abort();
    clearTimeout(this.#timer);
    if (this.#run === 0) this.#try(() => this.#use !== undefined && this.project.cache.uses.forget([this.#use], []));
  }

  #soon(): void {
    if (this.#asking.signal.aborted) return;
    this.#timer ??= setTimeout(() => this.#try(() => this.#write()), 1000).unref();
  }

  /** A disk that is full for a while must not end steps that are at work: what could not be written waits for the next time. */
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
    if (this.#found) records.foundGit(this.#run, this.#found);
    this.#found = undefined;
    this.#keep(this.#others);
    this.#others = [];
  }

  /** What a later run wants to compare with. */
  #keep(ended: Ended[]): void {
    const { records } = this.project;
    for (const { cell, known } of ended) {
      if (!records.keepComponents(known.fingerprint, known.components)) continue;
      for (const text of codeTexts(cell, known.components).values()) records.keepText(text);
    }
  }
}

interface Ended {
  cell: Cell;
  known: Known;
}

/** How long the end of a run waits for git (ms): in a repository of a million files it takes its time. */
const PATIENCE = 500;

/** What cells that did not run reported when they last did. */
export function formerFigures({ file }: Pipeline, { records }: Project, states: Map<string, CellState>): RunEvent[] {
  const stands = ({ cell }: { cell: string }) => states.get(cell) === 'fresh' || states.get(cell) === 'restored';
  return [
    ...records
      .lastFigures(file)
      .filter(stands)
      .map(({ cell, name, value }): RunEvent => ({ type: 'metric', cell, name, value })),
    ...records
      .lastResults(file)
      .filter(stands)
      .map(({ cell, message }): RunEvent => ({ type: 'result', cell, message })),
  ];
}
