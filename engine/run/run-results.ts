/** What a past run made: its cells with their states, dependencies, metrics and outputs, for a report. */

import { readdirSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Content } from '../../cache/content.ts';
import { contentOf } from '../../cache/content.ts';
import { sha256 } from '../../cache/digest.ts';
import { type Cell, fileName, type Pipeline } from '../contract/cell.ts';
import type { CellState } from '../contract/events.ts';
import { canonicalJson, compareBytes } from '../format/scalars.ts';
import type { Components } from './fingerprint.ts';
import { lockfileEntry } from './lockfile.ts';
import { outputsLastWritten } from './plan.ts';
import type { Project } from './project.ts';
import type { CellRecord, MetricRecord, RunDetails } from './records.ts';
import { cellOfName } from './select-cells.ts';

export interface PastCell extends Pick<Cell, 'name' | 'step' | 'matrix' | 'reads' | 'waits'> {
  action: Pick<Cell['action'], 'kind'>;
  state: CellState;
  /** Of its execution in this run. */
  seconds?: number;
  /** Of the execution that made the result, if the run took a result of an earlier one. */
  lastSeconds?: number;
  why?: string;
  failure?: string;
  result?: string;
  fingerprint?: string;
  /** The built-in step that it uses. */
  uses?: string;
  /** Absent if they are no longer stored. */
  outputs?: Record<string, Content>;
  metrics: MetricRecord[];
}

export interface RunResults {
  /** In the order of the pipeline; if it has changed since, in the order in which they ended. */
  cells: PastCell[];
  /** Whether the pipeline is as it was, so that all dependencies are known. */
  current: boolean;
}

/** `pipeline`: as it is now, if it can be read. */
export async function runResults(run: RunDetails, pipeline: Pipeline | undefined, project: Project): Promise<RunResults> {
  const { records, cache } = project;
  const current = pipeline !== undefined && run.text !== undefined && sha256(pipeline.text) === run.text;
  const known = new Map(current ? pipeline.cells.map((cell) => [cell.name, cell]) : []);
  const ended = new Map(run.cells.map((cell) => [cell.cell, cell]));
  const fingerprints = records.fingerprints(run.id);
  const names = new Set([...known.keys(), ...fingerprints.keys(), ...ended.keys()]);
  const durations = records.durations(join(project.root, run.pipeline), run.id);
  const results = cache.index.findAll([...fingerprints.values()]);
  const cells: PastCell[] = [];
  for (const name of names) {
    const end = ended.get(name);
    const fingerprint = fingerprints.get(name) ?? end?.fingerprint;
    // The run did not select it.
    if (!end && fingerprint === undefined) continue;
    const components = fingerprint === undefined ? undefined : records.components(fingerprint);
    const cell = known.get(name);
    const { step, matrix } = cell ?? cellOfName(name);
    const uses = builtInOf(components, cell);
    cells.push({
      name,
      step,
      matrix,
      reads: cell?.reads ?? [],
      waits: cell?.waits ?? [],
      action: { kind: components?.commands || cell?.action.kind === 'shell' ? 'shell' : 'step' },
      state: end?.state ?? 'fresh',
      ...timeOf(end, durations.get(name)),
      why: end?.why,
      failure: end?.failure,
      result: end?.result,
      fingerprint,
      ...(uses !== undefined && { uses }),
      outputs: fingerprint === undefined ? {} : (results.get(fingerprint)?.outputs ?? (await uncachedOutputs(cell, fingerprint, project))),
      metrics: fingerprint === undefined ? [] : records.finalMetrics(name, fingerprint),
    });
  }
  if (!current) followContents(cells, (fingerprint) => records.components(fingerprint));
  return { cells, current };
}

function timeOf(end: CellRecord | undefined, last: number | undefined): Pick<PastCell, 'seconds' | 'lastSeconds'> {
  if (end?.state === 'ran' || end?.state === 'failed') return { seconds: end.seconds };
  return last !== undefined && (!end || end.state === 'fresh' || end.state === 'restored') ? { lastSeconds: last } : {};
}

/** Of a cell with `cache: false`: they are only at their places. */
async function uncachedOutputs(
  cell: Cell | undefined,
  fingerprint: string,
  project: Project,
): Promise<Record<string, Content> | undefined> {
  return cell && !cell.cache ? outputsLastWritten(cell, fingerprint, project) : undefined;
}

function builtInOf(components: Components | undefined, cell: Cell | undefined): string | undefined {
  if (components) return components.code ? undefined : components.step;
  return cell?.action.kind === 'step' && 'builtin' in cell.action.module ? cell.action.module.builtin : undefined;
}

/**
 * Finds which cell reads a single output of another one, by the hash of its input. If several cells made the same bytes, it is the
 * last one before the reader.
 */
function followContents(cells: PastCell[], componentsOf: (fingerprint: string) => Components | undefined): void {
  const makers = new Map<string, string>();
  for (const cell of cells) {
    const inputs = Object.values((cell.fingerprint && componentsOf(cell.fingerprint)?.inputs) || {});
    cell.reads = [...new Set(inputs.flatMap(({ hash }) => makers.get(hash) ?? []))];
    for (const [output, { kind, hash, executable }] of Object.entries(cell.outputs ?? {}))
      makers.set(sha256(canonicalJson([[output, kind, hash, executable]])), cell.name);
  }
}

/** All cells that a cell reads, directly or not, the nearest first. */
export function cellsAbove(cell: PastCell, byName: ReadonlyMap<string, PastCell>): string[] {
  const reached = new Set(cell.reads);
  // Iterating a Set also visits elements that are added during the iteration.
  for (const name of reached) for (const next of byName.get(name)?.reads ?? []) reached.add(next);
  reached.delete(cell.name);
  return [...reached];
}

/** The hashes of a cell's outputs, as the lockfile writes them. */
export const outputHashes = ({ fingerprint, outputs }: PastCell): [name: string, hash: string][] =>
  Object.entries(lockfileEntry(fingerprint ?? '', outputs ?? {}).outputs)
    .sort(([a], [b]) => compareBytes(a, b))
    .map(([name, bytes]) => [name, bytes.slice(bytes.indexOf(' ') + 1)]);

/** What a failed cell left, if it has not run again since. */
export function failedOutputs(
  { name }: PastCell,
  { started, seconds }: RunDetails,
  { places }: Project,
): { output: string; path: string }[] {
  const folder = places.failed(name);
  try {
    const left = statSync(folder).mtimeMs;
    const start = Date.parse(started);
    if (left < start || (seconds !== undefined && left > start + 1000 * seconds + 1000)) return [];
    return readdirSync(folder).map((output) => ({ output, path: join(folder, output) }));
  } catch {
    return []; // It left nothing, or `gc` has removed it.
  }
}

/** Where an output is: at its place in the project if it is still the same, otherwise in the cache. Undefined if it is nowhere. */
export async function locateOutput(
  { name, output, content }: { name: string; output: string; content: Content },
  { project, place, copies }: { project: Project; place: string | undefined; copies: string },
): Promise<{ path: string; fetch?: () => Promise<void> } | undefined> {
  if (place !== undefined) {
    const now = await contentOf(place, project.cache.fileHashes).catch(() => undefined);
    if (now?.hash === content.hash) return { path: place };
  }
  if ((await project.cache.objects.state(content)) !== 'ok') return undefined;
  const path = join(copies, fileName(name), output);
  return {
    path,
    async fetch() {
      await mkdir(dirname(path), { recursive: true });
      await project.cache.objects.restore(content, path);
    },
  };
}
