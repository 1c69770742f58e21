/** Options of trainings that tests share. */
import type { HostTensors, Part, RuntimeName, TrainingOptions } from '../../../../steps/ml/runtime/runtime.ts';

/** The compiled runtime that is compared with `eager`. The optional groups run the same tests on others. */
export const COMPILED = (process.env.TUNESMITH_TEST_RUNTIME ?? 'onnx') as RuntimeName;

export const adamW = (weightDecay: number, noDecay: (name: string) => boolean): Pick<TrainingOptions, 'optimizer' | 'weight'> => ({
  optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  weight: (name) => ({ learningRateFactor: 1, weightDecay: noDecay(name) ? 0 : weightDecay }),
});

/** With β₁ = 0 the first moment is the gradient; with a learning rate of 0 every step is the first. */
export const gradientsAsMoments: TrainingOptions = {
  optimizer: { name: 'adamw', beta1: 0, beta2: 0.5, epsilon: 1 },
  weight: () => ({ learningRateFactor: 1, weightDecay: 0 }),
  maxGradNorm: 0,
};

/** A batch in one part. */
export const whole = (inputs: HostTensors): Part[] => [{ inputs, share: 1 }];
