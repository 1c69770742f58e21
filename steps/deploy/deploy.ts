/** Packs a trained model, and verifies that its ONNX export computes the same. */

import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/contract/step.ts';
import { carryPreprocessing, readPreprocessing } from '../ml/data/preprocessing.ts';
import { carrySources, readSources } from '../ml/data/table.ts';
import { carryCalibration, readCalibration } from '../ml/models/calibration.ts';
import { isGenerating } from '../ml/models/config.ts';
import { type FloatType, sharedFloatType } from '../ml/models/float-types.ts';
import { listed } from '../ml/models/json.ts';
import { copyGenerationConfig, loadModel, saveModel } from '../ml/models/model-folder.ts';
import { openWeights } from '../ml/models/safetensors.ts';
import { copyTokenizer } from '../ml/models/tokenizer.ts';
import { fitsOnnx } from '../ml/runtime/onnx/export.ts';
import { openEncoder, readEncoding } from '../ml/tasks/encoder.ts';
import { type Metrics, modelCard } from './card.ts';
import { completeConfig, exportFiles, writeFiles } from './onnx-files.ts';
import { pushToHub } from './push-to-hub.ts';
import { type DeployContext, declareDtype, prepareQuantization, quantizeBundle } from './quantized.ts';
import { bundleIn, writeTarget } from './targets/targets.ts';

export async function deploy(context: DeployContext): Promise<void> {
  const { options, inputs, outputs, threads, log, warn } = context;
  const { quantize, target = 'bundle' } = options;
  const bundle = bundleIn(outputs.bundle!, target);
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

  const comparison = await prepareQuantization(context, model);
  await saveModel(bundle, model, model.weights, quantize === 'fp16' ? 'float16' : await floatTypeOf(inputs.model));
  await declareDtype(bundle, quantize);
  await copyTokenizer(inputs.model, bundle);
  await carryPreprocessing(inputs.model, bundle);
  await carrySources(inputs.model, bundle);
  await carryCalibration(inputs.model, bundle);
  await writeJson(path.join(bundle, 'training.json'), training);
  const metrics = inputs.metrics === undefined ? undefined : await readMetrics(inputs.metrics);
  if (metrics) await writeJson(path.join(bundle, 'metrics.json'), metrics);

  const float32 = fitsOnnx(model.weights) ? await exportFiles(model, threads) : undefined;
  if (!float32) warn(TOO_LARGE);
  if (float32 && !quantize) await writeFiles(bundle, float32, 'fp32');
  if (isGenerating(model.task)) {
    await copyGenerationConfig(inputs.model, bundle);
    await completeConfig(bundle, model);
  }
  const quantization = quantize && (await quantizeBundle(context, bundle, { model, quantize, float32, comparison }));

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
      quantization,
      onnx: float32 !== undefined,
    }),
  );
  await writeTarget(outputs.bundle!, target);
  if (options.hub) await pushToHub(bundle, options.hub, context);
  const { size } = await stat(path.join(bundle, 'model.safetensors'));
  log(
    `${name}: ${model.family.type} for ${model.task}${model.labels.length > 0 ? `, labels ${listed(model.labels)}` : ''}, ${(size / 1e6).toFixed(1)} MB${float32 ? '; the ONNX model agrees with it' : ''}`,
  );
}

const TOO_LARGE =
  'the bundle has no ONNX model, because an ONNX file is limited to 2 GB: `generate`, `serve` and transformers use model.safetensors';

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
