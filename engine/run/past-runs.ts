/** What past runs were: how two of them differ, the metric that represents each, and their outputs. */

import { join } from 'node:path';
import { fileName, type Pipeline } from '../contract/cell.ts';
import type { CellState } from '../contract/events.ts';
import type { MetricDirection } from '../contract/step.ts';
import { compareBytes, type Json } from '../format/scalars.ts';
import { type Difference, differences, own, type Texts, valueText } from './change-reasons.ts';
import type { Components } from './fingerprint.ts';
import { withProject } from './project.ts';
import { type Records, type RunRecord, readRecords } from './records.ts';

/** Two runs: parameters, the pipeline's text, the environment and, for each cell, fingerprint components and metrics. */
export interface RunsCompared {
  before: RunRecord;
  after: RunRecord;
  params: Change[];
  /** Commit, machine, versions. */
  setting: Change[];
  /** Differences of the pipeline's text, if it changed. */
  text?: Texts;
  cells: CellCompared[];
}

/** A value that differs; undefined if absent. */
export interface Change {
  name: string;
  before?: string;
  after?: string;
}

export interface CellCompared {
  cell: string;
  /** `unknown`: the run is too old to have recorded the components of fingerprints. */
  change: 'added' | 'removed' | 'changed' | 'same' | 'unknown';
  differences: Difference[];
  before?: CellState;
  after?: CellState;
  /** Final metrics of the results that both runs used. */
  metrics: { name: string; before?: number; after?: number }[];
}

/** Undefined if there are no records. Both runs must exist. */
export function compareRuns(root: string, before: number, after: number): RunsCompared | undefined {
  return readRecords(root, (records) => {
    const [a, b] = [records.run(before)!, records.run(after)!];
    const text = a.text !== undefined && b.text !== undefined && a.text !== b.text;
    const ends = [a, b].map((run) => new Map(run.cells.map(({ cell, state }) => [cell, state])));
    const fingerprints = [a, b].map(({ id }) => records.fingerprints(id));
    const names = [...new Set(fingerprints.flatMap((cells) => [...cells.keys()]))];
    return {
      before: recordOf(a),
      after: recordOf(b),
      params: changes(a.setting?.params ?? {}, b.setting?.params ?? {}),
      setting: changes(settingValues(a), settingValues(b)),
      ...(text ? { text: { before: records.text(a.text!) ?? '', after: records.text(b.text!) ?? '' } } : {}),
      cells: names.map((cell) => {
        const [from, to] = fingerprints.map((all) => all.get(cell));
        return {
          cell,
          ...whatChanged(records, from, to),
          before: from === undefined ? undefined : (ends[0]!.get(cell) ?? 'fresh'),
          after: to === undefined ? undefined : (ends[1]!.get(cell) ?? 'fresh'),
          metrics: comparedMetrics(records, cell, from, to),
        };
      }),
    };
  });
}

function whatChanged(records: Records, from: string | undefined, to: string | undefined): Pick<CellCompared, 'change' | 'differences'> {
  if (from === undefined) return { change: 'added', differences: [] };
  if (to === undefined) return { change: 'removed', differences: [] };
  if (from === to) return { change: 'same', differences: [] };
  const [before, after] = [records.components(from), records.components(to)];
  if (!before || !after) return { change: 'unknown', differences: [] };
  const memory = { manifestOf: (hash: string) => records.manifest(hash), textOf: (hash: string) => records.text(hash) };
  return { change: 'changed', differences: differences(before, after, after.step ?? '', memory) };
}

function comparedMetrics(records: Records, cell: string, from: string | undefined, to: string | undefined): CellCompared['metrics'] {
  const [before, after] = [from, to].map(
    (fingerprint) =>
      new Map(fingerprint === undefined ? [] : records.finalMetrics(cell, fingerprint).map(({ name, value }) => [name, value] as const)),
  );
  const names = [...new Set([...before!.keys(), ...after!.keys()])];
  return names.map((name) => ({ name, before: before!.get(name), after: after!.get(name) }));
}

function recordOf({ cells, metrics, notices, ...record }: RunRecord & { cells: unknown; metrics: unknown; notices: unknown }): RunRecord {
  return record;
}

function settingValues({ setting, git, pipeline }: RunRecord): Record<string, Json> {
  const { machine, versions = {} } = setting ?? {};
  return {
    pipeline,
    ...(git ? { commit: git.commit.slice(0, 12), 'uncommitted changes': git.dirty ? 'yes' : 'no' } : {}),
    ...(machine ? { system: machine.system, cpu: machine.cpu, cores: machine.cores } : {}),
    ...versions,
  };
}

function changes(before: Record<string, Json>, after: Record<string, Json>): Change[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .map((name) => ({ name, before: valueText(own(before, name)), after: valueText(own(after, name)) }))
    .filter((change) => change.before !== change.after);
}

/** The metric that `runs` shows for a run: the one that its `select` step used, otherwise the first one of its `evaluate` step. */
export interface ChosenMetric {
  name: string;
  value: number;
  /** The cell that reported it. */
  cell: string;
}

/** The metrics by number of the run. `wanted`: a metric of any cell. */
export function chosenMetrics(root: string, runs: readonly number[], wanted: string | undefined): Map<number, ChosenMetric> {
  const chosen = new Map<number, ChosenMetric>();
  readRecords(root, (records) => {
    // By fingerprint, because runs share many results.
    const judged = new Map<string, Judging | undefined>();
    const withMetrics = records.cellsWithMetrics();
    for (const run of runs) {
      const metric = chosenOf(records, run, wanted, { judged, withMetrics });
      if (metric) chosen.set(run, metric);
    }
  });
  return chosen;
}

/** The metric of the last `select` step; otherwise that of the first `evaluate` step: its best value if the metric has a direction, else the last one. */
function chosenOf(
  records: Records,
  run: number,
  wanted: string | undefined,
  { judged, withMetrics }: { judged: Map<string, Judging | undefined>; withMetrics: Set<string> },
): ChosenMetric | undefined {
  const candidates: (ChosenMetric & { better?: MetricDirection; selects: boolean })[] = [];
  for (const [cell, fingerprint] of [...records.fingerprints(run)].sort(([a], [b]) => compareBytes(a, b))) {
    if (!withMetrics.has(cell)) continue;
    if (!judged.has(fingerprint))
      judged.set(fingerprint, wanted === undefined ? judgingOf(records.components(fingerprint)) : { metric: wanted, selects: false });
    const judging = judged.get(fingerprint);
    if (!judging) continue;
    const all = records.finalMetrics(cell, fingerprint);
    const metric = judging.metric === undefined ? all[0] : all.find(({ name }) => name === judging.metric);
    if (!metric || !Number.isFinite(metric.value)) continue;
    candidates.push({ name: metric.name, value: metric.value, cell, better: metric.better, selects: judging.selects });
  }
  const selected = candidates.filter(({ selects }) => selects).at(-1);
  const comparable = candidates.filter(({ name }) => name === candidates[0]!.name);
  const direction = comparable[0]?.better;
  const isBetter = (a: ChosenMetric, b: ChosenMetric) => (direction === 'higher' ? a.value > b.value : a.value < b.value);
  const chosen = selected ?? (direction ? comparable.reduce((best, one) => (isBetter(one, best) ? one : best)) : comparable.at(-1));
  return chosen && { name: chosen.name, value: chosen.value, cell: chosen.cell };
}

/** The metric that a step names, or undefined for the first one that it reports. A `select` step takes precedence over others. */
interface Judging {
  metric: string | undefined;
  selects: boolean;
}

function judgingOf({ step, options = {} }: Partial<Components> = {}): Judging | undefined {
  if (step === 'select') return { metric: textOf(options.maximize ?? options.minimize), selects: true };
  if (step === 'evaluate') return { metric: Array.isArray(options.metrics) ? textOf(options.metrics[0]) : undefined, selects: false };
  return undefined;
}

const textOf = (value: Json | undefined): string | undefined => (typeof value === 'string' ? value : undefined);

export interface PastOutputs {
  /** `path`: of the copy. */
  outputs: { cell: string; output: string; path: string }[];
  /** Matching cells whose results are no longer stored. */
  gone: string[];
}

/**
 * Copies outputs of a past run from the cache, even if the pipeline makes other ones now. `wanted`: selects cells and outputs.
 * `into`: a folder for the copies.
 */
export async function pastOutputs(
  pipeline: Pick<Pipeline, 'root'>,
  run: number,
  wanted: (cell: string, output?: string) => boolean,
  into: string,
): Promise<PastOutputs> {
  return withProject(pipeline, {}, async (project) => {
    const past: PastOutputs = { outputs: [], gone: [] };
    for (const [cell, fingerprint] of project.records.fingerprints(run)) {
      if (!wanted(cell)) continue;
      const outputs = Object.entries(project.cache.index.find(fingerprint)?.outputs ?? {});
      let stored = 0;
      for (const [output, content] of outputs) {
        if ((await project.cache.objects.state(content)) !== 'ok') continue;
        stored++;
        if (!wanted(cell, output)) continue;
        const path = join(into, fileName(cell), output);
        await project.cache.objects.restore(content, path);
        past.outputs.push({ cell, output, path });
      }
      if (stored === 0) past.gone.push(cell);
    }
    // The records have cells in the order in which they ended.
    past.outputs.sort((a, b) => compareBytes(a.cell, b.cell));
    return past;
  });
}
