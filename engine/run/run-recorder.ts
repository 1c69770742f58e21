/**
 * Writes a run and its environment to the records: its events in batches of one second, so that a thousand cells do not cause a thousand disk
 * flushes. It also registers the results that the run uses in the index of the cache, so that gc does not remove them.
 */

import { execFile } from 'node:child_process';
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus, release, type } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { type CacheError, cacheErrorOf } from '../../cache/error.ts';
import type { Cell, Pipeline } from '../contract/cell.ts';
import type { CellState, RunEvent, Summary } from '../contract/events.ts';
import { memoryLimit } from '../contract/memory-limit.ts';
import { installedVersion } from '../files/packages.ts';
import { codeTexts } from './fingerprint.ts';
import type { Freshness } from './freshness.ts';
import { type Project, userOf } from './project.ts';
import type { CellRecord, Git, MetricRecord, Notice, Provenance } from './records.ts';

/** What is known about a cell before it starts or when it ends. */
type Known = Pick<Freshness, 'fingerprint' | 'components' | 'result'>;

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
  /** The state of the repository, until it is written. */
  #gitState: Git | undefined;

  /** Starts git, because its answer takes a while. */
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
    const { type: _, ...metric } = event;
    this.#metrics.push(metric);
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
  async end({ seconds, ran, fresh, restored, failed, skipped, canceled }: Summary): Promise<CacheError | undefined> {
    const timer = setTimeout(() => this.#gitQuery.abort(), LONGEST_GIT_QUERY);
    await this.#git;
    clearTimeout(timer);
    const { records, cache } = this.project;
    return cacheErrorOf(() => {
      this.#write();
      const counts = { ran, fresh, restored, failed, skipped, canceled };
      const isNew = records.finish(this.#run, seconds, counts, this.#notices, this.#fingerprints);
      if (isNew) this.#keep(this.#fresh);
      if (this.#use !== undefined) cache.gcRoots.end(this.#use, this.#relied.size > this.#registered ? this.#relied : undefined);
    });
  }

  /** Also called for a run that was interrupted or did not start. */
  close(): void {
    this.#gitQuery.abort();
    clearTimeout(this.#timer);
    if (this.#run === 0) cacheErrorOf(() => this.#use !== undefined && this.project.cache.gcRoots.forget([this.#use], []));
  }

  /** What cannot be written is written later, because a full disk must not stop running steps. */
  #soon(): void {
    if (this.#gitQuery.signal.aborted) return;
    this.#timer ??= setTimeout(() => cacheErrorOf(() => this.#write()), 1000).unref();
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

/** The metrics and results that fresh and restored cells reported in their last execution. */
export function formerReports({ file }: Pipeline, { records }: Project, states: Map<string, CellState>): RunEvent[] {
  const reports: RunEvent[] = [
    ...records.lastMetrics(file).map((metric) => ({ type: 'metric' as const, ...metric })),
    ...records.lastResults(file).map((result) => ({ type: 'result' as const, ...result })),
  ];
  return reports.filter((event) => 'cell' in event && ['fresh', 'restored'].includes(states.get(event.cell!)!));
}

/** Errors in finding the provenance must not fail the run. */
function provenanceOf({ params }: Pipeline): Provenance {
  const machine = { system: `${type()} ${release()} ${arch()}`, cpu: cpuModel(), cores: availableParallelism(), memory: memoryLimit() };
  return { params, machine, versions: ownVersions() };
}

/** Undefined if there is no repository, no commit or no git. */
async function gitState(folder: string, signal: AbortSignal): Promise<Git | undefined> {
  // Starting git in vain would take a large part of a run in which all cells are fresh.
  if (process.env.GIT_DIR === undefined && !isInRepository(folder)) return undefined;
  const args = ['--no-optional-locks', 'status', '--porcelain=v2', '--branch', '--untracked-files=no'];
  return new Promise((resolve) => {
    execFile('git', args, { cwd: folder, signal, maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } }, (error, stdout) => {
      const commit = /^# branch\.oid ([\da-f]{40,64})$/m.exec(stdout)?.[1];
      resolve(error || commit === undefined ? undefined : { commit, dirty: /^[^#]/m.test(stdout) });
    });
  });
}

function isInRepository(folder: string): boolean {
  return existsSync(join(folder, '.git')) || (dirname(folder) !== folder && isInRepository(dirname(folder)));
}

function ownVersions(): Record<string, string> {
  const { version, dependencies } = createRequire(import.meta.url)('tunesmith/package.json') as {
    version: string;
    dependencies: Record<string, string>;
  };
  const versions: Record<string, string> = { tunesmith: version, node: process.versions.node };
  for (const name of Object.keys(dependencies)) versions[name] = installedVersion(name, import.meta.dirname);
  return versions;
}

/** Reads /proc/cpuinfo first, because `cpus()` also reads the speed of each core, which is slow for a hundred cores. */
function cpuModel(): string {
  try {
    const file = openSync('/proc/cpuinfo', 'r');
    try {
      const beginning = Buffer.alloc(4096);
      const text = beginning.toString('utf8', 0, readSync(file, beginning, 0, beginning.length, 0));
      const model = /^model name\s*: (.+)$/m.exec(text)?.[1];
      if (model) return model;
    } finally {
      closeSync(file);
    }
  } catch {
    // No such file on this system.
  }
  return cpus()[0]?.model ?? 'unknown';
}
