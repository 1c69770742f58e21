/** The matrix combinations of a step: its own dimensions, and those of every step that it refers to without `[*]`. */
import type { Json } from '../step.ts';
import { didYouMean } from '../suggest.ts';
import { canonicalJson, cellName, onlyDiffer, placeKey } from './cell-name.ts';
import type { Draft, Drafts } from './cells.ts';
import { template } from './expression.ts';
import { expressionsIn, fill, UNKNOWN } from './fill.ts';
import { isMap, opened, plain, type Tree } from './literal.ts';
import { type Combination, combinations, dimensionsOf, join } from './matrix.ts';
import type { Place } from './place.ts';
import type { Reading } from './reading.ts';
import type { Path } from './source.ts';
import type { Step } from './steps.ts';

export interface Point {
  matrix: Record<string, Tree>;
  /** The position of each value. */
  places: Map<string, Place>;
  /** The cells that it reads and inherits its values from. */
  parents: Map<Step, Draft>;
  /** An error hides its real dimensions. */
  broken: boolean;
}

const NOWHERE: Point = { matrix: {}, places: new Map(), parents: new Map(), broken: true };
/** The only combination of a step without an own or inherited matrix. */
const ALONE: Point[] = [{ ...NOWHERE, broken: false }];

/** Returns at least one combination, also after an error, so that the rest of the step is still checked. */
export function pointsOf(step: Step, drafts: Drafts, reading: Reading): Point[] {
  const inherited = inherit(step, drafts, reading);
  const own = ownCombinations(step, reading);
  const broken = step.faulty.has('matrix');
  const points =
    own === undefined ? inherited.map((point) => ({ ...point, broken: point.broken || broken })) : cross(step, inherited, own, reading);
  step.dimensions = dimensionsOf(points.map(({ matrix }) => matrix));
  checkPlaces(step, points, reading);
  if (!points.some(({ broken }) => broken)) checkReferences(step, step.dimensions, reading);
  return points;
}

function inherit(step: Step, drafts: Drafts, reading: Reading): Point[] {
  let points = ALONE;
  for (const parent of step.parents) {
    const cells = drafts.get(parent);
    if (!cells) return [NOWHERE]; // part of a cycle
    points = join(
      points,
      (point) => point.matrix,
      cells,
      ({ cell }) => cell.matrix,
    ).map(([point, draft]) => ({
      matrix: { ...point.matrix, ...draft.point.matrix },
      places: new Map([...point.places, ...draft.point.places]),
      parents: new Map([...point.parents, [parent, draft]]),
      broken: point.broken || draft.point.broken,
    }));
  }
  if (points.length > 0) return points;
  const names = [...step.parents].map(({ name }) => name).join(' and ');
  const message = `step "${step.name}" has no cells, because the matrices of ${names} have no values in common`;
  reading.report(step.path, message, 'Dimensions of the same name are joined on equal values.', 'key');
  return [NOWHERE];
}

/** Undefined if the step has no matrix or an invalid one. */
function ownCombinations(step: Step, reading: Reading): Combination[] | undefined {
  const { matrix } = step.body;
  if (matrix === undefined || step.faulty.has('matrix')) return undefined;
  const say = ({ path, at, message, hint }: { path: Path; at: 'key' | 'value'; message: string; hint?: string }) => {
    const where = traced(step, ['matrix', ...path], reading);
    reading.problems.add(where.source.diagnostic(where.path, at, message, hint));
    step.faulty.add('matrix');
  };
  const found = fill(matrix, [...step.path, 'matrix'], {
    look: ({ reference }) => (reference?.kind === 'params' ? reading.params.value(reference.keys) : UNKNOWN),
    wrong: (expression, path, message, hint) => reading.report(path, message, hint, 'value', expression.whole),
  });
  const filled = found === UNKNOWN ? found : openedMatrix(found);
  if (filled === UNKNOWN) step.faulty.add('matrix');
  else if (expressionsIn(matrix, []).length > 0) {
    // Values from parameters have not been checked yet.
    for (const mistake of reading.checkStep({ matrix: plain(filled) })) say({ ...mistake, path: mistake.path.slice(1) });
  }
  if (step.faulty.has('matrix')) return undefined;
  const { found: own, mistakes } = combinations(filled as Record<string, Tree>);
  mistakes.forEach(say);
  return mistakes.length > 0 ? undefined : own;
}

/** Parses typed lists and maps, because a matrix consists of them. Their values stay as typed. */
function openedMatrix(tree: Tree): Tree {
  const matrix = opened(tree);
  if (!isMap(matrix)) return matrix;
  const entries = Object.entries(matrix).map(([key, value]) => {
    const list = opened(value);
    return [key, Array.isArray(list) && (key === 'include' || key === 'exclude') ? list.map(opened) : list] as const;
  });
  return Object.fromEntries(entries);
}

function cross(step: Step, inherited: Point[], own: Combination[], reading: Reading): Point[] {
  const taken = dimensionsOf(inherited.map(({ matrix }) => matrix));
  const twice = [...new Set(own.flatMap((combination) => [...combination.keys()]))].filter((name) => taken.has(name));
  for (const name of twice) {
    const [from] = [...step.parents].filter((parent) =>
      inherited.some(({ parents }) => Object.hasOwn(parents.get(parent)?.cell.matrix ?? {}, name)),
    );
    const path = own.find((combination) => combination.has(name))!.get(name)!.path;
    const key = path[0] === 'include' ? path : [name];
    const message = `this step already inherits the dimension "${name}" from step "${from?.name}"`;
    reading.report([...step.path, 'matrix', ...key], message, 'Remove it, or give it another name.', 'key');
  }
  if (twice.length > 0) return [NOWHERE];
  const traces = own.map((combination) =>
    [...combination].map(([name, { path }]) => [name, traced(step, ['matrix', ...path], reading)] as const),
  );
  const values = own.map((combination) => Object.fromEntries([...combination].map(([name, { value }]) => [name, value])));
  return inherited.flatMap((point) =>
    own.map((_, i) => ({ ...point, matrix: { ...point.matrix, ...values[i] }, places: new Map([...point.places, ...traces[i]!]) })),
  );
}

/** Reports cells whose names some file systems treat as one, because their outputs and logs would share a folder. */
function checkPlaces(step: Step, points: Point[], reading: Reading): void {
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
      reading.problems.add(place.source.diagnostic(place.path, 'value', message, SHARED));
    }
    step.faulty.add('matrix');
  }
}

/** The hint for such names. */
export const SHARED = 'macOS and Windows may treat them as the same name. Rename one of them.';

/** Reports `matrix.k` if no cell of the step has a dimension `k`. */
function checkReferences(step: Step, names: ReadonlySet<string>, reading: Reading): void {
  for (const { expression, path } of step.references) {
    const { reference } = expression;
    if (reference?.kind !== 'matrix' || names.has(reference.keys[0]!)) continue;
    const hint =
      names.size === 0 ? 'This step neither has nor inherits a matrix.' : didYouMean(reference.keys[0]!, names, 'dimensions of this step');
    reading.report(path, `there is no matrix.${reference.keys[0]}`, hint, 'value', expression.names[0]);
  }
}

/** The position of a value of a step, following references to `params` and `matrix` to its origin. */
export function traced(step: Step, path: Path, reading: Reading, places?: Map<string, Place>): Place {
  let value: Tree | undefined = step.body;
  for (let depth = 0; depth <= path.length; depth++) {
    if (typeof value === 'string') {
      const reference = template(value)?.single?.reference;
      const rest = path.slice(depth);
      if (reference?.kind === 'params') return reading.params.place([...reference.keys, ...rest]);
      const from = reference?.kind === 'matrix' ? places?.get(reference.keys[0]!) : undefined;
      if (from && reference?.kind === 'matrix') return { source: from.source, path: [...from.path, ...reference.keys.slice(1), ...rest] };
    }
    const key = path[depth];
    value =
      key !== undefined && (isMap(value) || Array.isArray(value)) && Object.hasOwn(value, key)
        ? (value as Record<string, Tree>)[key]
        : undefined;
  }
  return { source: reading.source, path: [...step.path, ...path] };
}
