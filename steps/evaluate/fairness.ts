/** Fairness between the groups of a column, with the definitions of fairlearn; undefined values are null, with the reason. */

import { StepError } from '../../engine/contract/step.ts';
import { quote } from '../ml/data/sql.ts';
import { FAIRNESS, type FairnessMetric, fairnessMetrics, type GroupCounts, type GroupRates, ratesOf } from '../ml/metrics/fairness.ts';
import type { FairnessFigures, FairnessGroup, FairnessReport } from '../ml/metrics/subgroups.ts';
import type { ProblemType, Task } from '../ml/models/config.ts';
import { listed } from '../ml/models/json.ts';
import { type PredictedRows, requireSliceColumn } from './slice-rows.ts';

interface FairnessOptions {
  group: string | string[];
  positive?: string;
  min_rows?: number;
}

/** What is measured. */
interface Classifier {
  task: Task;
  problem: ProblemType;
  labels: string[];
  /** The positive label of two. */
  positive: string | undefined;
}

export async function measureFairness(
  options: FairnessOptions,
  predictions: PredictedRows,
  classifier: Classifier,
): Promise<FairnessReport> {
  const { task, problem } = classifier;
  if (task !== 'text-classification' || problem === 'regression')
    throw new StepError(
      `\`fairness\` does not apply to ${task === 'text-classification' ? problem : task}`,
      'It needs texts with labels. Remove it.',
      ['fairness'],
    );
  const columns = [options.group].flat();
  for (const column of columns) requireSliceColumn(predictions, column, ['fairness', 'group']);
  const counts = await countsOf(predictions, columns, classifier);
  const { min_rows: least = 1 } = options;
  const kept = counts.filter(({ rows }) => rows >= least);
  const leftOut = counts.filter(({ rows }) => rows < least).map(({ group, rows }) => ({ group, rows }));
  const labels = Object.fromEntries(positivesOf(options, classifier).map((label) => [label, reportOf(label, kept, least)]));
  return {
    group: columns,
    ...worstOf(labels),
    ...(leftOut.length > 0 && { left_out: leftOut }),
    labels,
  };
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

interface Counted {
  group: string;
  rows: number;
  ofLabel(label: string): GroupCounts;
}

/** The groups in sort order; a missing value is a group of its own. */
async function countsOf({ database, table }: PredictedRows, columns: string[], { problem }: Classifier): Promise<Counted[]> {
  const key = columns.map((column) => `coalesce(${quote(column)}::VARCHAR, '(missing)')`).join(" || ' / ' || ");
  const sets = problem === 'multi_label_classification';
  const [label, prediction] = sets ? ['label', 'prediction'] : ['[label]', '[prediction]'];
  const totals = await database.rows<{ key: string; rows: number }>(
    `SELECT ${key} AS key, count(*) AS rows FROM ${table} GROUP BY ALL ORDER BY key`,
  );
  const counted = await database.rows<{ key: string; name: string; positives: number; selected: number; hits: number }>(
    `SELECT key, name, count(*) FILTER (list_contains(own, name)) AS positives, count(*) FILTER (list_contains(predicted, name)) AS selected,
       count(*) FILTER (list_contains(own, name) AND list_contains(predicted, name)) AS hits
     FROM (SELECT key, own, predicted, unnest(list_distinct(list_concat(own, predicted))) AS name
           FROM (SELECT ${key} AS key, ${label} AS own, ${prediction} AS predicted FROM ${table})) GROUP BY ALL`,
  );
  const byGroup = Map.groupBy(counted, (row) => row.key);
  return totals.map(({ key: group, rows }) => ({
    group,
    rows,
    ofLabel(label) {
      const { positives = 0, selected = 0, hits = 0 } = byGroup.get(group)?.find(({ name }) => name === label) ?? {};
      return { rows, positives, selected, hits };
    },
  }));
}

function reportOf(label: string, counted: Counted[], least: number) {
  const measured = counted.map((group) => ({ group, counts: group.ofLabel(label) }));
  const rates = measured.map(({ counts }) => ratesOf(counts));
  const groups = measured.map(({ group: { group, rows }, counts }, i): FairnessGroup => {
    const why = {
      ...(counts.positives === 0 && { true_positive_rate: `no row has the label ${label}` }),
      ...(counts.positives === rows && { false_positive_rate: `every row has the label ${label}` }),
    };
    return {
      group,
      rows,
      positives: counts.positives,
      ...nullable(rates[i]!),
      ...(Object.keys(why).length > 0 && { undefined: why }),
    };
  });
  return { ...judged(label, groups, rates, least), groups };
}

/** The figures of a label, and why some are undefined. */
function judged(label: string, groups: FairnessGroup[], rates: GroupRates[], least: number): FairnessFigures {
  const names = Object.keys(FAIRNESS) as FairnessMetric[];
  if (groups.length < 2) {
    const why =
      groups.length === 0
        ? `no group has ${least} rows`
        : `there is only one group${least > 1 ? ` with at least ${least} rows` : ''}: ${groups[0]!.group}`;
    return {
      metrics: Object.fromEntries(names.map((name) => [name, null])) as FairnessFigures['metrics'],
      undefined: Object.fromEntries(names.map((name) => [name, why])),
    };
  }
  const metrics = nullable(fairnessMetrics(rates));
  const incomplete = groups.flatMap(({ group, undefined: why = {} }) => Object.values(why).map((one) => `in the group ${group}, ${one}`));
  const none = `no row of any group is predicted ${label}`;
  const why = Object.fromEntries(
    names
      .filter((name) => metrics[name] === null)
      .map((name) => [name, name.startsWith('equalized') && incomplete.length > 0 ? incomplete.join('; ') : none]),
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
  const metrics = Object.fromEntries(
    Object.entries(FAIRNESS).map(([name, better]) => {
      const values = Object.entries(labels).map(([label, { metrics, undefined: reasons }]) => {
        const value = metrics[name as FairnessMetric];
        if (value === null) why[name] ??= several ? `for the label ${label}: ${reasons![name]}` : reasons![name]!;
        return value;
      });
      return [name, why[name] === undefined ? (better === 'lower' ? Math.max : Math.min)(...(values as number[])) : null];
    }),
  ) as FairnessFigures['metrics'];
  return { metrics, ...(Object.keys(why).length > 0 && { undefined: why }) };
}
