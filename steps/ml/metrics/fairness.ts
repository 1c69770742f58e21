/**
 * Fairness of a classifier between groups, with the names and definitions of fairlearn. One label is positive, and all
 * others are negative. fairlearn counts an undefined rate as 0; here it is NaN.
 */

import type { MetricDirection } from '../../../engine/contract/step.ts';
import { extremes } from './counts.ts';
import { LabelFlags } from './label-flags.ts';

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

function difference(rates: number[]): number {
  const [low, high] = extremes(rates);
  return high - low;
}

/** NaN if all rates are 0. */
function ratio(rates: number[]): number {
  const [low, high] = extremes(rates);
  return low / high;
}

/** The groups whose rate alone is the smallest or the largest one; those whose rate is NaN, if there are any. */
export function extremeGroups(rates: number[]): number[] {
  const undefinedOnes = rates.flatMap((rate, g) => (Number.isNaN(rate) ? [g] : []));
  if (undefinedOnes.length > 0) return undefinedOnes;
  return extremes(rates).flatMap((extreme) => {
    const first = rates.indexOf(extreme);
    return rates.indexOf(extreme, first + 1) < 0 ? [first] : [];
  });
}

/** What is counted in each group, of each of some positive labels, for any rows. */
export class GroupedFlags {
  readonly #groups: number[] = [];
  readonly #flags: LabelFlags;

  constructor(
    readonly groups: number,
    readonly labels: number,
  ) {
    this.#flags = new LabelFlags(groups * labels);
  }

  /** The next row, whose flags tell for each label whether it is true, and whether it is predicted. A row without a group does not count. */
  add(group: number | undefined, flags: Iterable<[label: number, isTrue: boolean, isPredicted: boolean]>): void {
    this.#groups.push(group ?? -1);
    if (group !== undefined)
      for (const [label, isTrue, isPredicted] of flags) this.#flags.add(group * this.labels + label, isTrue, isPredicted);
    this.#flags.end();
  }

  /** For each group the counts of each label; default: of all rows. Undefined if a group has none of the rows. */
  counts(rows?: Int32Array): GroupCounts[][] | undefined {
    const sizes = new Int32Array(this.groups);
    const count = rows?.length ?? this.#groups.length;
    for (let i = 0; i < count; i++) {
      const group = this.#groups[rows ? rows[i]! : i]!;
      if (group >= 0) sizes[group]!++;
    }
    if (sizes.includes(0)) return undefined;
    const counts = this.#flags.counts(rows);
    return Array.from(sizes, (size, group) =>
      Array.from({ length: this.labels }, (_, label) => {
        const { hits, claimed, support } = counts[group * this.labels + label]!;
        return { rows: size, positives: support, selected: claimed, hits };
      }),
    );
  }
}
