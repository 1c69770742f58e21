/**
 * Fairness of a classifier between groups, with the names and definitions of fairlearn. One label is positive, and all
 * others are negative. fairlearn counts an undefined rate as 0; here it is NaN.
 */

import type { MetricDirection } from '../../../engine/contract/step.ts';

/** The rows of one group. */
export interface GroupCounts {
  rows: number;
  /** Rows whose label is positive. */
  positives: number;
  /** Rows that are predicted positive. */
  selected: number;
  /** Rows that are both. */
  hits: number;
}

export interface GroupRates {
  selection_rate: number;
  /** NaN without a positive row. */
  true_positive_rate: number;
  /** NaN without a negative row. */
  false_positive_rate: number;
  accuracy: number;
}

export const FAIRNESS = {
  demographic_parity_difference: 'lower',
  demographic_parity_ratio: 'higher',
  equalized_odds_difference: 'lower',
  equalized_odds_ratio: 'higher',
} as const satisfies Record<string, MetricDirection>;

export type FairnessMetric = keyof typeof FAIRNESS;

export function ratesOf({ rows, positives, selected, hits }: GroupCounts): GroupRates {
  return {
    selection_rate: selected / rows,
    true_positive_rate: hits / positives,
    false_positive_rate: (selected - hits) / (rows - positives),
    accuracy: (rows - positives - selected + 2 * hits) / rows,
  };
}

/** The largest difference and the smallest ratio between groups. For equalized odds, those of the worse of the two rates. */
export function fairnessMetrics(groups: readonly GroupRates[]): Record<FairnessMetric, number> {
  const of = (rate: keyof GroupRates) => groups.map((group) => group[rate]);
  const [selection, hits, alarms] = [of('selection_rate'), of('true_positive_rate'), of('false_positive_rate')];
  return {
    demographic_parity_difference: difference(selection),
    demographic_parity_ratio: ratio(selection),
    equalized_odds_difference: Math.max(difference(hits), difference(alarms)),
    equalized_odds_ratio: alarms.every((rate) => rate === 0) ? ratio(hits) : Math.min(ratio(hits), ratio(alarms)),
  };
}

const difference = (rates: number[]): number => Math.max(...rates) - Math.min(...rates);

/** NaN if all rates are 0. */
const ratio = (rates: number[]): number => Math.min(...rates) / Math.max(...rates);
