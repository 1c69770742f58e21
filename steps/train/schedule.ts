/** Learning rates by step, as transformers' schedulers give them. */

export type Schedule = 'linear' | 'cosine' | 'constant' | 'constant_with_warmup';

/** The factor of the learning rate at step `step`, counted from 0, of `total`. */
export function schedule(kind: Schedule, warmup: number, total: number): (step: number) => number {
  return (step) => {
    if (step < warmup) return step / warmup;
    const done = (step - warmup) / Math.max(1, total - warmup);
    if (kind === 'linear') return Math.max(0, 1 - done);
    if (kind === 'cosine') return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * done)));
    return 1;
  };
}

/** `warmup_steps` below 1 is a share of all steps. */
export const warmupOf = (warmupSteps: number, total: number): number => (warmupSteps < 1 ? Math.ceil(total * warmupSteps) : warmupSteps);
