/**
 * Watches a metric: which weights are the best by it and, with a `patience`, whether it still improves. A value is compared with
 * the last improvement by more than `min_delta`, so that small steady improvements add up.
 */

import { betterOf } from '../ml/tasks/metrics.ts';

export type Stopping = ReturnType<typeof earlyStopping>;

export function earlyStopping({
  metric,
  patience = Number.POSITIVE_INFINITY,
  min_delta = 0,
}: {
  metric: string;
  patience?: number;
  min_delta?: number;
}) {
  const sign = betterOf(metric) === 'lower' ? -1 : 1;
  let best = Number.NEGATIVE_INFINITY;
  let significant = Number.NEGATIVE_INFINITY;
  let waited = 0;
  return {
    metric,
    /** Adds the value of an evaluation; true if it is the best so far. */
    add(value: number): boolean {
      const gain = sign * value;
      if (gain > significant + min_delta) {
        significant = gain;
        waited = 0;
      } else {
        waited++;
      }
      const better = gain > best;
      if (better) best = gain;
      return better;
    },
    get stop(): boolean {
      return waited >= patience;
    },
    /** For a checkpoint, and back from it: JSON cannot represent infinity, which is there before the first evaluation. */
    state: () => ({ best: finite(best), significant: finite(significant), waited }),
    restore(state: { best: number | null; significant: number | null; waited: number }): void {
      best = state.best ?? Number.NEGATIVE_INFINITY;
      significant = state.significant ?? Number.NEGATIVE_INFINITY;
      waited = state.waited;
    },
  };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
