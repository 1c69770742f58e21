/** Checks the selected cells and all their dependencies before a run: which are fresh, and which must be restored or run, and why. */

import { relative, resolve } from 'node:path';
import { type Content, contentOf } from '../../cache/content.ts';
import type { Cell, Pipeline } from '../cell.ts';
import { InvalidError } from '../errors.ts';
import type { PlannedState } from '../events.ts';
import { matcher, within } from '../files/glob.ts';
import { checkFreshness, type Freshness } from './freshness.ts';
import { refuseSharedOutputs } from './output-owners.ts';
import { explained } from './process/failure.ts';
import { openProject, type Project } from './project.ts';
import type { Seen } from './resolve-inputs.ts';
import { ancestorsOf, type Selection, selectCells } from './select-cells.ts';

/* What a run would do, and why. Changes no file, folder or timestamp. */

export type Plan = Record<string, { state: PlannedState; why: string }>;

/** The plan, without cells whose `when` is false. */
export async function planPipeline(pipeline: Pipeline, options: Selection & { force?: boolean }): Promise<Plan> {
  const selected = selectCells(pipeline, options);
  const project = openProject(pipeline, true, () => {});
  try {
    refuseSharedOutputs(pipeline, project);
    const plan: Plan = Object.create(null);
    for (const [name, { state, why }] of await planCells(pipeline, project, selected, options.force ?? false)) {
      if (selected.has(name) && state !== 'off') plan[name] = { state, why };
    }
    return plan;
  } finally {
    project.close();
  }
}

export interface PlannedCell {
  /** `off`: `when` is false for this cell or for a cell that it reads. */
  state: PlannedState | 'off';
  why: string;
  freshness?: Freshness;
  /** The current content of the cell's outputs, or their content after restoring. */
  outputs?: Record<string, Content>;
  /** The decision is final: the cell and everything that it reads is fresh. */
  final: boolean;
}

/** Throws InvalidError if a cell outside of the selection or a frozen cell would have to run. */
export async function planCells(
  pipeline: Pipeline,
  project: Project,
  selected: Set<string>,
  force: boolean,
): Promise<Map<string, PlannedCell>> {
  const plan = new Map<string, PlannedCell>();
  const above = ancestorsOf(pipeline, selected);
  const seen: Seen = { sources: new Map(), results: project.cache.index.findAll(project.records.lastFingerprints(pipeline.file)) };
  // Ask for all of them at the same time instead of waiting for each answer.
  for (const cell of pipeline.cells) if (selected.has(cell.name) || above.has(cell.name)) pinAll(cell, project);
  const byName = new Map(pipeline.cells.map((cell) => [cell.name, cell]));
  for (const cell of pipeline.cells) {
    const isSelected = selected.has(cell.name);
    if (!isSelected && !above.has(cell.name)) continue;
    let state = await planCell(cell, plan, byName, pipeline, project, force && isSelected, seen);
    if (!isSelected && state.state === 'run' && !cell.cache) state = (await stillThere(cell, state, project)) ?? state;
    plan.set(cell.name, state);
  }
  const unmade = pipeline.cells.filter(({ name, frozen }) => frozen && plan.get(name)?.state === 'run');
  if (unmade.length > 0) throw await neverMade(pipeline, unmade, plan);
  const missing = pipeline.cells.filter(({ name }) => above.has(name) && ['run', 'depends'].includes(plan.get(name)!.state));
  if (missing.length > 0) throw outsideSelection(pipeline, missing, plan);
  return plan;
}

/** Reports frozen cells without a stored result. */
async function neverMade({ locate }: Pipeline, cells: Cell[], plan: Map<string, PlannedCell>): Promise<InvalidError> {
  // Report only the first cell of each step.
  const firsts = cells.filter(({ step }, i) => cells.findIndex((other) => other.step === step) === i);
  const diagnostics = firsts.map(({ name, step }) => {
    const hint = 'Run it once without `frozen: true`.';
    return locate(step, ['frozen'], `${name} ${plan.get(name)!.why}`, hint);
  });
  return new InvalidError(await Promise.all(diagnostics));
}

function pinAll({ inputs, enabled }: Cell, { sources }: Project): void {
  for (const { sources: written } of enabled ? Object.values(inputs) : []) {
    for (const source of written) if (source.kind === 'remote') void sources.pin(source.address);
  }
}

async function planCell(
  cell: Cell,
  plan: Map<string, PlannedCell>,
  byName: Map<string, Cell>,
  pipeline: Pipeline,
  project: Project,
  force: boolean,
  seen: Seen,
): Promise<PlannedCell> {
  const above = cell.reads.map((name) => ({ name, ...plan.get(name)! }));
  if (!cell.enabled) return { state: 'off', why: '`when` is false', final: false };
  const off = above.find(({ state }) => state === 'off');
  if (off) return { state: 'off', why: `it reads ${off.name}, which is skipped`, final: false };
  const first = above.filter(
    ({ name, outputs, state }) => !outputs || (state === 'restore' && readsAtItsPlace(cell, byName.get(name)!, pipeline)),
  );
  if (first.length > 0 && !cell.frozen) {
    const others = first.length > 1 ? ` and ${first.length - 1} more` : '';
    return { state: 'depends', why: `${first[0]!.name}${others} must ${first[0]!.outputs ? 'be restored' : 'run'} first`, final: false };
  }
  try {
    const freshness = await checkFreshness(cell, pipeline, project, (name) => plan.get(name)!.outputs!, force, seen);
    const { state, why, result } = freshness;
    const final = state === 'fresh' && (cell.frozen || above.every((other) => other.final));
    return { state, why, freshness, outputs: state === 'run' ? undefined : result!.outputs, final };
  } catch (error) {
    // The cell will fail. The run reports it when the cell's turn comes, after the other cells.
    return { state: 'run', why: explained(error).message, final: false };
  }
}

/** Whether the cell reads a path inside an output of the other one, whose files must exist to be known. */
export function readsAtItsPlace(cell: Cell, other: Cell, { folder }: Pipeline): boolean {
  const outputs = Object.values(other.outputs).map(({ path }) => path);
  return Object.values(cell.inputs)
    .flatMap(({ sources }) => sources.filter((source) => source.kind === 'path'))
    .some(({ pattern, glob }) => {
      const path = resolve(folder, pattern);
      const touches = glob ? matcher(pattern, folder) : (output: string) => within(path, output) || within(output, path);
      return outputs.some(touches);
    });
}

/** Whether a cell with `cache: false` has run with the same inputs and its outputs are unchanged. */
async function stillThere(cell: Cell, { freshness }: PlannedCell, { records, cache }: Project): Promise<PlannedCell | undefined> {
  if (!freshness) return undefined;
  const outputs: Record<string, Content> = Object.create(null);
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    const content = await contentOf(path, cache.fileHashes).catch(() => undefined);
    if (!content || records.lastWritten(path, freshness.fingerprint) !== content.hash) return undefined;
    outputs[name] = content;
  }
  return { state: 'fresh', why: '', freshness, outputs, final: true };
}

function outsideSelection(pipeline: Pipeline, missing: Cell[], plan: Map<string, PlannedCell>): InvalidError {
  const read = new Set(missing.flatMap((cell) => [...cell.reads, ...cell.waits]));
  const last = new Set(missing.filter((cell) => !read.has(cell.name)).map((cell) => cell.step));
  const file = relative(process.cwd(), pipeline.file);
  return new InvalidError(
    missing.map(({ name, step }) => ({
      file: '',
      line: 0,
      column: 0,
      length: 0,
      message: `${name} is not selected, but must run first: ${plan.get(name)!.why}`,
      hint: last.has(step) ? `To run it, use: tunesmith run ${file} --until ${step}` : undefined,
    })),
  );
}
