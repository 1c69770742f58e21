/** The only engine file that knows the built-in steps and serving. Each module is loaded on demand. */
import type { StepDefinition } from './step.ts';

const STEPS: Record<string, () => Promise<{ default: unknown }>> = {
  collect: () => import('../steps/collect/step.ts'),
  clean: () => import('../steps/clean/step.ts'),
  split: () => import('../steps/split/step.ts'),
  reduce: () => import('../steps/reduce/step.ts'),
  tokenize: () => import('../steps/tokenize/step.ts'),
  train: () => import('../steps/train/step.ts'),
  evaluate: () => import('../steps/evaluate/step.ts'),
  select: () => import('../steps/select/step.ts'),
  baseline: () => import('../steps/baseline/step.ts'),
  deploy: () => import('../steps/deploy/step.ts'),
};

export function builtinNames(): string[] {
  return Object.keys(STEPS);
}

/** Undefined if no built-in step has that name. Built-in steps use the same public contract as custom steps. */
export async function builtin(name: string): Promise<StepDefinition | undefined> {
  return Object.hasOwn(STEPS, name) ? ((await STEPS[name]!()).default as StepDefinition) : undefined;
}

/** `predict`. */
export const prediction = () => import('../steps/serving/predict.ts');

/** `serve`. */
export const serving = () => import('../steps/serving/serve.ts');

/** `generate`. */
export const generation = () => import('../steps/serving/generate.ts');

/** The schema of the options of `generate`, of which its flags are made. */
export const generationSchema = async () => (await import('../steps/ml/generation/options.ts')).generationOptions;

/** `setup tensorflow`. */
export const setup = () => import('../steps/ml/runtime/tensorflow/setup.ts');

/** Previews for `show`. */
export const previews = () => import('../steps/preview/preview.ts');

/** Training curves for TensorBoard. */
export const histories = () => import('../steps/preview/history.ts');

/** The libraries of steps, for `doctor`. */
export const libraries = () => import('../steps/ml/device/libraries.ts');

/** Memory and time of a training with each known model, for `models`. */
export const choices = () => import('../steps/choose/choose.ts');
