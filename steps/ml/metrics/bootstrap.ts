/**
 * Confidence intervals by the bootstrap (Efron & Tibshirani 1993): the metrics are computed again on samples that are
 * drawn from the examples with replacement. Examples, or whole groups of examples, are drawn, but never tokens or
 * windows, which are not independent of each other. The intervals equal those of scipy.stats.bootstrap on the same samples.
 */

import { random, shuffle } from '../models/random.ts';
import { mean, quantile, total } from './counts.ts';
import { normalCdf, normalQuantile } from './distributions.ts';

/** `percentile`: quantiles of the samples' values. `bca`: the same, corrected for bias and skewness (Efron 1987). */
export type IntervalMethod = 'bca' | 'percentile';

export interface BootstrapOptions {
  resamples: number;
  /** Such as 0.95. */
  level: number;
  method: IntervalMethod;
  seed: number;
}

/** What is drawn. */
export interface Units {
  /** Indices of the examples. */
  rows: Int32Array;
  /** The group of each example, by its index: examples of a group are drawn together. */
  groups?: ArrayLike<number>;
  /** The stratum of each example, by its index: as many are drawn from each stratum as it has. It has no effect on groups. */
  strata?: ArrayLike<number>;
}

/** `low` and `high` are NaN if the interval is undefined; `why` is the reason. */
export interface Interval {
  low: number;
  high: number;
  why?: string;
  /** The share of the samples on which the metric is defined, unless it is defined on all of them. */
  usable?: number;
  /** The strata leave almost nothing of how much the metric varies. */
  narrow?: true;
}

/** The metrics of some examples, by name. `rows` is only valid during the call. */
export type MetricsOf = (rows: Int32Array) => Record<string, number>;

export interface Bootstrapped {
  /** Of the examples themselves. */
  value: number;
  interval: Interval;
  /** The values of the metric on the bootstrap samples. */
  replicates: number[];
}

/** The interval of each metric, by name. */
export function bootstrap(metricsOf: MetricsOf, units: Units, options: BootstrapOptions): Record<string, Bootstrapped> {
  const observed = Object.entries(metricsOf(units.rows));
  const strata = strataOf(units);
  if (total(strata.map(unitsIn)) < 2)
    return Object.fromEntries(
      observed.map(([name, value]) => [name, { value, interval: undefinedBecause(tooFew(units)), replicates: [] }]),
    );
  const replicates = table(resamples(strata, options), metricsOf);
  const needsJackknife = options.method === 'bca' || strata.length > 1;
  const jackknife = needsJackknife ? strata.map((_, s) => table(leftOut(strata, s, options), metricsOf)) : [];
  const sizes = strata.map((_, s) => blockEnds(strata, s, options.method).map((end, b, ends) => end - (ends[b - 1] ?? 0)));
  const result = ([name, value]: [string, number]): [string, Bootstrapped] => {
    const [own, withoutOne] = [replicates.get(name)!, jackknife.map((values) => values.get(name) ?? [])];
    const interval = intervalOf(value, own, withoutOne, options);
    const away = isStratifiedAway(
      withoutOne.map((values, s) => ({ values, sizes: sizes[s]! })),
      value,
    );
    return [name, { value, interval: away ? stratifiedAway(interval) : interval, replicates: own }];
  };
  return Object.fromEntries(observed.map(result));
}

const tooFew = ({ groups, rows }: Units): string =>
  `it needs at least two ${groups ? 'groups' : 'examples'}, and there is ${rows.length === 0 ? 'none' : 'one'}`;

const undefinedBecause = (why: string): Interval => ({ low: Number.NaN, high: Number.NaN, why });

/** Below this share of the variance, an interval is more than five times narrower than without strata. */
const LEAST_WITHIN = 0.04;

/** A metric without each block of units of a stratum, in turn. */
interface LeftOut {
  values: number[];
  /** The units in each block. */
  sizes: number[];
}

/**
 * Whether a metric varies only, or almost only, between the strata. Estimated from how much each unit moves it. A block of m units
 * moves it m times as far as one if all are alike, but only √m times as far if they differ by chance, so the sizes count.
 */
function isStratifiedAway(strata: LeftOut[], observed: number): boolean {
  if (strata.length < 2) return false;
  const parts = strata.map((own) => influenceOf(own, observed)).filter(({ units }) => units > 0);
  const units = total(parts.map((part) => part.units));
  const centre = total(parts.map((part) => part.units * part.mean)) / units;
  const within = total(parts.map((part) => part.within));
  const between = total(parts.map((part) => part.units * (part.mean - centre) ** 2));
  return within + between > units * toleranceOf(observed) ** 2 && within < LEAST_WITHIN * (within + between);
}

/** How far one unit of a stratum moves the metric on average, and the sum of the squares of the differences from it. */
function influenceOf({ values, sizes }: LeftOut, observed: number): { units: number; mean: number; within: number } {
  const blocks = values.flatMap((value, b) => (Number.isFinite(value) ? [{ size: sizes[b]!, moved: (value - observed) / sizes[b]! }] : []));
  const units = total(blocks.map(({ size }) => size));
  const centre = total(blocks.map(({ size, moved }) => size * moved)) / units;
  const squares = total(blocks.map(({ size, moved }) => size * (moved - centre) ** 2));
  return { units, mean: centre, within: blocks.length < 2 ? 0 : (squares * (units - 1)) / (blocks.length - 1) };
}

function stratifiedAway(interval: Interval): Interval {
  if (interval.why === undefined) return { ...interval, narrow: true };
  return interval.why.startsWith(SAME)
    ? undefinedBecause(
        `${SAME}, because each has as many examples of each label as the split, and the predictions do not vary within a label; use \`intervals: { stratify: false }\``,
      )
    : interval;
}

const SAME = 'all bootstrap samples have the same value';

/** Sums in another order may differ in the last bits. */
const toleranceOf = (value: number): number => 1e-12 * Math.max(1, Math.abs(value));

/** At most this share of the samples may have no value; otherwise the rest would say too little about the metric. */
const MOST_UNDEFINED = 0.05;

/**
 * The interval of a metric from its values on bootstrap samples and, for `bca`, on the examples without one unit, for
 * each stratum.
 */
export function intervalOf(
  observed: number,
  replicates: ArrayLike<number>,
  jackknife: ArrayLike<number>[],
  { level, method }: Pick<BootstrapOptions, 'level' | 'method'>,
): Interval {
  if (!Number.isFinite(observed)) return undefinedBecause('the metric itself is undefined');
  const sorted = Float64Array.from(replicates).filter(Number.isFinite).sort();
  const usable = sorted.length / replicates.length;
  if (replicates.length - sorted.length > MOST_UNDEFINED * replicates.length)
    return { ...undefinedBecause(`the metric is undefined on ${(100 * (1 - usable)).toFixed(0)}% of the bootstrap samples`), usable };
  const tolerance = toleranceOf(observed);
  if (sorted.at(-1)! - sorted[0]! <= tolerance) return undefinedBecause(`${SAME}, so they do not show how far it may be from the true one`);
  const tail = (1 - level) / 2;
  const shares =
    method === 'bca' ? correctedShares(tail, shareBelow(sorted, observed, tolerance), acceleration(jackknife)) : [tail, 1 - tail];
  if (shares.some(Number.isNaN))
    return undefinedBecause(
      `all bootstrap samples are on one side of the value, where ${method} has no interval; use \`method: percentile\``,
    );
  const [low, high] = shares.map((share) => quantile(sorted, share)) as [number, number];
  return { low, high, ...(usable < 1 && { usable }) };
}

/** The share of values below `value`, of which equal ones count half. */
function shareBelow(sorted: Float64Array, value: number, tolerance: number): number {
  let count = 0;
  for (const one of sorted) count += one < value - tolerance ? 1 : one <= value + tolerance ? 0.5 : 0;
  return count / sorted.length;
}

/** The quantiles that `bca` takes instead of `tail` and 1 − `tail`; NaN if the bias is infinite. */
function correctedShares(tail: number, below: number, acceleration: number): number[] {
  const bias = normalQuantile(below);
  return [normalQuantile(tail), -normalQuantile(tail)].map((z) => normalCdf(bias + (bias + z) / (1 - acceleration * (bias + z))));
}

/** The skewness of the influence of single units, as scipy.stats.bootstrap computes it for several samples. */
function acceleration(jackknife: ArrayLike<number>[]): number {
  let [cubes, squares] = [0, 0];
  for (const values of jackknife.map((all) => Array.from(all).filter(Number.isFinite))) {
    const centre = mean(values);
    const influences = values.map((value) => ((values.length - 1) / values.length) * (centre - value));
    cubes += total(influences.map((u) => u ** 3));
    squares += total(influences.map((u) => u ** 2));
  }
  return squares === 0 ? 0 : cubes / squares ** 1.5 / 6;
}

/* Which examples are in a sample. */

/** Units that are drawn together: the rows of unit u are rows[begins[u]] to rows[begins[u + 1] − 1]. Without `begins` a unit is a row. */
interface Stratum {
  rows: Int32Array;
  begins?: Int32Array;
}

const unitsIn = ({ rows, begins }: Stratum): number => (begins ? begins.length - 1 : rows.length);

function strataOf({ rows, groups, strata }: Units): Stratum[] {
  if (groups) return [grouped(rows, groups)];
  if (!strata) return [{ rows }];
  return [...Map.groupBy(rows, (row) => strata[row]!).entries()]
    .sort(([a], [b]) => a - b)
    .map(([, own]) => ({ rows: Int32Array.from(own) }));
}

function grouped(rows: Int32Array, groups: ArrayLike<number>): Stratum {
  const units = [...Map.groupBy(rows, (row) => groups[row]!).values()];
  const begins = new Int32Array(units.length + 1);
  units.forEach((unit, u) => {
    begins[u + 1] = begins[u]! + unit.length;
  });
  return { rows: Int32Array.from(units.flat()), begins };
}

/** Bootstrap samples. Each is only valid until the next one. */
function* resamples(strata: Stratum[], { resamples, seed }: Pick<BootstrapOptions, 'resamples' | 'seed'>): Generator<Int32Array> {
  const uniform = random('bootstrap', seed);
  const size = total(strata.map(({ rows }) => rows.length));
  let sample = new Int32Array(size);
  for (let r = 0; r < resamples; r++) {
    let length = 0;
    for (const { rows, begins } of strata) {
      if (!begins) {
        const count = rows.length;
        for (let i = 0; i < count; i++) sample[length++] = rows[Math.floor(uniform() * count)]!;
        continue;
      }
      const count = begins.length - 1;
      for (let i = 0; i < count; i++) {
        const unit = Math.floor(uniform() * count);
        const own = rows.subarray(begins[unit]!, begins[unit + 1]!);
        if (length + own.length > sample.length) sample = enlarged(sample, length + own.length);
        sample.set(own, length);
        length += own.length;
      }
    }
    yield length === sample.length ? sample : sample.subarray(0, length);
  }
}

/** With room for more numbers. */
export function enlarged(sample: Int32Array, least: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(least, 2 * sample.length));
  larger.set(sample);
  return larger;
}

/** With more units than this, blocks of units are left out: their influences have the same skewness, up to chance. */
const MOST_LEFT_OUT = 1000;

/** By chance, the acceleration is off by about 1 / (6 × 200) × √6 = 0.002, which moves an end of an interval by 0.01 standard errors. */
const BLOCKS = 200;

/** All examples without one unit, or one block of units, of stratum `s`, for each of them. */
function* leftOut(strata: Stratum[], s: number, { seed, method }: Pick<BootstrapOptions, 'seed' | 'method'>): Generator<Int32Array> {
  const own = strata[s]!;
  const ends = blockEnds(strata, s, method);
  const { rows, begins } = ends.length < unitsIn(own) ? shuffled(own, seed) : own;
  const others = strata.filter((_, k) => k !== s).map((stratum) => stratum.rows);
  const rest = new Int32Array(total(others.map((one) => one.length)) + rows.length);
  let length = 0;
  for (const other of others) {
    rest.set(other, length);
    length += other.length;
  }
  for (let b = 0; b < ends.length; b++) {
    const [from, to] = [ends[b - 1] ?? 0, ends[b]!];
    const [begin, end] = begins ? [begins[from]!, begins[to]!] : [from, to];
    rest.set(rows.subarray(0, begin), length);
    rest.set(rows.subarray(end), length + begin);
    yield rest.subarray(0, length + rows.length - (end - begin));
  }
}

/** Where each block of units of stratum `s` ends. A single unit is not left out. */
function blockEnds(strata: Stratum[], s: number, method: IntervalMethod): number[] {
  const units = unitsIn(strata[s]!);
  if (units < 2) return [];
  const all = total(strata.map(unitsIn));
  const most = method === 'bca' ? MOST_LEFT_OUT : BLOCKS;
  const blocks = all <= most ? units : Math.max(2, Math.min(units, Math.round((units * BLOCKS) / all)));
  return Array.from({ length: blocks }, (_, b) => Math.floor(((b + 1) * units) / blocks));
}

/** The same units in a random order. */
function shuffled({ rows, begins }: Stratum, seed: number): Stratum {
  const uniform = random('jackknife', seed);
  if (!begins) return { rows: shuffle(rows.slice(), uniform) };
  const order = shuffle(
    Int32Array.from({ length: begins.length - 1 }, (_, u) => u),
    uniform,
  );
  const mixed = { rows: new Int32Array(rows.length), begins: new Int32Array(begins.length) };
  order.forEach((unit, u) => {
    const own = rows.subarray(begins[unit]!, begins[unit + 1]!);
    mixed.rows.set(own, mixed.begins[u]!);
    mixed.begins[u + 1] = mixed.begins[u]! + own.length;
  });
  return mixed;
}

/** The values of each metric on these samples. */
function table(samples: Iterable<Int32Array>, metricsOf: MetricsOf): Map<string, number[]> {
  const values = new Map<string, number[]>();
  for (const sample of samples)
    for (const [name, value] of Object.entries(metricsOf(sample))) {
      const own = values.get(name);
      if (own) own.push(value);
      else values.set(name, [value]);
    }
  return values;
}
