import { betterOf } from '../ml/tasks/metrics.ts';

/**
 * Watches a metric: which weights are the best by it and, for early stopping, whether it still improves. A value is
 * compared with the last significant improvement, so that small steady improvements add up.
 */
export interface Stopping {
  readonly metric: string;
  /** Adds the value of an evaluation; true if it is the best so far. */
  add(value: number): boolean;
  readonly stop: boolean;
  /** For a checkpoint, and back from it. */
  state(): StoppingState;
  restore(state: StoppingState): void;
}

/** Infinity before the first evaluation, which JSON cannot represent. */
interface StoppingState {
  best: number | null;
  significant: number | null;
  waited: number;
}

export interface StoppingOptions {
  metric: string;
  /** Stops after this many evaluations without an improvement by more than `min_delta`. */
  patience?: number;
  min_delta?: number;
}

/** Without a patience it never stops, and only reports which value is the best. */
export function earlyStopping({ metric, patience = Number.POSITIVE_INFINITY, min_delta = 0 }: StoppingOptions): Stopping {
  const sign = betterOf(metric) === 'lower' ? -1 : 1;
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
