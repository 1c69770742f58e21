/** Combinations of a matrix, with `include` and `exclude` as in GitHub Actions, and the inheritance of dimensions between steps. */
import { didYouMean } from '../suggest.ts';
import { canonicalJson } from './cell-name.ts';
import { isMap, plain, type Tree } from './literal.ts';
import type { Path } from './source.ts';
import { dotted, shown } from './validate.ts';

/** One combination: the value of each dimension, with its position below `matrix`. */
export type Combination = Map<string, { value: Tree; path: Path }>;

export interface MatrixMistake {
  path: Path;
  at: 'key' | 'value';
  message: string;
  hint: string;
}

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
      wrong([name, i], 'value', `${shown(value)} occurs twice in "${name}"`, 'Each value makes its own cell. Remove one of them.');
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
    if (!isMap(wanted) || !isMap(value)) return canonicalJson(plain(wanted)) === canonicalJson(plain(value));
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
 * All pairs of `left` and `right` that agree on their common dimensions; every pair if there are none.
 * If only some combinations have a dimension (by `include`), its absence matches only absence.
 */
export function join<L, R>(left: L[], leftMatrix: (one: L) => TreeMap, right: R[], rightMatrix: (one: R) => TreeMap): [L, R][] {
  const inRight = dimensionsOf(right.map(rightMatrix));
  const shared = [...dimensionsOf(left.map(leftMatrix))].filter((name) => inRight.has(name));
  const id = (matrix: TreeMap) => shared.map((name) => (Object.hasOwn(matrix, name) ? canonicalJson(plain(matrix[name]!)) : '')).join('\n');
  const index = new Map<string, R[]>();
  for (const one of right) {
    const key = id(rightMatrix(one));
    const there = index.get(key);
    if (there) there.push(one);
    else index.set(key, [one]);
  }
  return left.flatMap((one) => (index.get(id(leftMatrix(one))) ?? []).map((other) => [one, other] as [L, R]));
}

export function dimensionsOf(matrices: TreeMap[]): Set<string> {
  return new Set(matrices.flatMap((matrix) => Object.keys(matrix)));
}

/** The value that the keys of a reference select, or the index `depth` of the first missing key. */
export function matrixValue(matrix: TreeMap, keys: string[]): { value: Tree } | { depth: number; missing: string; hint: string } {
  let value: Tree = matrix;
  for (const [depth, key] of keys.entries()) {
    const so = dotted(['matrix', ...keys.slice(0, depth)]);
    if (!isMap(value)) return { depth, missing: `${so} is ${shown(value)}, which has no "${key}"`, hint: `Write \${{ ${so} }}.` };
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
