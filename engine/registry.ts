/** The only engine file that knows the built-in steps and serving. Each is loaded when it is asked for. */
import type { StepDefinition } from './step.ts';

const STEPS: Record<string, () => Promise<{ default: unknown }>> = {
  collect: () => import('../steps/collect/step.ts'),
  clean: () => import('../steps/clean/step.ts'),
  split: () => import('../steps/split/step.ts'),
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

/** Undefined where there is no built-in step of that name. Every one comes through the public contract. */
export async function builtin(name: string): Promise<StepDefinition | undefined> {
  return Object.hasOwn(STEPS, name) ? ((await STEPS[name]!()).default as StepDefinition) : undefined;
}

/**
 * Whether a step's process is as it was when the step is done, so that it may serve the next cell. Not where a tensor library
 * was loaded: it holds a device, its settings and its memory for as long as the process lives.
 */
export function leavesNothing(name: string): boolean {
  return LEAVING_NOTHING.has(name);
}

const LEAVING_NOTHING = new Set(['collect', 'clean', 'split', 'tokenize', 'select', 'baseline']);

/** `predict` and `serve`. */
export function serving() {
  return import('../steps/serving/serving.ts');
}

/** `generate`. */
export function generation() {
  return import('../steps/serving/generate.ts');
}

/** `setup tensorflow`. */
export function setup() {
  return import('../steps/runtime/tensorflow/setup.ts');
}

/** What `show` tells of artifacts. */
export function previews() {
  return import('../steps/preview/preview.ts');
}

/** Curves of past trainings for TensorBoard. */
export function histories() {
  return import('../steps/preview/history.ts');
}

/** What `doctor` tells of the libraries of steps. */
export function libraries() {
  return import('../steps/runtime/libraries.ts');
}
