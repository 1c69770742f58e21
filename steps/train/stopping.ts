import { SMALLER_IS_BETTER } from '../metrics/names.ts';

/**
 * Early stopping: ends a training whose metric no longer gains.
 * A value is compared with the last one that was a significant gain, so that small steady gains add up to one.
 */
export interface Stopping {
  /** Takes an epoch's value; true if it is the best so far. */
  add(value: number): boolean;
  readonly stop: boolean;
  /** For a checkpoint, and back from it. */
  state(): StoppingState;
  restore(state: StoppingState): void;
}

/** Before the first epoch's end there is no best, and JSON has no infinity. */
interface StoppingState {
  best: number | null;
  significant: number | null;
  waited: number;
}

export function earlyStopping({ metric, patience, min_delta }: { metric: string; patience: number; min_delta: number }): Stopping {
  const sign = SMALLER_IS_BETTER.includes(metric) ? -1 : 1;
  let best = Number.NEGATIVE_INFINITY;
  let significant = Number.NEGATIVE_INFINITY;
  let waited = 0;
  return {
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
