/** Checks a pipeline file: YAML → document with positions → schema → references and matrix → cells. Reports all errors together. */
import { basename } from 'node:path';
import type { Cell, Pipeline } from '../contract/cell.ts';
import { Problems } from '../contract/errors.ts';
import { nearest } from '../format/did-you-mean.ts';
import { draftCells, topologicalOrder } from './cells.ts';
import { type Draft, ParseContext, type Step } from './drafts.ts';
import type { Environment } from './environment.ts';
import { isTreeMap, plain, type Tree } from './literals.ts';
import { checkForesight, checkOptions } from './options.ts';
import { connectPaths } from './output-paths.ts';
import { Params } from './params.ts';
import type { PipelineRequest, ReadOptions } from './request.ts';
import { fileSchema, stepSchema } from './schema.ts';
import { validator } from './schema-check.ts';
import { locateStep, readSource } from './source.ts';
import { readSteps } from './steps.ts';

/** Throws InvalidError with all errors in the order of the file. */
export async function checkPipeline(given: PipelineRequest, options: ReadOptions, environment: Environment): Promise<Pipeline> {
  const { file, folder, root, text } = given;
  const problems = new Problems();
  const source = readSource(file, problems, text);
  const context = new ParseContext(source, problems, file, folder, root, options.readOnly ?? false, environment);

  const body = await checkTopLevelKeys(context);
  context.checkStep = await validator(stepSchema);
  context.params = new Params(source, options, problems, (name, { source: from, path: at }) => {
    const found = context.environment.packageFolder(name);
    if (found === undefined)
      problems.add(from.diagnostic(at, 'value', `the package ${name} is not installed`, `Install it: npm install -D ${name}`));
    return found ?? null;
  });
  const name = typeof body.name === 'string' ? body.name : basename(file).replace(/\.ya?ml$/, '');
  const steps = await readSteps(body.steps as Record<string, Tree>, context);
  const drafts = draftCells(steps, name, context);
  const all = [...drafts.values()].flat();
  connectPaths(all, context);
  for (const [step, cells] of drafts) if (step.used) await checkOptions(step, cells, context);
  const cells = sortCells(all, drafts, context);
  problems.throwIfAny();
  await checkForesight(all, context);
  problems.throwIfAny();
  return {
    name,
    description: typeof body.description === 'string' ? body.description : undefined,
    file,
    folder,
    root,
    text,
    params: context.params.values(),
    cells,
    locate: async (step, at, message, hint) => locateStep(source, step, at, message, hint),
  };
}

const FIRST_STEP = 'Write a step below it: its name, and below that `uses:` or `run:`.';

/** The keys of the file. Throws at once if there are no steps to check. */
async function checkTopLevelKeys(context: ParseContext): Promise<Record<string, Tree>> {
  const { source, problems } = context;
  const { value } = source;
  if (!isTreeMap(value)) {
    context.report([], 'a pipeline is a map', 'Write `steps:` with a map of steps. `tunesmith init` creates an example.');
    problems.throwIfAny();
  }
  const body = { ...(value as Record<string, Tree>) };
  // The steps are checked one by one elsewhere.
  const frame = Object.entries(body).map(([key, entry]) => [key, key === 'steps' && isTreeMap(entry) ? entry : plain(entry)] as const);
  for (const { path, at, message, hint } of (await validator(fileSchema))(Object.fromEntries(frame))) {
    const key = String(path[0] ?? '');
    if (path.length === 0) {
      // The error for a misspelt key, such as `step:`, is more helpful.
      if (!nearest('steps', Object.keys(body))) context.report([], 'this pipeline has no `steps`', 'Write `steps:` with a map of steps.');
    } else if (Object.hasOwn(stepSchema.properties, key) && at === 'key' && path.length === 1)
      context.report(path, `"${key}" belongs to a step`, "Write it below a step's name, below `steps`.", 'key');
    else context.report(path, message, hint ?? (key === 'steps' && path.length === 1 ? FIRST_STEP : undefined), at);
    if (path.length === 1 && at === 'value') delete body[key];
  }
  const { steps } = body;
  if (steps === undefined) problems.throwIfAny();
  return body;
}

/** A cell, or a step of `needs`, which stands for all its cells. */
type Node = Draft | Step;
const NOTHING: readonly Node[] = [];

/** Sorts the cells topologically. Reports cycles that only paths cause. */
function sortCells(all: Draft[], drafts: Map<Step, Draft[]>, context: ParseContext): Cell[] {
  const byName = new Map<string, Draft>();
  for (const draft of all) byName.set(draft.cell.name, draft);
  const before = (node: Node): readonly Node[] => {
    if (!('cell' in node)) return drafts.get(node)!;
    const { cell, step } = node;
    if (cell.reads.length + step.needs.size === 0) return NOTHING;
    return [...cell.reads.map((name) => byName.get(name)!), ...step.needs];
  };
  const names = new Map<Step, string[]>();
  const namesOf = (step: Step) => {
    const found = names.get(step) ?? drafts.get(step)!.map(({ cell }) => cell.name);
    names.set(step, found);
    return found;
  };
  for (const { cell, step } of all) if (step.needs.size > 0) cell.waits = [...step.needs].flatMap(namesOf);
  const { sorted, cycles } = topologicalOrder<Node>(all, before);
  // Cycles of references have been reported already, so a path closes this one.
  for (const cycle of cycles) reportPathCycle(cycle.filter((node) => 'cell' in node).reverse(), context);
  return sorted.filter((node) => 'cell' in node).map(({ cell }) => cell);
}

/** Prints a cycle in the direction of the data, up to a cell whose path leads back into the cycle. */
function reportPathCycle(flow: Draft[], context: ParseContext): void {
  const closing = flow.findIndex((draft, i) => draft.pathEdges?.has(flow.at(i - 1)!.cell.name));
  if (closing < 0) return;
  const turned = [...flow.slice(closing), ...flow.slice(0, closing)];
  const maker = turned.at(-1)!.cell.name;
  const { source, path } = turned[0]!.pathEdges!.get(maker)!;
  const way = [...turned, turned[0]!].map(({ cell }) => cell.name).join(' → ');
  context.problems.add(
    source.diagnostic(path, 'value', `these cells depend on each other: ${way}`, `This path is inside an output of ${maker}.`),
  );
}
