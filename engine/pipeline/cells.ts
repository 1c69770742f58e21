/** Expands steps into cells: one cell with concrete values for each matrix combination. */

import { join, resolve } from 'node:path';
import { type Cell, type CellOutput, cellName, fileName } from '../contract/cell.ts';
import { otherHome, unexpanded } from '../files/paths.ts';
import type { Json } from '../format/scalars.ts';
import { bytesFrom, milliseconds } from '../format/text.ts';
import type { Draft, Drafts, ParseContext, Point, Step, Steps } from './drafts.ts';
import { inputsIn } from './inputs.ts';
import { type Expression, expressionsIn, UNKNOWN } from './interpolate.ts';
import { fitted, isTreeMap, plain, scalarText, type Tree } from './literals.ts';
import { pointsOf } from './matrix.ts';
import { outputsOf, stepSchema } from './schema.ts';
import { displayValue } from './schema-check.ts';
import { CellScope, renderCommand } from './scope.ts';
import type { Path } from './source.ts';

/** Reports dependency cycles and drafts their steps as far as possible. `pipeline`: name of the folder for outputs of built-in steps. */
export function draftCells(steps: Steps, pipeline: string, context: ParseContext): Drafts {
  const { sorted, cycles } = topologicalOrder(steps.values(), earlierSteps);
  const circular = new Set<Step>();
  for (const cycle of cycles) reportCycle(cycle, steps, circular, context);
  const drafts: Drafts = new Map();
  for (const step of sorted) {
    const points = pointsOf(step, drafts, context);
    drafts.set(
      step,
      points.map((point) => draftCell(step, point, steps, drafts, pipeline, context)),
    );
  }
  const inOrder: Drafts = new Map(); // back in the order of the file
  for (const step of steps.values()) inOrder.set(step, drafts.get(step)!);
  return inOrder;
}

function earlierSteps({ parents, gathers, needs }: Step): readonly Step[] {
  return parents.size + gathers.size + needs.size === 0 ? NO_STEPS : [...new Set([...parents, ...gathers, ...needs])];
}

/** Prints a cycle in the direction of the data, starting at the step that is first in the file. */
function reportCycle(circle: Step[], steps: Steps, reported: Set<Step>, context: ParseContext): void {
  if (circle.some((step) => reported.has(step))) return;
  for (const step of circle) reported.add(step);
  const flow = [...circle].reverse();
  const first = [...steps.values()].find((step) => circle.includes(step))!;
  const turned = [...flow.slice(flow.indexOf(first)), ...flow.slice(0, flow.indexOf(first))];
  const last = turned.at(-1)!;
  const way = [...turned, first].map(({ name }) => name).join(' → ');
  const found = first.references.find(({ expression: { reference } }) => reference?.kind === 'steps' && reference.step === last.name);
  const report = (path: Path, expression?: Expression) =>
    context.report(path, `these steps depend on each other: ${way}`, 'Remove one of the references.', 'value', expression?.whole);
  if (found) report(found.path, found.expression);
  else report([...first.path, 'needs', ...(Array.isArray(first.body.needs) ? [first.body.needs.indexOf(last.name)] : [])]);
}

/** Values that most cells of a large file share, to save memory. */
const NO_STEPS: readonly Step[] = [];
const NO_CELLS = Object.freeze<string[]>([]) as string[];
const UNDECIDED: Cell['action'] = { kind: 'shell', commands: [], shell: 'sh' };
const NOTHING = Object.freeze({});
const ONCE = Object.freeze({ times: 0, delay: 0, factor: 1, longest: 0 });

function draftCell(step: Step, point: Point, steps: Steps, drafts: Drafts, pipeline: string, context: ParseContext): Draft {
  const matrix = plain(point.matrix) as Record<string, Json>;
  const name = cellName(step.name, matrix);
  const cell: Cell = {
    name,
    cell: name,
    matrix,
    step: step.name,
    action: UNDECIDED,
    inputs: NOTHING,
    outputs: NOTHING,
    reads: NO_CELLS,
    waits: NO_CELLS,
    env: NOTHING,
    secrets: (step.body.secrets ?? []) as string[],
    retry: ONCE,
    resources: NOTHING,
    cache: true,
    frozen: false,
    enabled: true,
  };
  // The maps are created on demand, because most cells of a large file do not need them.
  const draft: Draft = { cell, step, point };
  const scope = new CellScope(cell, step, point, steps, drafts, context);

  const settings = settingsOf(scope);
  if (settings.description !== undefined) cell.description = String(settings.description);
  if (settings.timeout !== undefined) cell.timeout = duration(settings.timeout, ['timeout'], scope);
  if (settings.retry !== undefined) cell.retry = retry(settings.retry, scope);
  if (settings.resources !== undefined) cell.resources = resources(settings.resources);
  if (settings.version !== undefined) cell.version = settings.version as string | number;
  cell.cache = settings.cache !== false;
  cell.frozen = settings.frozen === true;
  if (cell.frozen && !cell.cache)
    scope.report(
      scope.locate(['frozen']),
      '`frozen` and `cache: false` cannot be used together',
      'A frozen step reuses its stored result, but `cache: false` stores none.',
    );
  cell.enabled = settings.when !== false;

  if (step.used) cell.outputs = Object.fromEntries(declaredOutputs(scope, pipeline));
  else if (step.outputs?.length !== 0) cell.outputs = Object.fromEntries(writtenOutputs(scope));
  const inputs = [...inputsIn(scope)];
  if (inputs.length > 0) {
    cell.inputs = Object.fromEntries(inputs);
    draft.inputPlaces = new Map(inputs.map(([role, , places]) => [role, places]));
    const sources = inputs.flatMap(([, input]) => input.sources);
    cell.reads = [...new Set(sources.flatMap((source) => (source.kind === 'output' ? [source.cell] : [])))];
  }
  let templates: Record<string, string> | undefined;
  if (step.body.env !== undefined) {
    templates = Object.create(null) as Record<string, string>;
    cell.env = Object.fromEntries(environmentVariables(scope, templates));
  }
  const { run } = step.body;
  if (run !== undefined) {
    const shell = settings.shell === 'bash' ? 'bash' : 'sh';
    const commands = [run].flat().map((text, i) => renderCommand(String(text), Array.isArray(run) ? ['run', i] : ['run'], shell, scope));
    cell.action = { kind: 'shell', commands, shell };
  } else if (step.used) {
    const { uses, module, definition } = step.used;
    cell.action = {
      kind: 'step',
      uses,
      module,
      definition,
      options: Object.assign(Object.create(null), Object.fromEntries(resolvedOptions(scope))),
    };
  }
  if (scope.expressionTexts) {
    cell.written = { commands: run === undefined ? undefined : plain(run), env: templates ?? NOTHING, values: scope.expressionTexts };
  }
  return draft;
}

const SETTINGS = ['description', 'shell', 'timeout', 'retry', 'resources', 'version', 'cache', 'frozen', 'when'] as const;
type Settings = Partial<Record<(typeof SETTINGS)[number], Json>>;

/** The keys that control how the step runs. Values from expressions are checked again. */
function settingsOf(scope: CellScope): Settings {
  const settings: Settings = {};
  for (const key of SETTINGS) {
    const written = scope.step.body[key];
    if (written === undefined || scope.step.faulty.has(key)) continue;
    const filled = scope.resolve(written, [key]);
    if (filled === UNKNOWN) continue;
    const value = fitted(filled, stepSchema.properties[key]);
    if (expressionsIn(written, []).length === 0 || isValid(key, value, scope)) settings[key] = value;
  }
  return settings;
}

function isValid(key: string, value: Json, scope: CellScope): boolean {
  const mistakes = scope.context.checkStep({ [key]: value });
  for (const { path, message, hint } of mistakes) scope.report(scope.locate(path), message, hint);
  return mistakes.length === 0;
}

function duration(text: Json, path: Path, scope: CellScope): number {
  const time = milliseconds(String(text));
  if (!time)
    scope.report(scope.locate(path), `"${path.join('.')}" takes a time above 0, found ${displayValue(text)}`, 'For example 90s, 5m or 2h.');
  return time ?? 0;
}

function retry(value: Json, scope: CellScope): Cell['retry'] {
  if (typeof value === 'number') return { times: value, delay: 0, factor: 1, longest: 0 };
  const { times, delay, factor = 1, max_delay } = value as { times: number; delay?: string; factor?: number; max_delay?: string };
  const first = delay === undefined ? 0 : duration(delay, ['retry', 'delay'], scope);
  const longest = max_delay === undefined ? LONGEST_DELAY : duration(max_delay, ['retry', 'max_delay'], scope);
  return { times, delay: first, factor, longest: Math.max(first, longest) };
}

/** Maximum delay between retries, in milliseconds. */
const LONGEST_DELAY = 3_600_000;

function resources(value: Json): Cell['resources'] {
  const { memory, ...counts } = value as { cpu?: number; gpu?: number; memory?: string };
  return { ...counts, ...(memory === undefined ? {} : { memory: bytesFrom(memory) }) };
}

function declaredOutputs({ step, cell, context }: CellScope, pipeline: string): [string, CellOutput][] {
  const folder = join(context.root, '.tunesmith', 'outputs', fileName(pipeline), fileName(cell.name));
  const declared = Object.entries(outputsOf(step.used!.definition));
  return declared.map(([name, declaration]) => [name, { declaration, path: join(folder, name) }]);
}

const ANY: CellOutput['declaration'] = { kind: 'any' };

function* writtenOutputs(scope: CellScope): Generator<[string, CellOutput]> {
  const { step, context } = scope;
  if (step.faulty.has('outputs')) return;
  for (const [name, written] of Object.entries(Object(step.body.outputs) as Record<string, string>)) {
    const filled = scope.resolve(written, ['outputs', name]);
    if (filled === UNKNOWN) continue;
    const path = fitted(filled, { type: 'string' });
    const wrong = (message: string, hint?: string) => scope.report(scope.locate(['outputs', name]), message, hint);
    if (typeof path !== 'string' || path === '') wrong(`output "${name}" takes a path, found ${displayValue(path)}`);
    else if (/[*?]/.test(path))
      wrong(`output "${name}" is a glob`, 'An output is one file or folder. Name the folder that holds the files.');
    else if (otherHome(path) !== undefined) wrong(...unexpanded(path, `output "${name}"`));
    else yield [name, { declaration: ANY, path: resolve(context.folder, context.environment.atHome(path)) }];
  }
}

/** The environment variables of a cell. Adds the texts with expressions to `templates`. */
function* environmentVariables(scope: CellScope, templates: Record<string, string>): Generator<[string, string | undefined]> {
  const { step, context } = scope;
  const { env } = step.body;
  if (env === undefined || step.faulty.has('env')) return;
  const filled = typeof env === 'string' ? scope.resolve(env, ['env']) : env;
  if (filled === UNKNOWN) return;
  const written = typeof env === 'string' ? fitted(filled, stepSchema.properties.env) : filled;
  if (typeof env === 'string' && !isValid('env', plain(written), scope)) return;
  if (Array.isArray(written)) {
    for (const name of written as string[]) yield [name, context.environment.readVariable(name)];
    return;
  }
  for (const [name, raw] of Object.entries(written as Record<string, Tree>)) {
    const value = scope.resolve(raw, ['env', name]);
    if (value === UNKNOWN) continue;
    const wrong = (what: string) => scope.report(scope.locate(['env', name]), `the variable ${name} ${what}`);
    if (Array.isArray(value) || isTreeMap(value)) {
      wrong(`takes one value, found ${displayValue(value)}`);
      continue;
    }
    const text = value === null ? '' : scalarText(value);
    for (const [expression, path] of expressionsIn(raw, [...step.path, 'env', name])) {
      templates[name] = String(raw);
      const piece = scope.evaluate(expression, path);
      if (piece !== UNKNOWN && piece !== null && !Array.isArray(piece) && !isTreeMap(piece))
        scope.recordText(expression.source, scalarText(piece));
    }
    if (text.includes('\0')) wrong('cannot hold a NUL character');
    else yield [name, text];
  }
}

function* resolvedOptions(scope: CellScope): Generator<[string, Json]> {
  const { step } = scope;
  if (step.faulty.has('with')) return;
  const options = step.used!.definition.options ?? {};
  for (const [key, written] of Object.entries(Object(step.body.with) as Record<string, Tree>)) {
    if (!Object.hasOwn(options, key) || step.faulty.has(`with.${key}`)) continue;
    const value = scope.resolve(withoutInputs(written, key, step), ['with', key]);
    if (value === UNKNOWN) step.faulty.add(`with.${key}`);
    else yield [key, fitted(withoutInputs(value, key, step), options[key])];
  }
}

/** The map of an option without the inputs in it and in its maps. */
function withoutInputs(value: Tree, option: string, step: Step): Tree {
  if (!isTreeMap(value) || !Object.keys(step.inputs).some((role) => role.startsWith(`${option}.`))) return value;
  const own = Object.entries(value).filter(([key]) => !Object.hasOwn(step.inputs, `${option}.${key}`));
  return Object.fromEntries(own.map(([key, inner]) => [key, withoutInputs(inner, `${option}.${key}`, step)]));
}

/**
 * Sorts topologically, as close to the given order as possible, and finds cycles, without their repeated start: [a, b] means
 * a → b → a. Not recursive, because chains may be long.
 */
export function topologicalOrder<T>(nodes: Iterable<T>, before: (node: T) => readonly T[]) {
  const sorted: T[] = [];
  const cycles: T[][] = [];
  const done = new Set<T>();
  /** The path from the root to the current node: each node with its predecessors and the number of visited ones. */
  const path: { node: T; earlier: readonly T[]; seen: number }[] = [];
  const open = new Set<T>();
  const enter = (node: T) => {
    const earlier = before(node);
    if (earlier.length === 0) return finish(node);
    path.push({ node, earlier, seen: 0 });
    open.add(node);
  };
  const finish = (node: T) => {
    done.add(node);
    sorted.push(node);
  };
  for (const root of nodes) {
    if (!done.has(root)) enter(root);
    while (path.length > 0) {
      const here = path.at(-1)!;
      if (here.seen === here.earlier.length) {
        path.pop();
        open.delete(here.node);
        finish(here.node);
        continue;
      }
      const next = here.earlier[here.seen++]!;
      if (open.has(next)) cycles.push(path.slice(path.findIndex(({ node }) => node === next)).map(({ node }) => node));
      else if (!done.has(next)) enter(next);
    }
  }
  return { sorted, cycles };
}
