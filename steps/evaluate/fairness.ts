/** Fairness between the groups of a column, with the definitions of fairlearn; undefined values are null, with the reason. */

import { StepError } from '../../engine/contract/step.ts';
import { literal } from '../ml/data/sql.ts';
import { type BootstrapOptions, type Bootstrapped, bootstrap, type Interval, type Units } from '../ml/metrics/bootstrap.ts';
import { extremes } from '../ml/metrics/counts.ts';
import {
  extremeGroups,
  FAIRNESS,
  type FairnessMetric,
  fairnessMetrics,
  type GroupCounts,
  GroupedFlags,
  ratesOf,
} from '../ml/metrics/fairness.ts';
import { endsIn, missingEnds } from '../ml/metrics/intervals.ts';
import type { FairnessFigures, FairnessGroup, FairnessReport } from '../ml/metrics/subgroup-report.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';
import { listed } from '../ml/models/json.ts';
import { EMPTY, type PredictedRows, requireSliceColumn, valueText } from './slice-rows.ts';

interface FairnessOptions {
  group: string | string[];
  positive?: string;
  min_rows?: number;
}

/** What is measured. */
export interface Classifier {
  task: Task;
  problem: ProblemType;
  labels: string[];
  /** The positive label of two. */
  positive: string | undefined;
}

/** The samples of the metrics of the whole split. */
interface Resampling {
  units: Units;
  options: BootstrapOptions;
}

/** Checks the task, the columns and the label. Returns the columns and the positive labels. */
export function checkFairness(
  options: FairnessOptions,
  predictions: Pick<PredictedRows, 'columns' | 'withData'>,
  classifier: Classifier,
): { columns: string[]; positives: string[] } {
  const { task, problem } = classifier;
  if (task !== 'text-classification' || problem === 'regression')
    throw new StepError(
      `\`fairness\` does not apply to ${task === 'text-classification' ? problem : task}`,
      'It needs texts with labels. Remove it.',
      ['fairness'],
    );
  const columns = [options.group].flat();
  for (const column of columns) requireSliceColumn(predictions, column, ['fairness', 'group']);
  return { columns, positives: positivesOf(options, classifier) };
}

/** Without `resampling` there are no intervals. */
export async function measureFairness(
  options: FairnessOptions,
  predictions: PredictedRows,
  classifier: Classifier,
  warn: (message: string) => void,
  resampling?: Resampling,
): Promise<FairnessReport> {
  const { columns, positives } = checkFairness(options, predictions, classifier);
  const { min_rows: least = 1 } = options;
  const key = columns
    .map((column) => valueText(predictions, column))
    .map((value) => `coalesce(CASE ${value} WHEN '' THEN ${literal(EMPTY)} ELSE ${value} END, '(missing)')`)
    .join(" || ' / ' || ");
  const sizes = await predictions.database.rows<{ group: string; rows: number }>(
    `SELECT ${key} AS "group", count(*) AS rows FROM ${predictions.table} GROUP BY ALL ORDER BY ALL`,
  );
  const groups = sizes.filter(({ rows }) => rows >= least);
  const leftOut = sizes.filter(({ rows }) => rows < least);
  const names = groups.map(({ group }) => group);
  const flags = await readFlags(predictions, key, names, positives, classifier);
  const counts = flags.counts()!;
  const intervals = resampling && names.length > 1 ? intervalsIn(flags, resampling) : undefined;
  const labels = Object.fromEntries(
    positives.map((label, k) => [
      label,
      reportOf(
        label,
        names.map((group, g) => ({ group, counts: counts[g]![k]! })),
        least,
        intervals?.ofLabels[k],
      ),
    ]),
  );
  const decided = decidedByFew(groups, counts);
  if (decided) warn(decided);
  return {
    group: columns,
    ...withIntervals(worstOf(labels), intervals?.worst),
    ...(leftOut.length > 0 && { left_out: leftOut }),
    labels,
  };
}

/** Groups with fewer rows say little about a rate. */
const FEW = 10;

/** What the user should know if figures would be others without the groups that have few rows. */
function decidedByFew(groups: { group: string; rows: number }[], counts: GroupCounts[][]): string | undefined {
  const enough = groups.flatMap(({ rows }, g) => (rows >= FEW ? [g] : []));
  if (groups.length < 2 || enough.length === groups.length) return undefined;
  const labels = Array.from(counts[0]!, (_, k) => counts.map((ofGroup) => ratesOf(ofGroup[k]!)));
  const figuresOf = (of: number[]) => labels.map((rates) => fairnessMetrics(of.map((g) => rates[g]!)));
  const [all, without] = [figuresOf(groups.map((_, g) => g)), enough.length < 2 ? [] : figuresOf(enough)];
  const names = NAMES.filter((name) => all.some((figures, k) => !Object.is(figures[name], without[k]?.[name])));
  if (names.length === 0) return undefined;
  const extreme = new Set(
    labels.flatMap((rates) =>
      (['selection_rate', 'true_positive_rate', 'false_positive_rate'] as const).flatMap((rate) =>
        extremeGroups(rates.map((own) => own[rate])),
      ),
    ),
  );
  const few = groups.filter(({ rows }) => rows < FEW);
  const deciding = groups.filter(({ rows }, g) => rows < FEW && extreme.has(g));
  const texts = (deciding.length > 0 ? deciding : few).map(({ group, rows }) => `${group} (${rows} ${rows === 1 ? 'row' : 'rows'})`);
  return `groups with fewer than ${FEW} rows decide ${names.map((name) => `fairness.${name}`).join(', ')}: ${listed(texts, 5)}. \`fairness: { min_rows: ${FEW} }\` leaves them out`;
}

/** The labels that are positive in turn. */
function positivesOf({ positive }: FairnessOptions, classifier: Classifier): string[] {
  const { labels } = classifier;
  if (positive !== undefined) {
    if (labels.includes(positive)) return [positive];
    throw new StepError(`fairness.positive: no label is "${positive}"`, `The labels are ${listed(labels)}.`, ['fairness', 'positive']);
  }
  return classifier.positive === undefined ? labels : [classifier.positive];
}

/** Of the rows in their order. `key`: SQL for the group. */
async function readFlags(
  { database, table }: PredictedRows,
  key: string,
  groups: string[],
  positives: string[],
  { problem }: Classifier,
): Promise<GroupedFlags> {
  const [groupPlaces, labelPlaces] = [groups, positives].map((names) => new Map(names.map((name, place) => [name, place])));
  const flags = new GroupedFlags(groups.length, positives.length);
  const [label, prediction] = problem === 'multi_label_classification' ? ['label', 'prediction'] : ['[label]', '[prediction]'];
  const rows = database.stream<{ key: string; own: string[]; predicted: string[] }>(
    `SELECT ${key} AS key, ${label} AS own, ${prediction} AS predicted FROM ${table}`,
  );
  for await (const chunk of rows)
    for (const { key, own, predicted } of chunk) {
      const known = [...new Set([...own, ...predicted])].filter((name) => labelPlaces!.has(name));
      flags.add(
        groupPlaces!.get(key),
        known.map((name) => [labelPlaces!.get(name)!, own.includes(name), predicted.includes(name)]),
      );
    }
  return flags;
}

type Intervals = Record<FairnessMetric, Interval>;

const NAMES = Object.keys(FAIRNESS) as FairnessMetric[];

const ofNames = <T>(value: (name: FairnessMetric) => T): Record<FairnessMetric, T> =>
  Object.fromEntries(NAMES.map((name) => [name, value(name)])) as Record<FairnessMetric, T>;

/** The larger difference, or the smaller ratio. NaN if one of them is undefined. */
const worst = (name: FairnessMetric, values: number[]): number => extremes(values)[FAIRNESS[name] === 'lower' ? 1 : 0];

/**
 * For each positive label, and for the worst of them. The whole split is drawn, so a group is larger in some samples than
 * in others. In a sample without a row of a group, all figures are undefined.
 */
function intervalsIn(flags: GroupedFlags, { units, options }: Resampling): { ofLabels: Intervals[]; worst: Intervals } {
  const places = Array.from({ length: flags.labels }, (_, k) => k);
  const nothing = ofNames(() => Number.NaN);
  const drawn = bootstrap(
    (rows) => {
      const counts = flags.counts(rows);
      const ofLabels = places.map((k) => (counts ? fairnessMetrics(counts.map((ofGroup) => ratesOf(ofGroup[k]!))) : nothing));
      const worsts = NAMES.map((name): [string, number] => [
        name,
        worst(
          name,
          ofLabels.map((figures) => figures[name]),
        ),
      ]);
      const others = ofLabels.length > 1 ? ofLabels : [];
      return Object.fromEntries([...worsts, ...others.flatMap((figures, k) => NAMES.map((name) => [`${k} ${name}`, figures[name]]))]);
    },
    units,
    { ...options, method: 'percentile' },
  );
  const of = (prefix: string) => ofNames((name) => explained(withValue(drawn[`${prefix}${name}`]!)));
  const all = of('');
  return { ofLabels: places.map((k) => (flags.labels > 1 ? of(`${k} `) : all)), worst: all };
}

/**
 * The percentiles, and the value itself. A difference between groups is larger in most samples than in the split if it is small,
 * because it cannot be below 0. So `bca` would have no interval, or a much too narrow one.
 */
function withValue({ value, interval }: Bootstrapped): Interval {
  return interval.why === undefined ? { ...interval, low: Math.min(interval.low, value), high: Math.max(interval.high, value) } : interval;
}

/** With the reason why a sample has no value. */
function explained(interval: Interval): Interval {
  if (interval.why === undefined || interval.usable === undefined) return interval;
  return { ...interval, why: `${interval.why}, which have no row of a group, or no row that one of its rates needs` };
}

function withIntervals(figures: FairnessFigures, intervals: Intervals | undefined): FairnessFigures {
  if (intervals === undefined) return figures;
  const why = { ...figures.undefined, ...Object.assign({}, ...NAMES.map((name) => missingEnds(name, intervals[name].why))) };
  return {
    metrics: figures.metrics,
    intervals: ofNames((name) => endsIn(intervals[name])),
    ...(Object.keys(why).length > 0 && { undefined: why }),
  };
}

function reportOf(
  label: string,
  counted: { group: string; counts: GroupCounts }[],
  least: number,
  intervals: Intervals | undefined,
): FairnessReport['labels'][string] {
  const groups = counted.map(({ group, counts }): FairnessGroup => {
    const { rows, positives } = counts;
    const why = {
      ...(positives === 0 && { true_positive_rate: `no row has the label ${label}` }),
      ...(positives === rows && { false_positive_rate: `every row has the label ${label}` }),
    };
    return { group, rows, positives, ...nullable(ratesOf(counts)), ...(Object.keys(why).length > 0 && { undefined: why }) };
  });
  const figures = judged(
    label,
    groups,
    counted.map(({ counts }) => counts),
    least,
  );
  return { ...withIntervals(figures, intervals), groups };
}

/** The figures of a label, and why some are undefined. */
function judged(label: string, groups: FairnessGroup[], counts: GroupCounts[], least: number): FairnessFigures {
  if (groups.length < 2) {
    const why =
      groups.length === 0
        ? `no group has ${least} rows`
        : `there is only one group${least > 1 ? ` with at least ${least} rows` : ''}: ${groups[0]!.group}`;
    return { metrics: ofNames(() => null), undefined: ofNames(() => why) };
  }
  const metrics = nullable(fairnessMetrics(counts.map(ratesOf)));
  const incomplete = groups.flatMap(({ group, undefined: why = {} }) => Object.values(why).map((one) => `in the group ${group}, ${one}`));
  const none = (name: string) =>
    name.startsWith('equalized') ? `no row with the label ${label} is predicted ${label}` : `no row of any group is predicted ${label}`;
  const why = Object.fromEntries(
    NAMES.filter((name) => metrics[name] === null).map((name) => [
      name,
      name.startsWith('equalized') && incomplete.length > 0 ? listed(incomplete, 5, '; ') : none(name),
    ]),
  );
  return { metrics, ...(Object.keys(why).length > 0 && { undefined: why }) };
}

const nullable = <K extends string>(numbers: Record<K, number>): Record<K, number | null> =>
  Object.fromEntries(Object.entries<number>(numbers).map(([name, value]) => [name, Number.isNaN(value) ? null : value])) as Record<
    K,
    number | null
  >;

/** The largest difference and the smallest ratio of all labels; undefined if that of one label is. */
function worstOf(labels: FairnessReport['labels']): FairnessFigures {
  const several = Object.keys(labels).length > 1;
  const why: Record<string, string> = {};
  const metrics = ofNames((name) => {
    const values = Object.entries(labels).map(([label, { metrics, undefined: reasons }]) => {
      const value = metrics[name];
      if (value === null) why[name] ??= several ? `for the label ${label}: ${reasons![name]}` : reasons![name]!;
      return value;
    });
    return why[name] === undefined ? worst(name, values as number[]) : null;
  });
  return { metrics, ...(Object.keys(why).length > 0 && { undefined: why }) };
}
