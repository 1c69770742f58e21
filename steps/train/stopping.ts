import { SMALLER_IS_BETTER } from '../metrics/names.ts';

/**
 * Watches a metric: which weights are the best by it, and, for early stopping, whether it no longer gains.
 * A value is compared with the last one that was a significant gain, so that small steady gains add up to one.
 */
export interface Stopping {
  readonly metric: string;
  /** Takes a measurement's value; true if it is the best so far. */
  add(value: number): boolean;
  readonly stop: boolean;
  /** For a checkpoint, and back from it. */
  state(): StoppingState;
  restore(state: StoppingState): void;
}

/** Before the first measurement there is no best, and JSON has no infinity. */
interface StoppingState {
  best: number | null;
  significant: number | null;
  waited: number;
}

export interface StoppingOptions {
  metric: string;
  /** Stops after so many measurements without a gain of more than `min_delta`. */
  patience?: number;
  min_delta?: number;
}

/** Without a patience it never stops, and only tells which value is the best. */
export function stoppingBy({ metric, patience = Number.POSITIVE_INFINITY, min_delta = 0 }: StoppingOptions): Stopping {
  const sign = SMALLER_IS_BETTER.includes(metric) ? -1 : 1;
  let best = Number.NEGATIVE_INFINITY;
  let significant = Number.NEGATIVE_INFINITY;
  let waited = 0;
  return {
    metric,
    add(value) {
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
    get stop() {
      return waited >= patience;
    },
    state: () => ({ best: finite(best), significant: finite(significant), waited }),
    restore(state) {
      best = state.best ?? Number.NEGATIVE_INFINITY;
      significant = state.significant ?? Number.NEGATIVE_INFINITY;
      waited = state.waited;
    },
  };
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
