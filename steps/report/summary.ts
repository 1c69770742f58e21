/** The headline: what failed, what was required, and metrics with intervals, compared with baselines. */

import { testInWords } from '../ml/metrics/paired-tests.ts';
import { betterOf } from '../ml/tasks/metrics.ts';
import {
  boundsOf,
  type EvaluationFile,
  type Fields,
  fieldsOf,
  type JsonFile,
  type Material,
  numberOf,
  numbersOf,
  textOf,
  withBounds,
} from './artifacts.ts';
import { type Block, counted, type HeadlineFigures, note, type Section, shown, type Table } from './document.ts';
import { judgementBlocks } from './judgements.ts';
import { withoutInterval } from './missing-intervals.ts';
import type { RunFacts } from './run.ts';

/**
 * The evaluations that the report compares, the most important one first: all those outside of a matrix, and of a sweep the best one.
 * The table of the sweep has the others.
 */
export function chosenEvaluations(all: readonly EvaluationFile[]): EvaluationFile[] {
  const chosen: EvaluationFile[] = [];
  for (const group of Map.groupBy(all, ({ name, matrix }) => (Object.keys(matrix).length === 0 ? name : stepOf(name))).values())
    chosen.push(best(group));
  // Outside of sweeps first, then the test split.
  const rank = ({ matrix, split }: EvaluationFile) => (Object.keys(matrix).length > 0 ? 2 : 0) + (split === 'test' ? 0 : 1);
  return chosen.sort((a, b) => rank(a) - rank(b));
}

const stepOf = (name: string): string => name.split('[', 1)[0]!;

function best(group: EvaluationFile[]): EvaluationFile {
  const [first] = group as [EvaluationFile, ...EvaluationFile[]];
  const metric = Object.keys(first.metrics)[0];
  if (metric === undefined) return first;
  const sign = betterOf(metric) === 'lower' ? -1 : 1;
  const value = ({ metrics }: EvaluationFile) => (typeof metrics[metric] === 'number' ? sign * metrics[metric] : Number.NEGATIVE_INFINITY);
  return group.reduce((a, b) => (value(b) > value(a) ? b : a));
}

export function summarySection(chosen: readonly EvaluationFile[], material: Material, run: RunFacts | undefined): Section | undefined {
  const blocks: Block[] = judgementBlocks(material, run);
  const [main] = chosen;
  if (main) {
    blocks.push(
      note(`${main.name}${onSplit(main.split)}${main.rows === undefined ? '' : `, ${counted(main.rows, 'row')}`}.`),
      headline(main),
    );
    const same = material.baselines.filter(({ file }) => textOf(file.split) === main.split);
    const columns = columnsOf(chosen, same);
    blocks.push(...comparison(columns), ...baselineTables(material.baselines.filter((one) => !same.includes(one))));
    const other = fieldsOf(main.file.comparison);
    blocks.push(...otherModel(other));
    const { interval } = main.file;
    if (Object.keys(fieldsOf(interval)).length > 0)
      blocks.push(note(intervalText(fieldsOf(interval))), ...withoutInterval('metric', [...noIntervals(columns), ...noDifferences(other)]));
  } else blocks.push(...baselineTables(material.baselines));
  return blocks.length === 0 ? undefined : { id: 'summary', title: 'Summary', blocks };
}

/** The metrics without those of slices and fairness, which have sections of their own. */
const isHeadline = (name: string): boolean => !/^(gap|fairness|counterfactual|difference)\.|\.(lower|upper)$/.test(name);

function headline({ metrics, file }: EvaluationFile): HeadlineFigures {
  const names = Object.keys(metrics).filter(isHeadline).slice(0, MOST_FIGURES);
  return {
    kind: 'figures',
    figures: names.map((name) => {
      const bounds = boundsOf(fieldsOf(file.intervals)[name]);
      const why = metrics[name] === null ? textOf(fieldsOf(file.undefined)[name]) : undefined;
      return {
        name,
        value: shown(metrics[name]),
        ...(bounds && { interval: `[${shown(bounds.low)}, ${shown(bounds.high)}]` }),
        ...(why !== undefined && { note: why }),
      };
    }),
  };
}

const MOST_FIGURES = 12;

function intervalText({ level, method, resamples, unit, seed }: Record<string, unknown>): string {
  const percent = typeof level === 'number' ? `${Number((100 * level).toPrecision(4))}% ` : '';
  const how = [
    ...(method === undefined ? [] : [`method ${method === 'bca' ? 'BCa' : String(method)}`]),
    ...(resamples === undefined ? [] : [`${shown(Number(resamples))} resamples`]),
    ...(unit === undefined ? [] : [`resampled unit: ${String(unit)}`]),
    ...(seed === undefined ? [] : [`seed ${String(seed)}`]),
  ];
  return `Intervals in brackets are ${percent}bootstrap confidence intervals${how.length > 0 ? ` (${how.join(', ')})` : ''}.`;
}

/** The metrics of an evaluation, or of a method of a baseline. */
interface Column {
  title: string;
  kind: 'evaluation' | 'baseline';
  metrics: Record<string, number | null>;
  intervals: Fields;
  /** Why a metric, or an end of its interval (`METRIC.lower`), is undefined. */
  whyOf(name: string): string | undefined;
}

const columnsOf = (chosen: readonly EvaluationFile[], baselines: readonly JsonFile[]): Column[] => [
  ...chosen.map(({ name, split, metrics, file }): Column => {
    const title = `${name.replace(/\.metrics$/, '')}${split === undefined ? '' : ` (${split})`}`;
    return {
      title,
      kind: 'evaluation',
      metrics,
      intervals: fieldsOf(file.intervals),
      whyOf: (metric) => textOf(fieldsOf(file.undefined)[metric]),
    };
  }),
  ...baselines.flatMap((one) =>
    methodsOf(one).map((column) => ({
      ...column,
      title: `baseline: ${column.title}${baselines.length > 1 ? ` (${one.cell ?? one.name})` : ''}`,
    })),
  ),
];

const methodsOf = ({ file }: JsonFile): Column[] =>
  Object.entries(fieldsOf(file.methods)).map(([method, found]) => ({
    title: method,
    kind: 'baseline',
    metrics: numbersOf(fieldsOf(found).metrics),
    intervals: fieldsOf(fieldsOf(found).intervals),
    whyOf: (metric) => textOf(fieldsOf(file.undefined)[`${method}.${metric}`]),
  }));

/** Metrics as rows; evaluations and the baselines of the same split as columns. */
function comparison(columns: readonly Column[]): Table[] {
  if (columns.length < 2) return [];
  const isBaseline = columns.some(({ kind }) => kind === 'baseline');
  const left = columns.slice(MOST_COLUMNS).map(({ title }) => title);
  return [
    {
      ...metricTable(columns.slice(0, MOST_COLUMNS)),
      caption: isBaseline ? 'Metrics of the evaluations and of the baselines' : 'Metrics of the evaluations',
      ...(left.length > 0 && { more: `+ ${left.length} more: ${left.join(', ')}` }),
    },
  ];
}

const MOST_COLUMNS = 12;

function metricTable(columns: readonly Column[]): Omit<Table, 'caption'> {
  const names = [...new Set(columns.flatMap(({ metrics }) => Object.keys(metrics)).filter(isHeadline))];
  return {
    kind: 'table',
    header: ['metric', ...columns.map(({ title }) => title)],
    rows: names.map((name) => [
      name,
      ...columns.map(({ metrics, intervals, whyOf }) => (name in metrics ? withBounds(metrics[name], intervals[name], whyOf(name)) : '–')),
    ]),
    numeric: columns.map((_, i) => i + 1),
  };
}

/** Metrics that have a value, but no interval. */
const noIntervals = (columns: readonly Column[]): { name: string; why: string }[] =>
  columns.flatMap(({ title, metrics, whyOf }, i) =>
    Object.keys(metrics).flatMap((metric) => {
      const why = whyOf(`${metric}.lower`) ?? whyOf(`${metric}.upper`);
      if (!isHeadline(metric) || metrics[metric] === null || why === undefined) return [];
      return [{ name: i === 0 ? metric : `${metric} of ${title}`, why }];
    }),
  );

/** Baselines that no evaluation of this report is compared with. */
function baselineTables(baselines: readonly JsonFile[]): Block[] {
  const tables = baselines.flatMap((one): Block[] => {
    const columns = methodsOf(one);
    if (columns.length === 0) return [];
    return [{ ...metricTable(columns), caption: `Baselines (${one.name})${onSplit(textOf(one.file.split))}` }];
  });
  const left = tables.length - MOST_BASELINES;
  return left <= 0 ? tables : [...tables.slice(0, MOST_BASELINES), note(`+ ${counted(left, 'more baseline')}.`)];
}

const MOST_BASELINES = 5;

/* The option `compare` of evaluate. */

function otherModel(comparison: Fields): Block[] {
  const metrics = Object.entries(fieldsOf(comparison.metrics)).map(([name, one]) => ({ name, one: fieldsOf(one) }));
  if (metrics.length === 0) return [];
  const rows = numberOf(comparison.rows);
  return [
    {
      kind: 'table',
      caption: `Comparison with the other predictions${rows === undefined ? '' : `, ${counted(rows, 'row')}`}`,
      header: ['metric', 'value', 'other', 'difference', 'p', 'test'],
      rows: metrics.map(({ name, one }) => [
        name,
        shown(numberOf(one.value)),
        shown(numberOf(one.other)),
        withBounds(numberOf(one.difference), one.interval),
        shown(numberOf(one.p)),
        textOf(one.undefined) === undefined ? testText(one) : `n/a: ${one.undefined}`,
      ]),
      numeric: [1, 2, 3, 4],
    },
  ];
}

function testText({ test, exact, only_this, only_other }: Fields): string {
  const [own, others] = [numberOf(only_this), numberOf(only_other)];
  if (test !== 'mcnemar' || own === undefined || others === undefined) return textOf(test) ?? '–';
  return testInWords({ test, exact: exact === true, only_this: own, only_other: others });
}

const noDifferences = (comparison: Fields): { name: string; why: string }[] =>
  Object.entries(fieldsOf(comparison.metrics)).flatMap(([name, one]) => {
    const why = textOf(fieldsOf(one).no_interval);
    return why === undefined ? [] : [{ name: `difference in ${name}`, why }];
  });

const onSplit = (split: string | undefined): string => (split === undefined ? '' : ` on the split “${split}”`);
