/** The parts of evaluate's metrics file that compare groups of rows. Undefined values are null, and `undefined` has the reason. */

import type { Json } from '../../../engine/contract/step.ts';
import type { FairnessMetric, GroupRates } from './fairness.ts';
import type { IntervalEnds } from './intervals.ts';

export interface MeasuredSlice {
  slice: string;
  rows: number;
  metrics: Record<string, number | null>;
  /** Of the metrics that are defined. Without it there are to be no intervals. */
  intervals?: Record<string, IntervalEnds>;
  /** The difference from the best slice. */
  gap: number | null;
  /** Without it the slice is the best, has no gap, or there are to be no intervals. */
  gap_interval?: IntervalEnds;
  /** Why a metric, or an end of an interval (`METRIC.lower`, `gap.lower`), is undefined. */
  undefined?: Record<string, string>;
}

export interface SliceReport {
  /** How the slices were made. */
  by: string;
  /** The metric that compares them. */
  metric: string;
  min_rows: number;
  gap: number | null;
  /** The interval of the gap, unless there are to be no intervals. */
  interval?: IntervalEnds;
  /** Why there is no gap. */
  undefined?: string;
  /** Why the gap has no interval. */
  no_interval?: string;
  /** The worst first; those with too few rows last. */
  slices: MeasuredSlice[];
}

export interface DiscoveredSlice {
  /** The value of one or two columns. */
  where: Record<string, string>;
  rows: number;
  /** The mean error of these rows, and of all others. */
  error: number;
  rest: number;
  difference: number;
  /** The interval of the difference, for all tested combinations together. */
  low: number;
  high: number;
}

export interface DiscoveryReport {
  /** What counts as the error of a row. */
  error: string;
  columns: string[];
  min_rows: number;
  /** The number of rows that are left out, because they have no loss. */
  without_error?: number;
  /** The number of combinations with enough rows. */
  tested: number;
  level: number;
  slices: DiscoveredSlice[];
  /** Why there are none. */
  undefined?: string;
}

type Nullable<T> = { [K in keyof T]: number | null };

export interface FairnessGroup extends Nullable<GroupRates> {
  group: string;
  rows: number;
  positives: number;
  undefined?: Record<string, string>;
}

export interface FairnessFigures {
  metrics: Nullable<Record<FairnessMetric, number>>;
  /** Without it there are to be no intervals. */
  intervals?: Record<FairnessMetric, IntervalEnds>;
  /** Why a metric, or an end of its interval (`METRIC.lower`), is undefined. */
  undefined?: Record<string, string>;
}

export interface FairnessReport extends FairnessFigures {
  /** The columns. With several positive labels, `metrics` are the worst of their values. */
  group: string[];
  /** Groups with too few rows, which are left out. */
  left_out?: { group: string; rows: number }[];
  /** By positive label. */
  labels: Record<string, FairnessFigures & { groups: FairnessGroup[] }>;
}

export interface CounterfactualExample {
  id: string;
  /** The fields of the input whose text changed. */
  text: Record<string, string>;
  swapped: Record<string, string>;
  /** The answers to both texts. */
  before: Json;
  after: Json;
  changed: boolean;
  change: number;
}

export interface CounterfactualReport {
  /** The number of texts with a term. */
  rows: number;
  /** The share of texts whose label, or set of labels, is another one; null for regression. */
  changed: number | null;
  /** The interval of the share, unless there are to be no intervals. */
  interval?: IntervalEnds;
  /** The mean of the largest absolute change of a score, and the largest. */
  mean_change: number | null;
  max_change: number | null;
  undefined?: Record<string, string>;
  /** For each term and its counterpart. `shift`: the mean of the signed change of each score. */
  swaps: { from: string; to: string; rows: number; changed: number | null; mean_change: number; shift: Record<string, number> }[];
  examples: CounterfactualExample[];
}
