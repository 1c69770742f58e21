import { SMALLER_IS_BETTER } from '../metrics/names.ts';

/**
 * Early stopping: ends a training whose metric no longer gains.
 * A value is compared with the last one that was a significant gain, so that small steady gains add up to one.
 */
export interface Stopping {
  /** Takes an epoch's value; true if it is the best so far. */
  add(value: number): boolean;
  readonly stop: boolean;
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
  };
}
