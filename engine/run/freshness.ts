/** Decides whether a cell is fresh, can be restored or must run, and why. Reads the disk and the cache without changing them. */

import { existsAt } from '../../cache/atomic-move.ts';
import { type Content, contentOf } from '../../cache/content.ts';
import type { Result } from '../../cache/index.ts';
import type { ObjectStore } from '../../cache/store.ts';
import type { Cell, Pipeline } from '../cell.ts';
import { StepError } from '../step.ts';
import { componentsIn, type Difference, differences, type KnownContents, nearest, phrase } from './change-reasons.ts';
import { type Components, componentsOf, fingerprintOf } from './fingerprint.ts';
import type { Project } from './project.ts';
import { type Inputs, manifestOf, resolveInputs, type Seen } from './resolve-inputs.ts';

export interface Freshness {
  inputs: Inputs;
  components: Components;
  fingerprint: string;
  state: 'fresh' | 'restore' | 'run';
  why: string;
  /** The stored result of this fingerprint. */
  result?: Result;
  /** Outputs that differ from the result. */
  differing: string[];
}

/** Outputs of the cells that it reads, by cell and output. */
export type OutputContents = (cell: string) => Record<string, Content>;

export async function checkFreshness(
  cell: Cell,
  pipeline: Pipeline,
  project: Project,
  outputsOf: OutputContents,
  force: boolean,
  seen?: Seen,
): Promise<Freshness> {
  if (cell.frozen) return standing(cell, pipeline, project);
  const inputs = await resolveInputs(cell, pipeline, project, outputsOf, seen?.sources);
  const components = await componentsOf(cell, inputs);
  const fingerprint = fingerprintOf(components);
  const known = { inputs, components, fingerprint, differing: [] };
  if (force) return { ...known, state: 'run', why: 'forced' };
  if (!cell.cache) return { ...known, state: 'run', why: 'cache: false' };
  const result = seen?.results.get(fingerprint) ?? project.cache.index.find(fingerprint);
  if (!result) return { ...known, state: 'run', why: await whyRun(cell, pipeline, project, known) };
  const differing = await differingOutputs(cell, result, project);
  if (differing.size === 0) return { ...known, state: 'fresh', why: '', result };
  const state = await stateOf(result, differing.keys(), project);
  if (state !== 'ok') return { ...known, state: 'run', why: `its stored result is ${state}` };
  return { ...known, state: 'restore', why: whyRestore(cell, project, fingerprint, differing), result, differing: [...differing.keys()] };
}

/** The last result of a frozen cell, whatever it would produce now. Throws StepError if it is not available. */
async function standing(cell: Cell, pipeline: Pipeline, project: Project): Promise<Freshness> {
  const { index } = project.cache;
  const last = project.records.lastFingerprint(pipeline.file, cell.name);
  const result = (last && index.find(last)) || index.history(subjectOf(cell, pipeline), 1)[0];
  const missing = Object.keys(cell.outputs).find((name) => !result?.outputs[name]);
  if (!result || missing !== undefined)
    throw new StepError(`is frozen, but has never produced ${missing ? `output ${missing}` : 'its outputs'}`);
  const { fingerprint } = result;
  const known = { inputs: {}, components: componentsIn(result), fingerprint, result };
  const differing = await differingOutputs(cell, result, project);
  if (differing.size === 0) return { ...known, state: 'fresh', why: '', differing: [] };
  const state = await stateOf(result, differing.keys(), project);
  if (state !== 'ok') throw new StepError(`is frozen, and its stored result is ${state}`);
  return { ...known, state: 'restore', why: whyRestore(cell, project, fingerprint, differing), differing: [...differing.keys()] };
}

/** Outputs that differ from the result, with their current content. */
async function differingOutputs(cell: Cell, result: Result, project: Project): Promise<Map<string, Content | undefined>> {
  const differing = new Map<string, Content | undefined>();
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    const content = await contentAt(path, project);
    if (!sameContent(result.outputs[name], content)) differing.set(name, content);
  }
  return differing;
}

/** `ok` if all of these outputs can be restored. */
async function stateOf(result: Result, names: Iterable<string>, { cache }: Project): ReturnType<ObjectStore['state']> {
  for (const name of names) {
    const state = await cache.objects.state(result.outputs[name]!);
    if (state !== 'ok') return state;
  }
  return 'ok';
}

/** How the cell differs from its most similar earlier result; undefined if there is none. */
async function compareWithHistory(
  cell: Cell,
  pipeline: Pipeline,
  project: Project,
  known: Pick<Freshness, 'inputs' | 'components'>,
): Promise<{ result: Result; differences: Difference[] } | undefined> {
  const history = project.cache.index.history(subjectOf(cell, pipeline), 20);
  if (history.length === 0) return undefined;
  const result = nearest(history, project.records.lastFingerprint(pipeline.file, cell.name), known.components);
  return result && { result, differences: await differencesFrom(result, cell, known, project) };
}

/** How the cell differs from an earlier result. `textOf`: see change-reasons.ts. */
export async function differencesFrom(
  result: Result,
  cell: Cell,
  { inputs, components }: Pick<Freshness, 'inputs' | 'components'>,
  project: Pick<Project, 'cache' | 'records'>,
  textOf?: KnownContents['textOf'],
): Promise<Difference[]> {
  const before = componentsIn(result);
  const now = new Map<string, Awaited<ReturnType<typeof manifestOf>>>();
  for (const [role, input] of Object.entries(inputs)) {
    if (before.inputs[role] && before.inputs[role].hash !== input.hash)
      now.set(input.hash, await manifestOf(input, project.cache.fileHashes));
  }
  const uses = cell.action.kind === 'step' ? cell.action.uses : '';
  return differences(before, components, uses, { manifestOf: (hash) => now.get(hash) ?? project.records.manifest(hash), textOf });
}

/** The subject of a result, which identifies its history, also for another checkout of the project. */
export function subjectOf(cell: Cell, pipeline: Pipeline): string {
  return `${pipeline.file.slice(pipeline.root.length + 1)} ${cell.name}`;
}

export function sameContent(a: Content | undefined, b: Content | undefined): boolean {
  return a !== undefined && b !== undefined && a.hash === b.hash && a.kind === b.kind && a.executable === b.executable;
}

/** The content at an output's path; undefined if unreadable, because tunesmith did not write such a file. */
async function contentAt(path: string, project: Project): Promise<Content | undefined> {
  try {
    return await contentOf(path, project.cache.fileHashes);
  } catch {
    return undefined;
  }
}

async function whyRun(cell: Cell, pipeline: Pipeline, project: Project, known: Pick<Freshness, 'inputs' | 'components'>): Promise<string> {
  const comparison = await compareWithHistory(cell, pipeline, project, known);
  return comparison ? phrase(comparison.differences) : 'first run';
}

/** `differing`: the current content of each differing output. */
function whyRestore(cell: Cell, { records }: Project, fingerprint: string, differing: Map<string, Content | undefined>): string {
  const reasons = [...differing].map(([name, content]) => {
    const { path } = cell.outputs[name]!;
    if (!existsAt(path)) return records.everWrote(path) ? 'output was deleted' : 'found in the cache';
    if (!content || !records.isOurs(path, content.hash)) return 'output was edited';
    return records.lastWritten(path, fingerprint) ? 'reverted to an earlier result' : 'found in the cache';
  });
  return [...new Set(reasons)].join('; ');
}
