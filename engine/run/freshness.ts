/** Decides whether a cell is fresh, can be restored or must run, and why. Reads the disk and the cache without changing them. */

import { existsAt } from '../../cache/atomic-move.ts';
import { type Content, contentOf } from '../../cache/content.ts';
import type { Result } from '../../cache/index.ts';
import type { ObjectStore } from '../../cache/store.ts';
import type { Cell, Pipeline } from '../contract/cell.ts';
import { StepError } from '../contract/step.ts';
import { componentsIn, type Difference, differences, type KnownContents, nearest, phrase } from './change-reasons.ts';
import { type Fingerprinted, fingerprintCell } from './fingerprint.ts';
import type { Project } from './project.ts';
import { type InputContext, manifestOf } from './resolve-inputs.ts';

export interface Freshness extends Fingerprinted {
  state: 'fresh' | 'restore' | 'run';
  why: string;
  /** The stored result of this fingerprint. */
  result?: Result;
  /** Outputs that differ from the result. */
  differing: string[];
}

export interface FreshnessContext extends InputContext {
  project: Project;
  force?: boolean;
  /** Results that will probably be needed, by fingerprint. */
  results?: Map<string, Result>;
}

export async function checkFreshness(cell: Cell, context: FreshnessContext): Promise<Freshness> {
  const { project, force, results } = context;
  if (cell.frozen) return frozenResult(cell, context);
  const known = { ...(await fingerprintCell(cell, context)), differing: [] };
  if (force) return { ...known, state: 'run', why: 'forced' };
  if (!cell.cache) return { ...known, state: 'run', why: 'cache: false' };
  const result = results?.get(known.fingerprint) ?? project.cache.index.find(known.fingerprint);
  if (!result) return { ...known, state: 'run', why: await whyRun(cell, context, known) };
  const differing = await differingOutputs(cell, result, project);
  if (differing.size === 0) return { ...known, state: 'fresh', why: '', result };
  const state = await stateOf(result, differing.keys(), project);
  if (state !== 'ok') return { ...known, state: 'run', why: `its stored result is ${state}` };
  return { ...known, ...restorable(cell, result, differing, project) };
}

/** The last result of a frozen cell, whatever it would produce now. Throws StepError if it is not available. */
async function frozenResult(cell: Cell, { pipeline, project }: FreshnessContext): Promise<Freshness> {
  const { index } = project.cache;
  const last = project.records.lastFingerprint(pipeline.file, cell.name);
  const result = (last && index.find(last)) || index.history(subjectOf(cell, pipeline), 1)[0];
  const missing = Object.keys(cell.outputs).find((name) => !result?.outputs[name]);
  if (!result || missing !== undefined)
    throw new StepError(`is frozen, but has never produced ${missing ? `output ${missing}` : 'its outputs'}`);
  const known = { inputs: {}, components: componentsIn(result), fingerprint: result.fingerprint };
  const differing = await differingOutputs(cell, result, project);
  if (differing.size === 0) return { ...known, state: 'fresh', why: '', result, differing: [] };
  const state = await stateOf(result, differing.keys(), project);
  if (state !== 'ok') throw new StepError(`is frozen, and its stored result is ${state}`);
  return { ...known, ...restorable(cell, result, differing, project) };
}

/** Outputs that differ from the result, with their current content; undefined if missing or unreadable. */
async function differingOutputs(cell: Cell, result: Result, { cache }: Project): Promise<Map<string, Content | undefined>> {
  const differing = new Map<string, Content | undefined>();
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    // tunesmith does not write unreadable files.
    const content = await contentOf(path, cache.fileHashes).catch(() => undefined);
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

/** How the cell differs from an earlier result. `textOf`: see change-reasons.ts. */
export async function differencesFrom(
  result: Result,
  cell: Cell,
  { inputs, components }: Pick<Fingerprinted, 'inputs' | 'components'>,
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

/** How the cell differs from its most similar other result. */
async function whyRun(cell: Cell, { pipeline, project }: FreshnessContext, known: Fingerprinted): Promise<string> {
  const { results, last } = earlierResults(cell, { pipeline, project }, 20);
  const result = nearest(results, last, known.components);
  return result ? phrase(await differencesFrom(result, cell, known, project)) : 'first run';
}

/** `last`: the fingerprint of the cell's last result. Another pipeline may have made it, in whose history it is then. */
export function earlierResults(cell: Cell, { pipeline, project }: Pick<FreshnessContext, 'pipeline' | 'project'>, most: number) {
  const { index } = project.cache;
  const results = index.history(subjectOf(cell, pipeline), most);
  const last = project.records.lastFingerprint(pipeline.file, cell.name);
  const restored = last !== undefined && !results.some(({ fingerprint }) => fingerprint === last) ? index.find(last) : undefined;
  return { last, results: restored ? [...results, restored] : results };
}

function restorable(
  cell: Cell,
  result: Result,
  differing: Map<string, Content | undefined>,
  { records }: Project,
): Pick<Freshness, 'state' | 'why' | 'result' | 'differing'> {
  const reasons = [...differing].map(([name, content]) => {
    const { path } = cell.outputs[name]!;
    if (!existsAt(path)) return records.everWrote(path) ? 'output was deleted' : 'found in the cache';
    if (!content || !records.isOurs(path, content.hash)) return 'output was edited';
    return records.lastWritten(path, result.fingerprint) ? 'reverted to an earlier result' : 'found in the cache';
  });
  return { state: 'restore', why: [...new Set(reasons)].join('; '), result, differing: [...differing.keys()] };
}
