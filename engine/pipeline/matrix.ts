/**
 * The matrix combinations of a step: its own dimensions, with `include` and `exclude` as in GitHub Actions, and those of every step
 * that it refers to without `[*]`.
 */

import { cellName, onlyDiffer, placeKey, SHARED } from '../contract/cell.ts';
import { didYouMean } from '../format/did-you-mean.ts';
import { canonicalJson, type Json } from '../format/scalars.ts';
import type { Draft, Drafts, ParseContext, Point, Step } from './drafts.ts';
import { expressionsIn, resolveExpressions, template, UNKNOWN } from './interpolate.ts';
import { isTreeMap, opened, plain, type Tree } from './literals.ts';
import { displayValue, dotted, type Mistake } from './schema-check.ts';
import type { Path, SourcePath } from './source.ts';

const NOWHERE: Point = { matrix: {}, places: new Map(), parents: new Map(), broken: true };
/** The only combination of a step without an own or inherited matrix. */
const ALONE: Point[] = [{ ...NOWHERE, broken: false }];

/** Returns at least one combination, also after an error, so that the rest of the step is still checked. */
export function pointsOf(step: Step, drafts: Drafts, context: ParseContext): Point[] {
  const inherited = inheritedPoints(step, drafts, context);
  const own = ownCombinations(step, context);
  const broken = step.faulty.has('matrix');
  const points =
    own === undefined
      ? inherited.map((point) => ({ ...point, broken: point.broken || broken }))
      : crossWithOwn(step, inherited, own, context);
  step.dimensions = dimensionsOf(points.map(({ matrix }) => matrix));
  checkNamesDiffer(step, points, context);
  if (!points.some(({ broken }) => broken)) checkReferences(step, step.dimensions, context);
  return points;
}

function inheritedPoints(step: Step, drafts: Drafts, context: ParseContext): Point[] {
  let points = ALONE;
  for (const parent of step.parents) {
    const cells = drafts.get(parent);
    if (!cells) return [NOWHERE]; // part of a cycle
    points = joinOnSharedDimensions(points, cells).map(([point, draft]) => ({
      matrix: { ...point.matrix, ...draft.point.matrix },
      places: new Map([...point.places, ...draft.point.places]),
      parents: new Map([...point.parents, [parent, draft]]),
      broken: point.broken || draft.point.broken,
    }));
  }
  if (points.length > 0) return points;
  const names = [...step.parents].map(({ name }) => name).join(' and ');
  const message = `step "${step.name}" has no cells, because the matrices of ${names} have no values in common`;
  context.report(step.path, message, 'Dimensions of the same name are joined on equal values.', 'key');
  return [NOWHERE];
}

/** Undefined if the step has no matrix or an invalid one. */
function ownCombinations(step: Step, context: ParseContext): Combination[] | undefined {
  const { matrix } = step.body;
  if (matrix === undefined || step.faulty.has('matrix')) return undefined;
  const report = ({ path, at, message, hint }: MatrixMistake) => {
    const where = locateValue(step, ['matrix', ...path], context);
    context.problems.add(where.source.diagnostic(where.path, at, message, hint));
    step.faulty.add('matrix');
  };
  const found = resolveExpressions(matrix, [...step.path, 'matrix'], {
    evaluate: ({ reference }) => (reference?.kind === 'params' ? context.params.value(reference.keys) : UNKNOWN),
    reportExpression: (expression, path, message, hint) => context.report(path, message, hint, 'value', expression.whole),
  });
  const filled = found === UNKNOWN ? found : openedMatrix(found);
  if (filled === UNKNOWN) step.faulty.add('matrix');
  else if (expressionsIn(matrix, []).length > 0) {
    // Values from parameters have not been checked yet.
    for (const mistake of context.checkStep({ matrix: plain(filled) })) report({ ...mistake, path: mistake.path.slice(1) });
  }
  if (step.faulty.has('matrix')) return undefined;
  const { found: own, mistakes } = combinations(filled as Record<string, Tree>);
  mistakes.forEach(report);
  return mistakes.length > 0 ? undefined : own;
}

/** Parses typed lists and maps, because a matrix consists of them. Their values stay as typed. */
function openedMatrix(tree: Tree): Tree {
  const matrix = opened(tree);
  if (!isTreeMap(matrix)) return matrix;
  const entries = Object.entries(matrix).map(([key, value]) => {
    const list = opened(value);
    return [key, Array.isArray(list) && (key === 'include' || key === 'exclude') ? list.map(opened) : list] as const;
  });
  return Object.fromEntries(entries);
}

function crossWithOwn(step: Step, inherited: Point[], own: Combination[], context: ParseContext): Point[] {
  const taken = dimensionsOf(inherited.map(({ matrix }) => matrix));
  const twice = [...new Set(own.flatMap((combination) => [...combination.keys()]))].filter((name) => taken.has(name));
  for (const name of twice) {
    const [from] = [...step.parents].filter((parent) =>
      inherited.some(({ parents }) => Object.hasOwn(parents.get(parent)?.cell.matrix ?? {}, name)),
    );
    const path = own.find((combination) => combination.has(name))!.get(name)!.path;
    const key = path[0] === 'include' ? path : [name];
    const message = `this step already inherits the dimension "${name}" from step "${from?.name}"`;
    context.report([...step.path, 'matrix', ...key], message, 'Remove it, or give it another name.', 'key');
  }
  if (twice.length > 0) return [NOWHERE];
  const traces = own.map((combination) =>
    [...combination].map(([name, { path }]) => [name, locateValue(step, ['matrix', ...path], context)] as const),
  );
  const values = own.map((combination) => Object.fromEntries([...combination].map(([name, { value }]) => [name, value])));
  return inherited.flatMap((point) =>
    own.map((_, i) => ({ ...point, matrix: { ...point.matrix, ...values[i] }, places: new Map([...point.places, ...traces[i]!]) })),
  );
}

/** Reports cells whose names some file systems treat as one, because their outputs and logs would share a folder. */
function checkNamesDiffer(step: Step, points: Point[], context: ParseContext): void {
  if (points.length < 2) return;
  const seen = new Map<string, Point>();
  for (const point of points) {
    const key = placeKey(cellName('', plain(point.matrix) as Record<string, Json>));
    const other = seen.get(key);
    if (!other) {
      seen.set(key, point);
      continue;
    }
    const texts = (name: string) => [other, point].map(({ matrix }) => canonicalJson(plain(matrix[name] ?? null)));
    for (const [name, place] of point.places) {
      const [one, two] = texts(name) as [string, string];
      if (one === two) continue;
      const message = `the values ${one} and ${two} of "${name}" ${onlyDiffer(one, two)}`;
      context.problems.add(place.source.diagnostic(place.path, 'value', message, SHARED));
    }
    step.faulty.add('matrix');
  }
}

/** Reports `matrix.k` if no cell of the step has a dimension `k`. */
function checkReferences(step: Step, names: ReadonlySet<string>, context: ParseContext): void {
  for (const { expression, path } of step.references) {
    const { reference } = expression;
    if (reference?.kind !== 'matrix' || names.has(reference.keys[0]!)) continue;
    const hint =
      names.size === 0 ? 'This step neither has nor inherits a matrix.' : didYouMean(reference.keys[0]!, names, 'dimensions of this step');
    context.report(path, `there is no matrix.${reference.keys[0]}`, hint, 'value', expression.names[0]);
  }
}

/** One combination: the value of each dimension, with its position below `matrix`. */
type Combination = Map<string, { value: Tree; path: Path }>;

type MatrixMistake = Omit<Mistake, 'rule' | 'found'>;

type TreeMap = Record<string, Tree>;

/** Maximum number of cells, so that a matrix that is multiplied by mistake does not fill the memory. */
const MOST_CELLS = 100_000;

/** `matrix` has passed the schema, so its dimensions are lists of scalars and maps. */
export function combinations(matrix: TreeMap): { found: Combination[]; mistakes: MatrixMistake[] } {
  const mistakes: MatrixMistake[] = [];
  const wrong = (path: Path, at: 'key' | 'value', message: string, hint: string) => mistakes.push({ path, at, message, hint });
  const dimensions = Object.entries(matrix).filter(([key]) => key !== 'include' && key !== 'exclude') as [string, Tree[]][];
  const names = dimensions.map(([name]) => name);
  for (const [name, values] of dimensions) checkDistinct(name, values, wrong);

  const count = dimensions.reduce((product, [, values]) => product * values.length, 1);
  if (count > MOST_CELLS) {
    wrong([], 'key', `this matrix has ${count} combinations; the maximum is ${MOST_CELLS}`, 'Remove values or exclude combinations.');
    return { found: [], mistakes };
  }
  const excluded = excludes(matrix.exclude as TreeMap[] | undefined, names, wrong);
  const original = (dimensions.length > 0 ? product(dimensions) : []).filter((combination) => !excluded(combination));
  const found = included(matrix.include as TreeMap[] | undefined, original, names);
  if (found.length === 0 && mistakes.length === 0)
    wrong([], 'key', 'this matrix has no combinations', '`exclude` removes every combination. Exclude fewer, or add some with `include`.');
  const seen = new Set<string>();
  for (const combination of found) {
    const id = canonicalJson(plain(Object.fromEntries([...combination].map(([key, { value }]) => [key, value]))));
    const last = [...combination.values()].at(-1)!;
    if (seen.has(id) && mistakes.length === 0)
      wrong(last.path.slice(0, -1), 'value', 'this entry duplicates an existing combination', 'Remove it.');
    seen.add(id);
  }
  return { found, mistakes };
}

type Wrong = (path: Path, at: 'key' | 'value', message: string, hint: string) => void;

function checkDistinct(name: string, values: Tree[], wrong: Wrong): void {
  const seen = new Set<string>();
  for (const [i, value] of values.entries()) {
    const id = canonicalJson(plain(value));
    if (seen.has(id))
      wrong([name, i], 'value', `${displayValue(value)} occurs twice in "${name}"`, 'Each value makes its own cell. Remove one of them.');
    seen.add(id);
  }
}

/** The product of the dimensions. The first dimension varies slowest. */
function product(dimensions: [string, Tree[]][]): Combination[] {
  return dimensions.reduce<Combination[]>(
    (all, [name, values]) =>
      all.flatMap((combination) => values.map((value, i) => new Map([...combination, [name, { value, path: [name, i] }]]) as Combination)),
    [new Map()],
  );
}

/** An entry excludes a combination that matches all its keys. A list in an entry matches any of its values. */
function excludes(entries: TreeMap[] = [], names: string[], wrong: Wrong): (combination: Combination) => boolean {
  for (const [i, entry] of entries.entries()) {
    for (const key of Object.keys(entry)) {
      if (!names.includes(key))
        wrong(['exclude', i, key], 'key', `"${key}" is not a dimension of this matrix`, didYouMean(key, names, 'dimensions'));
    }
  }
  const agrees = (wanted: Tree, value: Tree): boolean => {
    if (Array.isArray(wanted)) return wanted.some((one) => agrees(one, value));
    if (!isTreeMap(wanted) || !isTreeMap(value)) return canonicalJson(plain(wanted)) === canonicalJson(plain(value));
    return Object.entries(wanted).every(([key, inner]) => Object.hasOwn(value, key) && agrees(inner, value[key]!));
  };
  return (combination) =>
    entries.some((entry) =>
      Object.entries(entry).every(([key, wanted]) => combination.has(key) && agrees(wanted, combination.get(key)!.value)),
    );
}

/**
 * An entry adds its keys to every original combination whose values it does not change. If there is none, the entry is a new
 * combination. A later entry may change values that an earlier entry added.
 */
function included(entries: TreeMap[] = [], original: Combination[], names: string[]): Combination[] {
  const alone: Combination[] = [];
  for (const [i, entry] of entries.entries()) {
    const values = Object.entries(entry).map(([key, value]) => [key, { value, path: ['include', i, key] as Path }] as const);
    const fixed = values.filter(([key]) => names.includes(key)).map(([key, { value }]) => [key, canonicalJson(plain(value))] as const);
    const matching = original.filter((combination) => fixed.every(([key, id]) => canonicalJson(plain(combination.get(key)!.value)) === id));
    for (const combination of matching) for (const [key, value] of values) if (!names.includes(key)) combination.set(key, value);
    if (matching.length === 0) alone.push(new Map(values));
  }
  return [...original, ...alone];
}

/**
 * All pairs of a point and a cell that agree on their common dimensions; every pair if there are none.
 * If only some combinations have a dimension (by `include`), its absence matches only absence.
 */
function joinOnSharedDimensions(points: Point[], cells: Draft[]): [Point, Draft][] {
  const ofCells = dimensionsOf(cells.map(({ cell }) => cell.matrix));
  const shared = [...dimensionsOf(points.map(({ matrix }) => matrix))].filter((name) => ofCells.has(name));
  const id = (matrix: TreeMap) => shared.map((name) => (Object.hasOwn(matrix, name) ? canonicalJson(plain(matrix[name]!)) : '')).join('\n');
  const index = Map.groupBy(cells, ({ cell }) => id(cell.matrix));
  return points.flatMap((point) => (index.get(id(point.matrix)) ?? []).map((cell): [Point, Draft] => [point, cell]));
}

function dimensionsOf(matrices: TreeMap[]): Set<string> {
  return new Set(matrices.flatMap((matrix) => Object.keys(matrix)));
}

/** The value that the keys of a reference select, or the index `depth` of the first missing key. */
export function matrixValue(matrix: TreeMap, keys: string[]): { value: Tree } | { depth: number; missing: string; hint: string } {
  let value: Tree = matrix;
  for (const [depth, key] of keys.entries()) {
    const so = dotted(['matrix', ...keys.slice(0, depth)]);
    if (!isTreeMap(value))
      return { depth, missing: `${so} is ${displayValue(value)}, which has no "${key}"`, hint: `Write \${{ ${so} }}.` };
    if (!Object.hasOwn(value, key)) {
      return {
        depth,
        missing: `there is no ${so}.${key}`,
        hint: didYouMean(key, Object.keys(value), depth === 0 ? 'dimensions' : `${so} has`),
      };
    }
    value = value[key]!;
  }
  return { value };
}

/** The position of a value of a step, following references to `params` and `matrix` to its origin. */
export function locateValue(step: Step, path: Path, context: ParseContext, places?: Map<string, SourcePath>): SourcePath {
  let value: Tree | undefined = step.body;
  for (let depth = 0; depth <= path.length; depth++) {
    if (typeof value === 'string') {
      const reference = template(value)?.single?.reference;
      const rest = path.slice(depth);
      if (reference?.kind === 'params') return context.params.place([...reference.keys, ...rest]);
      const from = reference?.kind === 'matrix' ? places?.get(reference.keys[0]!) : undefined;
      if (from && reference?.kind === 'matrix') return { source: from.source, path: [...from.path, ...reference.keys.slice(1), ...rest] };
    }
    const key = path[depth];
    value =
      key !== undefined && (isTreeMap(value) || Array.isArray(value)) && Object.hasOwn(value, key)
        ? (value as Record<string, Tree>)[key]
        : undefined;
  }
  return { source: context.source, path: [...step.path, ...path] };
}
