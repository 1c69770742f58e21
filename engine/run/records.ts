/**
 * The history of a project in `.tunesmith/state.sqlite`: runs with their pipeline and environment, their cells with state,
 * reason, time and resources, metrics, notices, the outputs that tunesmith wrote, and the processes that are writing outputs.
 * Reading never creates the file. Damaged records are left out, because none of them decides a result.
 */

import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type DatabaseSchema, SqliteDatabase, sealed, unsealed } from '../../cache/database.ts';
import { sha256 } from '../../cache/digest.ts';
import { LEASES_TABLE, Leases } from '../../cache/lease.ts';
import { isAlive, thisProcess } from '../../cache/process.ts';
import type { Pipeline } from '../contract/cell.ts';
import type { CellState } from '../contract/events.ts';
import type { MetricDirection } from '../contract/step.ts';
import type { Json } from '../format/scalars.ts';
import { type Components, fingerprintOf } from './fingerprint.ts';
import type { Usage } from './process/usage.ts';
import type { Manifest } from './resolve-inputs.ts';

export interface RunRecord {
  id: number;
  /** Relative to the project root. */
  pipeline: string;
  started: string;
  state: 'ended' | 'running' | 'cut off';
  /** Undefined while it runs, and if the engine was killed. */
  seconds?: number;
  /** Absent for runs of older versions. */
  setting?: Provenance;
  /** Absent if there is no repository. */
  git?: Git;
  /** SHA-256 of the pipeline's text. */
  text?: string;
  /** Number of cells by final state. */
  counts: Partial<Record<CellState, number>>;
}

export interface CellRecord {
  cell: string;
  state: CellState;
  why?: string;
  seconds: number;
  /** One line. */
  failure?: string;
  /** The step's own result line. */
  result?: string;
  log?: string;
  /** Resource use of its processes; absent if it did not run or was too short to measure. */
  usage?: Usage;
  fingerprint?: string;
}

export interface MetricRecord {
  cell: string;
  name: string;
  value: number;
  /** Undefined for a final metric. */
  step?: number;
  /** Undefined if the step does not say it, and in runs of older versions. */
  better?: MetricDirection;
  /** The ends of its interval; undefined if it has none, and in runs of older versions. */
  low?: number;
  high?: number;
}

export interface LogRecord {
  run: number;
  log: string;
  fingerprint?: string;
}

export interface RunDetails extends RunRecord {
  /** All cells except fresh ones, which are many and have no details. */
  cells: CellRecord[];
  metrics: MetricRecord[];
  notices: Notice[];
}

export interface Notice {
  cell?: string;
  message: string;
}

export class Records {
  readonly #database: SqliteDatabase;
  /** Leases on outputs, across engines. */
  readonly leases: Leases;

  constructor(
    private readonly root: string,
    options: { readOnly: boolean },
  ) {
    this.#database = new SqliteDatabase(databaseOf(root), STATE, options);
    this.leases = new Leases(this.#database);
  }

  close(): void {
    try {
      this.leases.close();
    } finally {
      this.#database.close();
    }
  }

  begin({ file, text }: Pick<Pipeline, 'file' | 'text'>, setting: Provenance): number {
    const { host, boot, pid, start } = thisProcess();
    const row = [this.#name(file), new Date().toISOString(), this.keepText(text), sealedJson(setting), host, boot, pid, start];
    const sql = 'insert into runs (pipeline, started, text, setting, host, boot, pid, start) values (?, ?, ?, ?, ?, ?, ?, ?)';
    return Number(this.#database.run(sql, ...row).lastInsertRowid);
  }

  foundGit(run: number, git: Git): void {
    this.#database.run('update runs set git = ? where id = ?', sealedJson(git), run);
  }

  /** Adds metrics, and cells that ended in another state than fresh. */
  add(run: number, cells: CellRecord[], metrics: MetricRecord[]): void {
    if (cells.length + metrics.length === 0) return;
    this.#database.commit((statement) => {
      const insert = statement(
        'insert into cells (run, cell, state, why, seconds, failure, log, fingerprint, cpu, memory, result) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      );
      for (const { cell: name, state, why, seconds, failure, log, fingerprint, usage, result } of cells) {
        const values = [why ?? null, seconds, failure ?? null, log ? this.#name(log) : null, fingerprint ?? null];
        insert.run(run, name, state, ...values, usage?.cpuSeconds ?? null, usage?.peakBytes ?? null, result ?? null);
      }
      const metric = statement('insert into metrics (run, cell, name, step, value, better, low, high) values (?, ?, ?, ?, ?, ?, ?, ?)');
      // SQLite has no NaN.
      for (const { cell: name, name: of, step, value, better, low, high } of metrics)
        metric.run(run, name, of, step ?? null, Number.isNaN(value) ? null : value, better ?? null, low ?? null, high ?? null);
    });
  }

  /** `fingerprints`: of every cell of the run in any state. Returns whether no earlier run had the same set. */
  finish(run: number, seconds: number, counts: RunRecord['counts'], notices: Notice[], fingerprints: Map<string, string>): boolean {
    const text = JSON.stringify([...fingerprints]);
    const hash = sha256(text);
    const isNew = this.#keep(hash, text);
    this.#database.commit((statement) => {
      const row = [seconds, sealedJson(counts), hash, run];
      statement('update runs set seconds = ?, counts = ?, fingerprints = ? where id = ?').run(...row);
      const insert = statement('insert into notices (run, cell, message) values (?, ?, ?)');
      for (const { cell, message } of notices) insert.run(run, cell ?? null, message);
    });
    return isNew;
  }

  /** Records that tunesmith wrote this at `path`, with the fingerprint. */
  wrote(path: string, hash: string, fingerprint: string): void {
    this.#database.run('replace into written (path, hash, fingerprint) values (?, ?, ?)', this.#name(path), hash, fingerprint);
  }

  /** Whether tunesmith wrote the content `hash` at `path`. */
  isOurs(path: string, hash: string): boolean {
    return this.#database.get('select 1 from written where path = ? and hash = ?', this.#name(path), hash) !== undefined;
  }

  /** Whether `hash` is the last content that tunesmith wrote at `path`. */
  isLastWritten(path: string, hash: string): boolean {
    const last: { hash: string } | undefined = this.#database.get(
      'select hash from written where path = ? order by rowid desc limit 1',
      this.#name(path),
    );
    return last?.hash === hash;
  }

  everWrote(path: string): boolean {
    return this.#database.get('select 1 from written where path = ? limit 1', this.#name(path)) !== undefined;
  }

  /** The hash of the last content that a cell with that fingerprint wrote to `path`. */
  lastWritten(path: string, fingerprint: string): string | undefined {
    const sql = 'select hash from written where path = ? and fingerprint = ? order by rowid desc limit 1';
    return this.#database.get(sql, this.#name(path), fingerprint)?.hash;
  }

  keepManifest(hash: string, manifest: Manifest): void {
    this.#database.run('insert into manifests (hash, files) values (?, ?) on conflict do nothing', hash, sealedJson(manifest));
  }

  manifest(hash: string): Manifest | undefined {
    return unsealedJson(this.#database.get('select files from manifests where hash = ?', hash)?.files);
  }

  /** Returns its SHA-256, which is the key. */
  keepText(text: string): string {
    const hash = sha256(text);
    this.#keep(hash, text);
    return hash;
  }

  text(hash: string): string | undefined {
    const text: unknown = this.#database.get('select text from texts where hash = ?', hash)?.text;
    return typeof text === 'string' && sha256(text) === hash ? text : undefined;
  }

  /** Stores the components of a fingerprint, which are kept longer than results. Returns whether it was new. */
  keepComponents(fingerprint: string, components: Components): boolean {
    if (this.#database.get('select 1 from components where fingerprint = ?', fingerprint)) return false;
    const sql = 'insert into components (fingerprint, components) values (?, ?) on conflict do nothing';
    return this.#database.run(sql, fingerprint, sealedJson(components)).changes === 1;
  }

  components(fingerprint: string): Components | undefined {
    const row = this.#database.get('select components from components where fingerprint = ?', fingerprint);
    const components = unsealedJson<Components>(row?.components);
    return components && fingerprintOf(components) === fingerprint ? components : undefined;
  }

  /** The fingerprint of each cell of the run, fresh ones included. For an interrupted run, only those that are known. */
  fingerprints(run: number): Map<string, string> {
    const hash: unknown = this.#database.get('select fingerprints from runs where id = ?', run)?.fingerprints;
    const text = typeof hash === 'string' ? this.text(hash) : undefined;
    if (text !== undefined) return new Map(JSON.parse(text));
    const rows = this.#database.all('select cell, fingerprint from cells where run = ? and fingerprint is not null', run);
    return new Map(rows.flatMap(({ cell, fingerprint }) => (isText(cell) && isText(fingerprint) ? [[cell, fingerprint]] : [])));
  }

  /** The final metrics of a cell's result, from the run that made it. */
  finalMetrics(cell: string, fingerprint: string): MetricRecord[] {
    const sql = `select cell, name, value, better, low, high from metrics where step is null and cell = :cell and run =
      (select max(run) from cells where cell = :cell and fingerprint = :fingerprint and state = 'ran') order by rowid`;
    return metricsIn(this.#database.all(sql, { cell, fingerprint }));
  }

  /** Cells of all runs that reported final metrics. */
  cellsWithMetrics(): Set<string> {
    return new Set(this.#database.all('select distinct cell from metrics where step is null').map(({ cell }) => cell));
  }

  /** The last record of the cell in another state than fresh. */
  lastEnd(file: string, cell: string): (CellRecord & { run: number }) | undefined {
    const row = this.#database.get(
      `select cells.* from ${CELLS_OF_RUNS} where cell = ? and pipeline = ? order by run desc, cells.rowid desc limit 1`,
      cell,
      this.#name(file),
    );
    return row && isCell(row) ? { ...this.#cellOf(row), run: row.run } : undefined;
  }

  /** The fingerprint of the cell's last result, also of one that another pipeline made. */
  lastFingerprint(file: string, cell: string): string | undefined {
    const sql = `select fingerprint from ${CELLS_OF_RUNS}
      where cell = ? and pipeline = ? and fingerprint is not null and state in ('restored', 'ran') order by run desc limit 1`;
    const made = this.#database.read(undefined, (statement) => statement(sql).get(cell, this.#name(file)))?.fingerprint;
    return made ?? this.#lastRun(file).find(([name]) => name === cell)?.[1];
  }

  /** The fingerprints of all cells of the last finished run. */
  lastFingerprints(file: string): string[] {
    return this.#lastRun(file).map(([, fingerprint]) => fingerprint);
  }

  #lastRun(file: string): [cell: string, fingerprint: string][] {
    const sql = 'select fingerprints from runs where pipeline = ? and fingerprints is not null order by id desc limit 1';
    const row = this.#database.read(undefined, (statement) => statement(sql).get(this.#name(file)));
    const text = row && this.text(row.fingerprints);
    return text === undefined ? [] : JSON.parse(text);
  }

  /** The duration of each cell's last execution. `until`: the last run that counts. */
  durations(file: string, until: number = Number.MAX_SAFE_INTEGER): Map<string, number> {
    const sql = `select cell, cells.seconds, max(run) from ${CELLS_OF_RUNS} where pipeline = ? and run <= ? and state = 'ran' group by cell`;
    const rows = this.#database.all(sql, this.#name(file), until);
    return new Map(rows.flatMap(({ cell, seconds }) => (isNumber(seconds) ? [[cell, seconds]] : [])));
  }

  lastLog(file: string, cell: string): string | undefined {
    const sql = `select log from ${CELLS_OF_RUNS} where cell = ? and pipeline = ? and log is not null order by run desc limit 1`;
    const log: unknown = this.#database.get(sql, cell, this.#name(file))?.log;
    return isText(log) ? join(this.root, log) : undefined;
  }

  /** The files of all pipelines that ran, relative to the project root. */
  pipelines(): string[] {
    const rows = this.#database.read([], (statement) => statement('select distinct pipeline from runs').all());
    return rows.map(({ pipeline }) => pipeline).filter(isText);
  }

  /** Whether an earlier run has already reported this. */
  wasReported(message: string): boolean {
    return this.#database.get('select 1 from notices where message = ? limit 1', message) !== undefined;
  }

  logs(): LogRecord[] {
    const rows = this.#database.all('select run, log, fingerprint from cells where log is not null');
    return rows
      .filter(({ log }) => isText(log))
      .map(({ run, log, fingerprint }) => ({ run, log: join(this.root, log), fingerprint: fingerprint ?? undefined }));
  }

  /** The final metrics of each cell's last result, from the run that made it. */
  lastMetrics(file: string): MetricRecord[] {
    const sql = `${MADE} select metrics.cell, name, value, better, low, high from made join metrics using (run, cell) where step is null order by metrics.rowid`;
    return metricsIn(this.#database.all(sql, this.#name(file)));
  }

  /** The result line of each cell's last result, from the run that made it. */
  lastResults(file: string): { cell: string; message: string }[] {
    const sql = `${MADE} select cell, result as message from made join cells using (run, cell) where result is not null order by cells.rowid`;
    return this.#database.all(sql, this.#name(file)).filter(({ cell, message }) => isText(cell) && isText(message));
  }

  /** Newest first. */
  runs(limit: number): RunRecord[] {
    return this.#database.all('select * from runs order by id desc limit ?', limit).filter(isRun).map(runOf);
  }

  run(id: number): RunDetails | undefined {
    const row = this.#database.get('select * from runs where id = ?', id);
    if (!row || !isRun(row)) return undefined;
    const all = (table: string) => this.#database.all(`select * from ${table} where run = ? order by rowid`, id);
    return {
      ...runOf(row),
      cells: all('cells')
        .filter(isCell)
        .map((cell) => this.#cellOf(cell)),
      metrics: metricsIn(all('metrics')),
      notices: all('notices')
        .filter(({ message }) => isText(message))
        .map(({ cell, message }) => ({ cell: cell ?? undefined, message })),
    };
  }

  /** Returns whether it was new. */
  #keep(hash: string, text: string): boolean {
    if (this.#database.get('select 1 from texts where hash = ?', hash)) return false;
    return this.#database.run('insert into texts (hash, text) values (?, ?) on conflict do nothing', hash, text).changes === 1;
  }

  #cellOf({ cell, state, why, seconds, failure, log, fingerprint, cpu, memory, result }: any): CellRecord {
    return {
      cell,
      state,
      seconds,
      why: isText(why) ? why : undefined,
      failure: isText(failure) ? failure : undefined,
      log: isText(log) ? join(this.root, log) : undefined,
      usage: isNumber(cpu) && isNumber(memory) ? { cpuSeconds: cpu, peakBytes: memory } : undefined,
      fingerprint: isText(fingerprint) ? fingerprint : undefined,
      result: isText(result) ? result : undefined,
    };
  }

  /** A path relative to the project, so that the records stay valid when the project moves. */
  #name(path: string): string {
    return relative(this.root, path);
  }
}

const CELLS_OF_RUNS = 'cells join runs on runs.id = cells.run';

/** `made`: for each cell, the run that made its last result. */
const MADE = `with
  ended as (select cells.* from ${CELLS_OF_RUNS} where pipeline = ? and fingerprint is not null),
  last as (select cell, fingerprint, max(run) from ended where state in ('ran', 'restored') group by cell),
  made as (select last.cell, max(ended.run) as run from last join ended using (cell, fingerprint) where state = 'ran' group by last.cell)`;

function metricsIn(rows: any[]): MetricRecord[] {
  return rows.filter(isMetric).map(({ cell, name, value, step, better, low, high }) => ({
    cell,
    name,
    value: value ?? Number.NaN,
    step: step ?? undefined,
    better: better ?? undefined,
    low: low ?? undefined,
    high: high ?? undefined,
  }));
}

function runOf({ id, pipeline, started, seconds, counts, setting, git, text, host, boot, pid, start }: any): RunRecord {
  const runs = seconds === null && host !== null && (isAlive({ host, boot, pid, start }) ?? true);
  return {
    id,
    pipeline,
    started,
    state: runs ? 'running' : seconds === null ? 'cut off' : 'ended',
    seconds: isNumber(seconds) ? seconds : undefined,
    // The defaults of a run that has not ended.
    counts: unsealedJson(counts) ?? {},
    setting: unsealedJson(setting),
    git: unsealedJson(git),
    text: isText(text) ? text : undefined,
  };
}

function sealedJson(value: unknown): string {
  return sealed(JSON.stringify(value));
}

function unsealedJson<T>(kept: unknown): T | undefined {
  const text = unsealed(kept);
  return text === undefined ? undefined : JSON.parse(text);
}

/** Whether the row is as it was written. A bit flip on the disk may have damaged it. */
function isRun({ id, pipeline, started }: any): boolean {
  return isNumber(id) && isText(pipeline) && isText(started) && Number.isFinite(Date.parse(started));
}

function isCell({ cell, state, seconds }: any): boolean {
  return isText(cell) && STATES.has(state) && isNumber(seconds);
}

function isMetric({ cell, name, value, step = null, better = null, low = null, high = null }: any): boolean {
  const isPoint = isText(cell) && isText(name) && [value, step, low, high].every((number) => number === null || isNumber(number));
  return isPoint && [null, 'higher', 'lower'].includes(better);
}

const STATES = new Set(['ran', 'fresh', 'restored', 'failed', 'skipped', 'canceled'] satisfies CellState[] as string[]);

const isText = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';

/** Newest first; empty if there are no runs. */
export function pastRuns(root: string, limit = 20): RunRecord[] {
  return readRecords(root, (records) => records.runs(limit)) ?? [];
}

export function runDetails(root: string, id: number): RunDetails | undefined {
  return readRecords(root, (records) => records.run(id));
}

/** Path of the log of the cell's last execution. */
export function lastLog(pipeline: Pick<Pipeline, 'root' | 'file'>, cell: string): string | undefined {
  return readRecords(pipeline.root, (records) => records.lastLog(pipeline.file, cell));
}

/** Undefined if there are no runs. */
export function readRecords<T>(root: string, read: (records: Records) => T): T | undefined {
  if (!existsSync(databaseOf(root))) return undefined;
  const records = new Records(root, { readOnly: true });
  try {
    return read(records);
  } finally {
    records.close();
  }
}

function databaseOf(root: string): string {
  return join(root, '.tunesmith/state.sqlite');
}

const STATE: DatabaseSchema = {
  what: 'the record of runs',
  versions: [
    `
    create table runs (id integer primary key autoincrement, pipeline text not null, started text not null, seconds real, counts text not null default '{}');
    create table cells (
      run integer not null, cell text not null, state text not null, why text, seconds real not null,
      failure text, log text, fingerprint text
    );
    create index cells_by_run on cells (run);
    create index cells_by_name on cells (cell, run);
    create table metrics (run integer not null, cell text not null, name text not null, step integer, value real);
    create index metrics_by_run on metrics (run);
    create table notices (run integer not null, cell text, message text not null);
    create index notices_by_run on notices (run);
    create table written (path text not null, hash text not null, fingerprint text not null, unique (path, hash));
    create table manifests (hash text primary key, files text not null) without rowid;
    ${LEASES_TABLE}`,
    `
    alter table runs add column text text;
    alter table runs add column setting text;
    alter table runs add column git text;
    alter table runs add column fingerprints text;
    alter table runs add column host text;
    alter table runs add column boot text;
    alter table runs add column pid integer;
    alter table runs add column start text;
    alter table cells add column cpu real;
    alter table cells add column memory integer;
    create table texts (hash text primary key, text text not null) without rowid;
    create table components (fingerprint text primary key, components text not null) without rowid;`,
    'alter table cells add column result text;',
    `
    update runs set counts = sealed(counts), setting = sealed(setting), git = sealed(git);
    update manifests set files = sealed(files);
    update components set components = sealed(components);`,
    'alter table metrics add column better text;',
    `
    alter table metrics add column low real;
    alter table metrics add column high real;`,
  ],
};

export interface Provenance {
  params: Record<string, Json>;
  /** `memory`: the limit in bytes. */
  machine: { system: string; cpu: string; cores: number; memory: number };
  /** Versions of tunesmith, Node and tunesmith's dependencies. */
  versions: Record<string, string>;
}

export interface Git {
  commit: string;
  /** Whether tracked files differ from that commit. */
  dirty: boolean;
}
