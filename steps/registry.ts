/**
 * The built-in steps: each declaration with the function that runs it, both loaded on demand. And the functions behind the commands
 * for models and files. The engine finds them here and imports nothing else from steps/.
 */
import type {
  InputDeclarations,
  OptionSchemas,
  OutputDeclarations,
  StepContext,
  StepDeclaration,
  StepDefinition,
} from '../engine/contract/step.ts';

const STEPS = {
  collect: builtIn(
    () => import('./collect/step.ts'),
    async () => (await import('./collect/collect.ts')).collect,
  ),
  clean: builtIn(
    () => import('./clean/step.ts'),
    async () => (await import('./clean/clean.ts')).clean,
  ),
  split: builtIn(
    () => import('./split/step.ts'),
    async () => (await import('./split/split.ts')).split,
  ),
  check: builtIn(
    () => import('./check/step.ts'),
    async () => (await import('./check/check.ts')).check,
  ),
  drift: builtIn(
    () => import('./drift/step.ts'),
    async () => (await import('./drift/drift.ts')).drift,
  ),
  reduce: builtIn(
    () => import('./reduce/step.ts'),
    async () => (await import('./reduce/reduce.ts')).reduce,
  ),
  tokenize: builtIn(
    () => import('./tokenize/step.ts'),
    async () => (await import('./tokenize/tokenize.ts')).tokenize,
  ),
  train: builtIn(
    () => import('./train/step.ts'),
    async () => (await import('./train/train.ts')).train,
  ),
  calibrate: builtIn(
    () => import('./calibrate/step.ts'),
    async () => (await import('./calibrate/calibrate.ts')).calibrate,
  ),
  evaluate: builtIn(
    () => import('./evaluate/step.ts'),
    async () => (await import('./evaluate/evaluate.ts')).evaluate,
  ),
  behavior: builtIn(
    () => import('./behavior/step.ts'),
    async () => (await import('./behavior/behavior.ts')).behavior,
  ),
  select: builtIn(
    () => import('./select/step.ts'),
    async () => (await import('./select/select.ts')).select,
  ),
  baseline: builtIn(
    () => import('./baseline/step.ts'),
    async () => (await import('./baseline/baseline.ts')).baseline,
  ),
  require: builtIn(
    () => import('./require/step.ts'),
    async () => (await import('./require/require.ts')).require,
  ),
  deploy: builtIn(
    () => import('./deploy/step.ts'),
    async () => (await import('./deploy/deploy.ts')).deploy,
  ),
  promote: builtIn(
    () => import('./promote/step.ts'),
    async () => (await import('./promote/promote.ts')).promote,
  ),
  deployed: builtIn(
    () => import('./deployed/step.ts'),
    async () => (await import('./deployed/deployed.ts')).deployed,
  ),
  report: builtIn(
    () => import('./report/step.ts'),
    async () => (await import('./report/report.ts')).report,
  ),
};

export function builtinNames(): string[] {
  return Object.keys(STEPS);
}

/** Undefined if no built-in step has that name. */
export async function builtin(name: string): Promise<StepDefinition | undefined> {
  if (!Object.hasOwn(STEPS, name)) return undefined;
  return (await STEPS[name as keyof typeof STEPS]()) as StepDefinition<any>;
}

/** A step whose code is loaded when it runs. Built-in steps use the same contract as custom steps. */
function builtIn<O extends OptionSchemas, I extends InputDeclarations, P extends OutputDeclarations>(
  declaration: () => Promise<{ default: StepDeclaration<O, I, P> }>,
  code: () => Promise<(context: StepContext<O, I, P>) => Promise<void> | void>,
): () => Promise<StepDefinition<O, I, P>> {
  return async () => ({
    ...(await declaration()).default,
    run: async (context) => (await code())(context),
  });
}

/** `predict`. */
export const prediction = () => import('./serving/predict.ts');

/** The names of the protocols of `serve`. */
export { PROTOCOL_NAMES } from './serving/protocol-names.ts';

/** `serve`. */
export const serving = () => import('./serving/serve.ts');

/** `promote`. */
export const promotion = () => import('./ml/answering/promote.ts');

/** `push`. */
export const pushing = () => import('./ml/hub/push.ts');

/** `generate`. */
export const generation = () => import('./serving/generate.ts');

/** The schema of the options of `generate`, of which its flags are made. */
export const generationSchema = async () => (await import('./ml/generation/options.ts')).generationOptions;

/** `setup tensorflow`. */
export const setup = () => import('./ml/runtime/tensorflow/setup.ts');

/** Previews for `show`. */
export const previews = () => import('./preview/preview.ts');

/** Training curves for TensorBoard. */
export const histories = () => import('./preview/history.ts');

/** The libraries of steps, for `doctor`. */
export const libraries = () => import('./ml/device/libraries.ts');

/** Memory and time of a training with each known model, for `models`. */
export const choices = () => import('./choose/choose.ts');

/** Reports, for the command `report`. */
export const reports = () => import('./report/report.ts');
