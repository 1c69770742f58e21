/**
 * What a run would do, and why: which of the selected cells and their dependencies are fresh, and which must be restored or run.
 * Changes no file, folder or timestamp.
 */

import { readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { type Content, contentOf } from '../../cache/content.ts';
import { type Cell, fileName, lockfilePath, onlyDiffer, type Pipeline, placeKey } from '../contract/cell.ts';
import { InvalidError, unplaced, usage } from '../contract/errors.ts';
import type { PlannedState } from '../contract/events.ts';
import { matcher, within } from '../files/glob.ts';
import { type Difference, nearest } from './change-reasons.ts';
import { type Components, codeTexts } from './fingerprint.ts';
import { checkFreshness, differencesFrom, earlierResults, type Freshness, type FreshnessContext } from './freshness.ts';
import { explained } from './process/failure.ts';
import { type Project, withProject } from './project.ts';
import type { CellRecord } from './records.ts';
import { ancestorsOf, cellsNamed, type Selection, selectCells, unknownCell } from './select-cells.ts';

export type Plan = Record<string, { state: PlannedState; why: string }>;

/** The plan, without cells whose `when` is false. */
export async function planPipeline(pipeline: Pipeline, options: Selection & { force?: boolean }): Promise<Plan> {
  const selected = selectCells(pipeline, options);
  return withProject(pipeline, { readOnly: true }, async (project) => {
    refuseSharedOutputs(pipeline, project);
    const plan: Plan = Object.create(null);
    for (const [name, { state, why }] of await planCells(pipeline, project, { selected, force: options.force })) {
      if (selected.has(name) && state !== 'off') plan[name] = { state, why };
    }
    return plan;
  });
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

/** Everything that decides the plan of a cell, with the plan of the cells before it. */
interface PlanContext extends FreshnessContext {
  plan: Map<string, PlannedCell>;
  byName: Map<string, Cell>;
}

/**
 * Plans the selected cells (by default all) and their dependencies. Throws InvalidError if a cell outside of the selection or a
 * frozen cell would have to run.
 */
export async function planCells(
  pipeline: Pipeline,
  project: Project,
  { selected = new Set(pipeline.cells.map(({ name }) => name)), force = false }: { selected?: Set<string>; force?: boolean } = {},
): Promise<Map<string, PlannedCell>> {
  const plan = new Map<string, PlannedCell>();
  const above = ancestorsOf(pipeline, selected);
  const context: PlanContext = {
    pipeline,
    project,
    plan,
    byName: new Map(pipeline.cells.map((cell) => [cell.name, cell])),
    outputsOf: (name) => plan.get(name)!.outputs!,
    matches: new Map(),
    results: project.cache.index.findAll(project.records.lastFingerprints(pipeline.file)),
  };
  const cells = pipeline.cells.filter(({ name }) => selected.has(name) || above.has(name));
  // Ask for all of them at the same time instead of waiting for each answer.
  for (const cell of cells) pinAll(cell, project);
  for (const cell of cells) {
    const isSelected = selected.has(cell.name);
    let planned = await planCell(cell, { ...context, force: force && isSelected });
    if (!isSelected && planned.state === 'run' && !cell.cache) planned = (await unchangedOutputs(cell, planned, project)) ?? planned;
    plan.set(cell.name, planned);
  }
  const unmade = cells.filter(({ name, frozen }) => frozen && plan.get(name)!.state === 'run');
  if (unmade.length > 0) throw await neverMade(pipeline, unmade, plan);
  const missing = cells.filter(({ name }) => above.has(name) && ['run', 'depends'].includes(plan.get(name)!.state));
  if (missing.length > 0) throw outsideSelection(pipeline, missing, plan);
  return plan;
}

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

async function planCell(cell: Cell, context: PlanContext): Promise<PlannedCell> {
  const { plan, byName, pipeline } = context;
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
    const freshness = await checkFreshness(cell, context);
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
async function unchangedOutputs(cell: Cell, { freshness }: PlannedCell, project: Project): Promise<PlannedCell | undefined> {
  const outputs = freshness && (await outputsLastWritten(cell, freshness.fingerprint, project));
  return outputs && { state: 'fresh', why: '', freshness, outputs, final: true };
}

/** The outputs at their places; undefined if one of them is not what the cell last wrote with this fingerprint. */
export async function outputsLastWritten(
  cell: Cell,
  fingerprint: string,
  { records, cache }: Project,
): Promise<Record<string, Content> | undefined> {
  const outputs: Record<string, Content> = Object.create(null);
  for (const [name, { path }] of Object.entries(cell.outputs)) {
    const content = await contentOf(path, cache.fileHashes).catch(() => undefined);
    if (!content || records.lastWritten(path, fingerprint) !== content.hash) return undefined;
    outputs[name] = content;
  }
  return outputs;
}

function outsideSelection(pipeline: Pipeline, missing: Cell[], plan: Map<string, PlannedCell>): InvalidError {
  const read = new Set(missing.flatMap((cell) => [...cell.reads, ...cell.waits]));
  const last = new Set(missing.filter((cell) => !read.has(cell.name)).map((cell) => cell.step));
  const file = relative(process.cwd(), pipeline.file);
  return new InvalidError(
    missing.map(({ name, step }) =>
      unplaced(
        `${name} is not selected, but must run first: ${plan.get(name)!.why}`,
        last.has(step) ? `To run it, use: tunesmith run ${file} --until ${step}` : undefined,
      ),
    ),
  );
}

/**
 * Refuses a second pipeline of the same name in one project, because both would write the outputs of built-in steps to
 * `.tunesmith/outputs/<name of the pipeline>/`; and a second pipeline with the same lockfile. `others`: files of pipelines that
 * need not have run here.
 */
export function refuseSharedOutputs(
  { name, file, cells }: Pipeline,
  { root, places, records }: Pick<Project, 'root' | 'places' | 'records'>,
  others: string[] = [],
): void {
  refuseSharedLockfile(file, root);
  const own = join(places.own, 'outputs');
  if (!cells.some(({ outputs }) => Object.values(outputs).some(({ path }) => within(path, own)))) return;
  const here = relative(root, file);
  for (const other of new Set([...records.pipelines(), ...others.map((path) => relative(root, resolve(path)))])) {
    if (other === here) continue;
    const same = sameName(join(root, other), name);
    if (same === undefined) continue;
    const names = same === name ? `have the same name, ${name}` : `have names that ${onlyDiffer(same, name)}, ${same} and ${name}`;
    throw usage(
      `${other} and ${here} ${names}, so their outputs would overwrite each other in ${relative(root, own)}/${fileName(same)}`,
      `Give one of them another name, for example \`name: ${basename(dirname(resolve(file))) || 'other'}-${name}\` in ${here}.`,
    );
  }
}

/** `x.yaml` and `x.yml` in one folder would both use `x.lock`. */
function refuseSharedLockfile(file: string, root: string): void {
  const twin = /\.yaml$/.test(file) ? file.replace(/\.yaml$/, '.yml') : file.replace(/\.yml$/, '.yaml');
  if (twin === file || !/^["']?steps["']?[ \t]*:/m.test(textOf(twin) ?? '')) return;
  const [here, other, lockfile] = [file, twin, lockfilePath(file)].map((path) => relative(root, path));
  throw usage(`${other} and ${here} would overwrite each other's lockfile, ${lockfile}`, 'Rename one of them.');
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * The name of the pipeline in a file, if its outputs would be in the same folder as those of the pipeline `name`. Reads the line
 * without a YAML parser, which a run with nothing to do does not load.
 */
function sameName(file: string, name: string): string | undefined {
  const text = textOf(file);
  // If the file was renamed or removed, the new pipeline with this name owns the outputs.
  if (text === undefined || !/\buses\b/.test(text)) return undefined;
  const [, quoted = '', bare = ''] = /^["']?name["']?:[ \t]+(?:(["'].*["'])|(.*?))[ \t]*(?:[ \t]#.*)?\r?$/m.exec(text) ?? [];
  const written = quoted.slice(1, -1) || bare || basename(file).replace(/\.ya?ml$/, '');
  return placeKey(fileName(written)) === placeKey(fileName(name)) ? written : undefined;
}

/** All differences between a cell and its most similar other result. */
export interface Explanation {
  cell: string;
  state: PlannedState | 'off';
  why: string;
  /** The state after its last execution or restoration. */
  last?: CellRecord & { run: number };
  /** Unknown while a cell that it reads must run first. */
  fingerprint?: string;
  components?: Components;
  /** Creation time of the result of this fingerprint; absent if there is none. */
  made?: string;
  /** The result that it is compared with; absent if there is none. */
  against?: { fingerprint: string; created: string };
  differences: Difference[];
}

/** `word`: a cell, or a step, which means all its cells. */
export async function explainCells(pipeline: Pipeline, word: string): Promise<Explanation[]> {
  const cells = cellsNamed(pipeline, word);
  if (cells.length === 0) throw new InvalidError([unknownCell(pipeline, word)]);
  return withProject(pipeline, { readOnly: true }, async (project) => {
    const plan = await planCells(pipeline, project);
    const explanations: Explanation[] = [];
    for (const cell of cells) {
      const { state, why, freshness } = plan.get(cell.name)!;
      const last = project.records.lastEnd(pipeline.file, cell.name);
      const details = freshness && (await comparison(cell, pipeline, project, freshness));
      explanations.push({ cell: cell.name, state, why, last, differences: [], ...details });
    }
    return explanations;
  });
}

async function comparison(cell: Cell, pipeline: Pipeline, project: Project, freshness: Freshness): Promise<Partial<Explanation>> {
  const { fingerprint, components } = freshness;
  const { results, last } = earlierResults(cell, { pipeline, project }, AMONG);
  const others = results.filter((result) => result.fingerprint !== fingerprint);
  const result = nearest(others, last, components);
  const now = codeTexts(cell, components);
  const textOf = (hash: string) => now.get(hash) ?? project.records.text(hash);
  return {
    fingerprint,
    components,
    made: project.cache.index.find(fingerprint)?.created,
    against: result && { fingerprint: result.fingerprint, created: result.created },
    differences: result ? await differencesFrom(result, cell, freshness, project, textOf) : [],
  };
}

/** Maximum number of earlier results to compare with. */
const AMONG = 1000;
