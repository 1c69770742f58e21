/** The parts of evaluate's metrics file that compare groups of rows, as tables. */

import { FAIRNESS } from '../ml/metrics/fairness.ts';
import { notesOnIntervals } from '../ml/metrics/intervals.ts';
import type { CounterfactualReport, DiscoveryReport, FairnessReport, MeasuredSlice, SliceReport } from '../ml/metrics/subgroup-report.ts';
import { figure, more, number, type Preview, withBounds } from './part.ts';

/** The parts that the file has. */
export interface SubgroupReports {
  slices?: Record<string, SliceReport>;
  discovered?: DiscoveryReport;
  fairness?: FairnessReport;
  counterfactual?: CounterfactualReport;
}

/** `limit`: how many slices, groups or examples of each table. */
export function subgroupTables({ slices = {}, discovered, fairness, counterfactual }: SubgroupReports, limit: number): Preview[] {
  const most = Math.max(limit, 20);
  return [
    ...Object.entries(slices).map(([name, report]) => sliceTable(name, report, most)),
    ...(discovered ? [discoveredTable(discovered, most)] : []),
    ...(fairness ? fairnessTables(fairness, most) : []),
    ...(counterfactual ? counterfactualTables(counterfactual, limit) : []),
  ];
}

function sliceTable(name: string, { by, metric, min_rows, gap, interval, undefined: why, slices }: SliceReport, most: number): Preview {
  const others = Object.keys(slices[0]?.metrics ?? {}).filter((other) => other !== metric);
  const rows = slices
    .slice(0, most)
    .map(({ slice, rows, metrics, intervals, gap }) => [
      slice,
      number(rows),
      withBounds(metrics[metric], intervals?.[metric]),
      gap === null ? '' : figure(gap),
      ...others.map((other) => figure(metrics[other])),
    ]);
  const found = gap === null ? `n/a: ${why}` : withBounds(gap, interval);
  return {
    title: `slices ${name} (${by}), the worst first; gap of ${metric} ${found}; slices with fewer than ${min_rows} rows do not count`,
    table: { header: ['slice', 'rows', metric, 'gap', ...others], rows, numeric: [false, ...(rows[0]?.slice(1).map(() => true) ?? [])] },
    lines: slices.slice(0, most).flatMap(reasonsIn),
    ...more(slices.length - rows.length, 'slices'),
  };
}

/** Why metrics of a slice are undefined or have no interval. The metrics of the split have the reasons of the gap. */
function reasonsIn({ slice, undefined: reasons = {} }: MeasuredSlice): string[] {
  const ofMetrics = Object.entries(reasons).filter(([name]) => !/\.(lower|upper)$/.test(name));
  return [
    ...[...Map.groupBy(ofMetrics, ([, why]) => why)].map(
      ([why, own]) => `${own.map(([name]) => name).join(', ')} of ${slice} ${own.length > 1 ? 'are' : 'is'} undefined: ${why}`,
    ),
    ...notesOnIntervals({}, reasons).map((note) => `${slice}: ${note}`),
  ];
}

function discoveredTable({ error, without_error: without, tested, level, slices, undefined: why }: DiscoveryReport, most: number): Preview {
  const leftOut = without === undefined ? '' : `; ${number(without)} rows without a loss are left out`;
  const title = `discovered slices with a higher error: ${error}; ${number(tested)} combinations tested${leftOut}`;
  if (slices.length === 0) return { title, lines: [`n/a: ${why}`] };
  const rows = slices.slice(0, most).map(({ where, rows, error, rest, difference, low, high }) => [
    Object.entries(where)
      .map(([column, value]) => `${column} = ${value}`)
      .join(', '),
    number(rows),
    figure(error),
    figure(rest),
    withBounds(difference, { low, high }),
  ]);
  return {
    title,
    table: {
      header: ['slice', 'rows', 'error', 'other rows', `difference (${Math.round(level * 100)}% for all together)`],
      rows,
      numeric: [false, true, true, true, true],
    },
    ...more(slices.length - rows.length, 'slices'),
  };
}

function fairnessTables(
  { group, metrics, intervals, undefined: why = {}, labels, left_out: leftOut = [] }: FairnessReport,
  most: number,
): Preview[] {
  const by = `the groups of ${group.join(' and ')}`;
  const names = Object.keys(FAIRNESS) as (keyof typeof FAIRNESS)[];
  const figures = names.map((name) => [name, withBounds(metrics[name], intervals?.[name])]);
  // Not in the table, where a long reason would leave no room for the names.
  const reasons = names.flatMap((name) => (metrics[name] === null ? [`${name} is undefined: ${why[name]}`] : []));
  const small = leftOut.length > 0 ? { rest: `left out, with too few rows: ${leftOut.map((one) => one.group).join(', ')}` } : {};
  return [
    {
      title: `fairness between ${by}`,
      table: { header: ['metric', 'value'], rows: figures, numeric: [false, true] },
      lines: reasons,
      ...small,
    },
    ...Object.entries(labels).map(([label, { groups }]): Preview => {
      const shown = groups.slice(0, most);
      return {
        title: `rates of ${by}; the positive label is ${label}`,
        table: {
          header: ['group', 'rows', 'selection rate', 'true positive rate', 'false positive rate', 'accuracy'],
          rows: shown.map((one) => [
            one.group,
            number(one.rows),
            ...[one.selection_rate, one.true_positive_rate, one.false_positive_rate, one.accuracy].map(figure),
          ]),
          numeric: [false, true, true, true, true, true],
        },
        lines: shown.flatMap((one) =>
          Object.entries(one.undefined ?? {}).map(([rate, why]) => `${rate.replaceAll('_', ' ')} of ${one.group} is undefined: ${why}`),
        ),
        ...more(groups.length - shown.length, 'groups'),
      };
    }),
  ];
}

function counterfactualTables(report: CounterfactualReport, limit: number): Preview[] {
  const { rows, changed, interval, mean_change, max_change, undefined: why = {}, swaps, examples } = report;
  const figures = { changed: withBounds(changed, interval), mean_change: figure(mean_change), max_change: figure(max_change) };
  const labels = Object.keys(swaps[0]?.shift ?? {}).slice(0, MOST_SHIFTS);
  const shown = examples.slice(0, limit);
  const parts: Preview[] = [
    {
      title: `counterfactual test: ${number(rows)} ${rows === 1 ? 'text' : 'texts'} with a term`,
      table: {
        header: ['metric', 'value'],
        rows: Object.entries(figures).map(([name, value]) => [name, why[name] ? `n/a: ${why[name]}` : value]),
        numeric: [false, true],
      },
    },
  ];
  if (rows === 0) return parts;
  parts.push({
    title: 'swapped terms',
    table: {
      header: ['swap', 'texts', 'changed', 'mean change', ...labels.map((label) => `shift of ${label}`)],
      rows: swaps.map((one) => [
        `${one.from} → ${one.to}`,
        number(one.rows),
        figure(one.changed),
        figure(one.mean_change),
        ...labels.map((label) => signed(one.shift[label]!)),
      ]),
      numeric: [false, true, true, true, ...labels.map(() => true)],
    },
  });
  if (shown.length > 0)
    parts.push({
      title: 'the largest changes',
      lines: shown.flatMap(({ id, text, swapped, before, after, change }) => [
        `${id}: ${short(before)} → ${short(after)}, change ${figure(change)}`,
        ...Object.keys(text).flatMap((field) => [`  ${cut(text[field]!)}`, `  ${cut(swapped[field]!)}`]),
      ]),
      ...more(examples.length - shown.length, 'examples'),
    });
  return parts;
}

/** More columns do not fit. */
const MOST_SHIFTS = 4;

/** The answer without the scores of all labels. */
function short(answer: any): string {
  if (typeof answer.label === 'string') return answer.label;
  return Array.isArray(answer.labels) ? `[${answer.labels.join(', ')}]` : figure(answer.score);
}

const cut = (text: string): string => (text.length > 200 ? `${text.slice(0, 200)}…` : text);

const signed = (value: number): string => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`;
