/** The headline: what failed, what was required, and metrics with intervals, compared with baselines. */

import { type ComparedMetric, testInWords } from '../ml/metrics/paired-tests.ts';
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
import type { RunFacts } from './run.ts';

/**
 * The evaluations that the report shows in detail: those outside of a matrix, or of a sweep the best one. `others` are only in the
 * table of the sweep.
 */
export function chosenEvaluations(all: readonly EvaluationFile[]): { chosen: EvaluationFile[]; others: EvaluationFile[] } {
  const chosen: EvaluationFile[] = [];
  for (const group of Map.groupBy(all, ({ name, matrix }) => (Object.keys(matrix).length === 0 ? name : stepOf(name))).values())
    chosen.push(best(group));
  // Outside of sweeps first, then the test split.
  const rank = ({ matrix, split }: EvaluationFile) => (Object.keys(matrix).length > 0 ? 2 : 0) + (split === 'test' ? 0 : 1);
  chosen.sort((a, b) => rank(a) - rank(b));
  const shownOnes = chosen.slice(0, MOST_EVALUATIONS);
  return { chosen: shownOnes, others: all.filter((one) => !shownOnes.includes(one)) };
}

const MOST_EVALUATIONS = 3;

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
      note(`${main.name} on the split “${main.split}”${main.rows === undefined ? '' : `, ${counted(main.rows, 'row')}`}.`),
      headline(main),
    );
    const table = comparison(chosen, material.baselines);
    if (table) blocks.push(table);
    blocks.push(...otherModel(fieldsOf(main.file.comparison)));
    const { interval } = main.file;
    if (Object.keys(fieldsOf(interval)).length > 0) blocks.push(note(intervalText(fieldsOf(interval))), ...withoutInterval(main));
  } else for (const baseline of material.baselines) blocks.push(...baselineTable(baseline));
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

/** Metrics that have a value, but no interval. */
function withoutInterval({ metrics, file }: EvaluationFile): Block[] {
  const whys = fieldsOf(file.undefined);
  const without = Object.keys(metrics).flatMap((name) => {
    const why = textOf(whys[`${name}.lower`] ?? whys[`${name}.upper`]);
    return isHeadline(name) && metrics[name] !== null && why !== undefined ? [{ name, why }] : [];
  });
  if (without.length === 0) return [];
  const reasons = [...Map.groupBy(without, ({ why }) => why)];
  return [
    {
      kind: 'folded',
      summary: `${counted(without.length, 'metric')} without an interval`,
      blocks: reasons.map(([why, names]) => note(`${names.map(({ name }) => name).join(', ')}: ${why}.`)),
    },
  ];
}

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

/** Metrics as rows; evaluations and the baselines of the same split as columns. */
function comparison(chosen: readonly EvaluationFile[], baselines: readonly JsonFile[]): Table | undefined {
  const [main] = chosen as [EvaluationFile];
  const methods = baselines
    .filter(({ file }) => textOf(file.split) === main.split)
    .flatMap(({ file }) =>
      Object.entries(fieldsOf(file.methods)).map(([name, method]) => ({
        name,
        metrics: numbersOf(fieldsOf(method).metrics),
        file: fieldsOf(method),
      })),
    );
  if (chosen.length < 2 && methods.length === 0) return undefined;
  const names = [...new Set(chosen.flatMap(({ metrics }) => Object.keys(metrics)).filter(isHeadline))];
  const columns = [
    ...chosen.map(({ name, split, metrics, file }) => ({ title: `${name.replace(/\.metrics$/, '')} (${split})`, metrics, file })),
    ...methods.slice(0, MOST_METHODS).map(({ name, metrics, file }) => ({ title: `baseline: ${name}`, metrics, file })),
  ];
  return {
    kind: 'table',
    caption: methods.length > 0 ? 'Metrics of the evaluations and of the baselines' : 'Metrics of the evaluations',
    header: ['metric', ...columns.map(({ title }) => title)],
    rows: names.map((name) => [
      name,
      ...columns.map(({ metrics, file }) => {
        if (!(name in metrics)) return '–';
        return withBounds(metrics[name], fieldsOf(file.intervals)[name]);
      }),
    ]),
    numeric: columns.map((_, i) => i + 1),
    ...(methods.length > MOST_METHODS && { more: `+ ${methods.length - MOST_METHODS} more baselines` }),
  };
}

const MOST_METHODS = 5;

/** The option `compare` of evaluate. */
function otherModel(comparison: Fields): Block[] {
  const metrics = Object.entries(fieldsOf(comparison.metrics)).map(
    ([name, one]) => ({ name, ...fieldsOf(one) }) as ComparedMetric & { name: string },
  );
  if (metrics.length === 0) return [];
  return [
    {
      kind: 'table',
      caption: `Comparison with the other predictions, ${counted(numberOf(comparison.rows) ?? 0, 'row')}`,
      header: ['metric', 'value', 'other', 'difference', 'p', 'test'],
      rows: metrics.map(({ name, value, other, difference, interval, p, undefined: why, ...how }) => [
        name,
        shown(value),
        shown(other),
        withBounds(difference, interval),
        shown(p),
        why === undefined ? testInWords(how) : `n/a: ${why}`,
      ]),
      numeric: [1, 2, 3, 4],
    },
  ];
}

function baselineTable({ name, file }: JsonFile): Block[] {
  const methods = Object.entries(fieldsOf(file.methods)).map(([method, value]) => ({
    method,
    metrics: numbersOf(fieldsOf(value).metrics),
    intervals: fieldsOf(fieldsOf(value).intervals),
  }));
  if (methods.length === 0) return [];
  const names = [...new Set(methods.flatMap(({ metrics }) => Object.keys(metrics)))];
  return [
    {
      kind: 'table',
      caption: `Baselines (${name}), split “${String(file.split ?? '')}”`,
      header: ['metric', ...methods.map(({ method }) => method)],
      rows: names.map((metric) => [
        metric,
        ...methods.map(({ metrics, intervals }) => (metric in metrics ? withBounds(metrics[metric], intervals[metric]) : '–')),
      ]),
      numeric: methods.map((_, i) => i + 1),
    },
  ];
}
