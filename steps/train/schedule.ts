/** Learning rates by step, as in transformers' schedulers. */

export const SCHEDULES = [
  'linear',
  'cosine',
  'cosine_with_restarts',
  'polynomial',
  'inverse_sqrt',
  'constant',
  'constant_with_warmup',
] as const;

export type Schedule = (typeof SCHEDULES)[number];

export interface ScheduleOptions {
  /** For cosine_with_restarts. */
  cycles?: number | undefined;
  /** For polynomial: its power, and its final factor. */
  power?: number | undefined;
  end?: number;
}

/** The factor of the learning rate at step `step` (counted from 0) of `total`. */
export function schedule(
  kind: Schedule,
  warmup: number,
  total: number,
  { cycles = 1, power = 1, end = 0 }: ScheduleOptions = {},
): (step: number) => number {
  return (step) => {
    if (step < warmup) return step / warmup;
    const done = (step - warmup) / Math.max(1, total - warmup);
    switch (kind) {
      case 'linear':
        return Math.max(0, 1 - done);
      case 'cosine':
        return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * done)));
      case 'cosine_with_restarts':
        return done >= 1 ? 0 : Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((cycles * done) % 1))));
      case 'polynomial':
        return done >= 1 ? end : (1 - end) * (1 - done) ** power + end;
      case 'inverse_sqrt':
        return Math.sqrt((warmup || 10_000) / (step + (warmup ? 0 : 10_000)));
      default:
        return 1;
    }
  };
}

/** The length of a training. */
export interface Extent {
  /** Optimizer steps of a whole epoch, and of the training. */
  perEpoch: number;
  total: number;
  /** Epochs that begin. With `max_steps` the last one may be partial. */
  epochs: number;
  /** Whether `epochs` decides the length, not `max_steps`. */
  byEpochs: boolean;
}

/** As in transformers' Trainer, `max_steps` overrides `epochs`. */
export function extentOf(perEpoch: number, { epochs, max_steps }: { epochs: number; max_steps?: number | undefined }): Extent {
  const total = max_steps ?? epochs * perEpoch;
  return { perEpoch, total, epochs: Math.ceil(total / perEpoch), byEpochs: max_steps === undefined };
}

/** Steps of an epoch, counted from 1. */
export const stepsIn = (epoch: number, { perEpoch, total }: Extent): number => Math.min(perEpoch, total - (epoch - 1) * perEpoch);

/** `warmup_steps` below 1 is a share of all steps. */
export const warmupOf = (warmupSteps: number, total: number): number => (warmupSteps < 1 ? Math.ceil(total * warmupSteps) : warmupSteps);
