/** Packs a trained model, and verifies that its ONNX export computes the same. */

import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type OptionsOf, type StepContext, StepError } from '../../engine/contract/step.ts';
import { carryPreprocessing, readPreprocessing } from '../ml/data/preprocessing.ts';
import { carrySources, readSources } from '../ml/data/table.ts';
import { openRuntime } from '../ml/device/open.ts';
import { carryCalibration, readCalibration } from '../ml/models/calibration.ts';
import { isGenerating } from '../ml/models/config.ts';
import { modelOnnx } from '../ml/models/family.ts';
import { type FloatType, sharedFloatType } from '../ml/models/float-types.ts';
import { listed } from '../ml/models/json.ts';
import { copyGenerationConfig, loadModel, type Model, saveModel } from '../ml/models/model-folder.ts';
import { random } from '../ml/models/random.ts';
import { openWeights } from '../ml/models/safetensors.ts';
import { copyTokenizer } from '../ml/models/tokenizer.ts';
import * as ort from '../ml/runtime/onnx/library.ts';
import type { HostTensors } from '../ml/runtime/runtime.ts';
import { openEncoder, readEncoding } from '../ml/tasks/encoder.ts';
import { type Metrics, modelCard } from './card.ts';
import type step from './step.ts';
import { bundleIn, writeTarget } from './targets/targets.ts';

type Context = Pick<StepContext, 'inputs' | 'outputs' | 'threads' | 'log'> & {
  options: OptionsOf<NonNullable<typeof step.options>>;
};

export async function deploy({ options, inputs, outputs, threads, log }: Context): Promise<void> {
  const bundle = bundleIn(outputs.bundle!, options.target);
  const model = await loadModel(inputs.model);
  const name = options.name ?? model.task;
  const training = { ...(await readJson(path.join(inputs.model, 'training.json'))), name };
  const encoding = await readEncoding(inputs.model);
  const preprocessing = await readPreprocessing(inputs.model);
  const sources = await readSources(inputs.model);
  const calibration = await readCalibration(inputs.model, model);
  // A bundle needs a working tokenizer.
  const { tokenizer, mask } = await openEncoder({
    folder: inputs.model,
    task: model.task,
    encoding: { max_length: model.family.maxLength(model.config), ...encoding },
    preprocessing,
    padTokenId: model.config.pad_token_id,
  });

  await saveModel(bundle, model, model.weights, await floatTypeOf(inputs.model));
  await copyTokenizer(inputs.model, bundle);
  await carryPreprocessing(inputs.model, bundle);
  await carrySources(inputs.model, bundle);
  await carryCalibration(inputs.model, bundle);
  await writeJson(path.join(bundle, 'training.json'), training);
  const metrics = inputs.metrics && (await readMetrics(inputs.metrics));
  if (metrics) await writeJson(path.join(bundle, 'metrics.json'), metrics);

  if (isGenerating(model.task)) {
    // Generating models run from their weights: an ONNX export has no KV cache and would read the whole text again
    // for each token.
    await copyGenerationConfig(inputs.model, bundle);
  } else {
    const onnx = modelOnnx(model);
    await checkOnnx(onnx, model, threads);
    await mkdir(path.join(bundle, 'onnx'));
    await writeFile(path.join(bundle, 'onnx', 'model.onnx'), onnx);
  }

  await writeFile(
    path.join(bundle, 'README.md'),
    modelCard({
      ...options,
      name,
      model,
      training,
      sources,
      preprocessing,
      truncationSide: tokenizer.truncationSide,
      mask: mask?.token,
      calibration,
      metrics,
    }),
  );
  await writeTarget(outputs.bundle!, options.target);
  const { size } = await stat(path.join(bundle, 'model.safetensors'));
  log(
    `${name}: ${model.family.type} for ${model.task}${model.labels.length > 0 ? `, labels ${listed(model.labels)}` : ''}, ${(size / 1e6).toFixed(1)} MB${isGenerating(model.task) ? '' : '; the ONNX model agrees with it'}`,
  );
}

/** A model that `reduce` stored in half precision stays so: its numbers are the same, and the file has half the size. */
async function floatTypeOf(folder: string): Promise<FloatType> {
  const weights = (await openWeights(folder))!;
  await weights.close();
  return sharedFloatType(weights.tensors.values());
}

/** One evaluation: the output of `evaluate`, or the choice of `select`. */
async function readMetrics(file: string): Promise<Metrics> {
  const report = await readJson(file);
  const metrics = report?.chosen ?? report;
  if (typeof metrics?.metrics !== 'object' || metrics.metrics === null)
    throw new StepError(
      `metrics: ${path.basename(file)} was not written by evaluate`,
      'Use the `metrics` of an evaluate step, or the `choice` of a select step.',
    );
  return metrics as Metrics;
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

async function readJson(file: string): Promise<Record<string, any> | undefined> {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(await readFile(file, 'utf8'));
  } catch (error) {
    throw new StepError(`${path.basename(file)} is not JSON: ${(error as Error).message}`);
  }
}

/**
 * Compares an exported ONNX model with the original on batches of several shapes: an error in the derived shapes would
 * silently give wrong answers. @throws if the two differ, which is a bug in the export that no user can fix
 */
export async function checkOnnx(onnx: Uint8Array, model: Model, threads: number): Promise<void> {
  const session = await ort.InferenceSession.create(onnx, { intraOpNumThreads: threads, logSeverityLevel: 3 });
  const inference = (await openRuntime('onnx', { threads })).inference(model.program, model.weights);
  try {
    const longest = model.family.maxLength(model.config);
    for (const lengths of [[1], [5, 9, 2], [Math.min(longest, 128), 40]]) {
      const inputs = randomBatch(
        lengths.map((length) => Math.min(length, longest)),
        model.config.vocab_size,
      );
      const expected = await inference.run(inputs);
      const outputs = await session.run(feeds(inputs, session.inputNames));
      for (const name of session.outputNames) {
        const own = expected[name]!.data as Float32Array;
        const exported = outputs[name]!.data as Float32Array;
        const difference = norm(own.map((value, i) => value - exported[i]!)) / norm(own);
        // Not `>`: NaN must count as a difference too.
        if (!(difference <= tolerance))
          throw new Error(`the ONNX export differs from the model: ${name} of ${lengths.length} rows differ by ${difference}`);
      }
    }
  } finally {
    await inference.dispose();
    await session.release();
  }
}

/** Float32 sums in another order differ by less; a wrong shape or axis differs by far more. */
const tolerance = 1e-4;

/** Rows of random ids, padded to the longest. */
function randomBatch(lengths: number[], vocabulary: number): HostTensors {
  const width = Math.max(...lengths);
  const shape = [lengths.length, width];
  const uniform = random('check', ...lengths);
  const fill = (valueAt: (row: number, i: number) => number) => ({
    dtype: 'int32' as const,
    shape,
    data: Int32Array.from({ length: lengths.length * width }, (_, at) => valueAt(Math.floor(at / width), at % width)),
  });
  return {
    input_ids: fill((row, i) => (i < lengths[row]! ? Math.floor(uniform() * vocabulary) : 0)),
    attention_mask: fill((row, i) => (i < lengths[row]! ? 1 : 0)),
    token_type_ids: fill(() => 0),
  };
}

function feeds(inputs: HostTensors, names: readonly string[]): Record<string, ort.Tensor> {
  return Object.fromEntries(
    names.map((name) => [name, new ort.Tensor('int64', BigInt64Array.from(inputs[name]!.data as Int32Array, BigInt), inputs[name]!.shape)]),
  );
}

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
