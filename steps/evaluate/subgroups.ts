/**
 * Everything that compares groups of rows: declared slices, discovered ones, fairness between groups, and counterfactual
 * tests. It reads the predictions that evaluate has written.
 */

import type { ContextOf, Json, MetricDirection } from '../../engine/contract/step.ts';
import { Database } from '../ml/data/database.ts';
import { tableOf } from '../ml/data/table.ts';
import type { BootstrapOptions } from '../ml/metrics/bootstrap.ts';
import { FAIRNESS, type FairnessMetric } from '../ml/metrics/fairness.ts';
import { endsOf, type IntervalEnds, missingEnds } from '../ml/metrics/intervals.ts';
import type { FairnessReport } from '../ml/metrics/subgroup-report.ts';
import { whyUndefined } from '../ml/metrics/undefined-metrics.ts';
import type { Task } from '../ml/models/config.ts';
import type { Model } from '../ml/models/model-folder.ts';
import type { Split, TokensInfo } from '../ml/models/token-dataset.ts';
import { allRows, type UnitsOf } from '../ml/tasks/resampling.ts';
import { requireData } from './ahead.ts';
import { counterfactualTest } from './counterfactual.ts';
import { agreesWithLabel, discoverIn } from './discover.ts';
import { measureFairness } from './fairness.ts';
import type { SliceDefinition } from './slice-options.ts';
import type { PredictedRows } from './slice-rows.ts';
import { measureSlices, type Slicing } from './slices.ts';
import type step from './step.ts';

type Context = ContextOf<typeof step>;

/** What was evaluated. */
export interface MeasuredModel {
  info: TokensInfo;
  split: Split;
  model: Model;
  /** The index of the positive label of two. */
  positive: number | undefined;
  /** The requested metrics of some rows; default: of all. */
  metrics(rows?: Int32Array): Record<string, number>;
  /** Why a metric is NaN on some rows, if that depends on the data. */
  why(metric: string, rows?: Int32Array): string | undefined;
  /** What the bootstrap draws, of some rows. */
  unitsOf: UnitsOf;
  bootstrap: BootstrapOptions | undefined;
}

/** A figure that the summary prints and gates read; null if it is undefined. */
interface Figure {
  value: number | null;
  better?: MetricDirection;
  interval?: IntervalEnds | undefined;
  undefined?: string | undefined;
  /** Why the ends of its interval are undefined. */
  noInterval?: string | undefined;
}

export interface Subgroups {
  /** By flat name, such as `gap.source`. */
  figures: Record<string, Figure>;
  /** Fields of the metrics file. */
  fields: Record<string, Json>;
}

/** Undefined if no option asks for it. */
export async function measureSubgroups(context: Context, measured: MeasuredModel): Promise<Subgroups | undefined> {
  const { slices, discover, fairness, counterfactual } = context.options;
  if (!slices && !discover && !fairness && !counterfactual) return undefined;
  const database = await Database.open();
  try {
    const predictions = await openPredictions(database, context, measured);
    const figures: Record<string, Figure> = {};
    const fields: Record<string, Json> = {};
    if (slices) {
      const reports = await measureSlices(slices as Record<string, SliceDefinition>, slicingOf(context, measured, predictions));
      for (const [name, { gap, interval, undefined: why, no_interval: noInterval }] of Object.entries(reports))
        figures[`gap.${name}`] = { value: gap, better: 'lower', interval, undefined: why, noInterval };
      fields.slices = reports as unknown as Json;
    }
    if (discover)
      fields.discovered = (await discoverIn(predictions, discover, await groupsIn(context, measured, predictions))) as unknown as Json;
    if (fairness) {
      const report = await fairnessOf(fairness, predictions, { ...measured, warn: context.warn });
      for (const [name, better] of Object.entries(FAIRNESS) as [FairnessMetric, MetricDirection][])
        figures[`fairness.${name}`] = {
          value: report.metrics[name],
          better,
          interval: report.intervals?.[name],
          undefined: report.undefined?.[name],
          noInterval: report.undefined?.[`${name}.lower`],
        };
      fields.fairness = report as unknown as Json;
    }
    if (counterfactual) {
      const report = await counterfactualTest(counterfactual as Parameters<typeof counterfactualTest>[0], {
        predictions,
        model: context.inputs.model,
        data: requireData(context.inputs.data, 'counterfactual'),
        threads: context.threads,
        level: measured.bootstrap?.level,
        signal: context.signal,
        progress: (done) => context.progress(done, undefined, { predicting: 'swapped texts' }),
      });
      for (const name of ['changed', 'mean_change', 'max_change'] as const)
        figures[`counterfactual.${name}`] = {
          value: report[name],
          better: 'lower',
          interval: name === 'changed' ? report.interval : undefined,
          undefined: report.undefined?.[name],
        };
      fields.counterfactual = report as unknown as Json;
    }
    return { figures, fields };
  } finally {
    database.close();
  }
}

function fairnessOf(
  options: NonNullable<Context['options']['fairness']>,
  predictions: PredictedRows,
  { info, split, model: { problem, labels }, positive, unitsOf, bootstrap, warn }: MeasuredModel & Pick<Context, 'warn'>,
): Promise<FairnessReport> {
  const classifier = { task: info.task, problem, labels, positive: positive === undefined ? undefined : labels[positive] };
  return measureFairness(options, predictions, classifier, warn, bootstrap && { units: unitsOf(allRows(split)), options: bootstrap });
}

/** Reports the figures. Returns them for the metrics file, and why some are undefined. */
export function recordFigures(figures: Subgroups['figures'], { metric, warn }: Pick<Context, 'metric' | 'warn'>) {
  const metrics: Record<string, number | null> = {};
  const intervals: Record<string, IntervalEnds> = {};
  const reasons: Record<string, string> = {};
  for (const [name, { value, better, interval, undefined: why }] of Object.entries(figures)) {
    metrics[name] = value;
    if (interval) intervals[name] = interval;
    if (value !== null) metric(name, value, { ...(better && { better }), ...endsOf(intervals, name) });
    else reasons[name] = why!;
  }
  for (const [why, names] of Map.groupBy(Object.keys(reasons), (name) => reasons[name]!))
    warn(`${names.join(', ')} ${names.length > 1 ? 'are' : 'is'} undefined: ${why}`);
  for (const [name, { noInterval }] of Object.entries(figures)) Object.assign(reasons, missingEnds(name, noInterval));
  return { metrics, intervals, undefined: reasons };
}

/** The columns of the data that are neither texts that the model reads nor the label, under any name. */
async function groupsIn(context: Context, { info, model }: MeasuredModel, predictions: PredictedRows): Promise<string[]> {
  if (context.options.discover?.columns) return context.options.discover.columns;
  const database = await Database.open();
  try {
    const columns = await database.columns(tableOf(requireData(context.inputs.data, 'discover')));
    const others = new Set(['id', 'split', 'label', ...Object.values(info.fields ?? {})]);
    const flags = model.problem === 'multi_label_classification' ? model.labels : [];
    const found: string[] = [];
    for (const { name } of columns)
      if (!others.has(name) && !flags.includes(name) && !(await agreesWithLabel(predictions, name))) found.push(name);
    return found;
  } finally {
    database.close();
  }
}

async function openPredictions(database: Database, { inputs, outputs }: Context, { info, split }: MeasuredModel): Promise<PredictedRows> {
  const table = tableOf(outputs.predictions!);
  const columns = await database.columns(table);
  await database.confine(outputs.predictions!);
  // In the order of the rows, and the same on every machine if an expression uses random().
  await database.run('SET threads = 1; SELECT setseed(0)');
  return {
    database,
    table,
    columns,
    withData: inputs.data !== undefined,
    text: info.fields?.text ?? 'text',
    tokens: () => tokensOf(split),
  };
}

/** The number of tokens of each example, in all of its windows. */
async function tokensOf(split: Split): Promise<Float64Array> {
  const counts: number[] = [];
  let first = 0;
  for await (const { sequences = 1 } of split.examples()) {
    let count = 0;
    for (let i = 0; i < sequences; i++) count += split.length(first + i);
    counts.push(count);
    first += sequences;
  }
  return Float64Array.from(counts);
}

function slicingOf(
  context: Context,
  { info, split, metrics, why, unitsOf, bootstrap }: MeasuredModel,
  predictions: PredictedRows,
): Slicing {
  return {
    predictions,
    metricsOf: metrics,
    metrics: inOrder(Object.keys(metrics()), context.options.metrics ?? MAIN[info.task] ?? []),
    whyUndefined: (metric, value, rows) => whyUndefined(metric, value, info.task, why(metric, rows)),
    rows: allRows(split),
    unitsOf,
    bootstrap,
    signal: context.signal,
    warn: context.warn,
    log: context.log,
  };
}

/** The metric that compares slices by default, if it is not the first one of the task. */
const MAIN: { [task in Task]?: string[] } = { 'token-classification': ['f1'] };

/** `names`, of which those in `first` come first. */
const inOrder = (names: string[], first: readonly string[]): string[] => [
  ...new Set([...first.filter((name) => names.includes(name)), ...names]),
];
