/** The result line of an evaluation that compares groups or models: such an evaluation has too many metrics for a table. */

import { type IntervalEnds, within } from '../ml/metrics/intervals.ts';
import type { ComparisonReport } from '../ml/metrics/paired-tests.ts';
import type { SliceReport } from '../ml/metrics/subgroup-report.ts';
import type { Subgroups } from './subgroups.ts';

interface Summarized {
  metrics: Record<string, number | null>;
  intervals: Record<string, IntervalEnds>;
  subgroups: Subgroups | undefined;
  comparison: Subgroups | undefined;
}

/** At most so many of the metrics that were asked for. */
const HEADLINES = 6;

/** Undefined if there are only metrics, which the table of the run shows. */
export function summaryOf({ metrics, intervals, subgroups, comparison }: Summarized): string | undefined {
  if (!subgroups && !comparison) return undefined;
  const figures = { ...subgroups?.figures, ...comparison?.figures };
  const named = Object.keys(metrics)
    .filter((name) => !Object.hasOwn(figures, name))
    .slice(0, HEADLINES);
  const shown = (name: string) => within(metrics[name] ?? null, intervals[name]);
  const slices = (subgroups?.fields.slices ?? {}) as unknown as Record<string, SliceReport>;
  const compared = comparison && (comparison.fields.comparison as unknown as ComparisonReport);
  const others = [
    ...worstSlice(slices),
    ...['fairness.demographic_parity_difference', 'fairness.equalized_odds_difference', 'counterfactual.changed']
      .filter((name) => Object.hasOwn(figures, name))
      .map((name) => ({ names: [name], text: `${name} ${shown(name)}` })),
    ...Object.entries(compared?.metrics ?? {})
      .slice(0, 1)
      .map(([name, { p }]) => ({
        names: [`difference.${name}`, `difference.${name}.p`],
        text: `difference.${name} ${shown(`difference.${name}`)}, p ${p === null ? 'n/a' : Number(p.toPrecision(2))}`,
      })),
  ];
  const rest = Object.keys(metrics).length - named.length - others.flatMap(({ names }) => names).length;
  return [
    named.map((name) => `${name} ${shown(name)}`).join(', '),
    ...others.map(({ text }) => text),
    ...(rest > 0 ? [`${rest} more figures in the output \`metrics\``] : []),
  ].join(';\n');
}

/** That with the largest gap, of all sets of slices. */
function worstSlice(reports: Record<string, SliceReport>): { names: string[]; text: string }[] {
  const [worst] = Object.entries(reports)
    .filter(([, { gap }]) => gap !== null)
    .sort(([, a], [, b]) => b.gap! - a.gap!);
  if (!worst) return [];
  const [name, { metric, gap, interval, slices }] = worst;
  const { slice, rows, metrics, intervals } = slices[0]!;
  return [
    {
      names: [`gap.${name}`],
      text: `worst slice: ${name} ${slice} (${rows} rows) with ${metric} ${within(metrics[metric] ?? null, intervals?.[metric])}, gap.${name} ${within(gap, interval)}`,
    },
  ];
}
