/** Packs a trained model, and verifies that its ONNX export computes the same. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type OptionsOf, type StepContext, StepError } from '../../engine/step.ts';
import { carryPreprocessing, readPreprocessing } from '../data/preprocessing.ts';
import { carrySources, readSources } from '../data/sources.ts';
import { listed, loadModel, saveModel } from '../models/checkpoint.ts';
import { readEncoding } from '../models/encoding.ts';
import { isGenerating } from '../models/family.ts';
import { copyGenerationConfig } from '../models/generation-config.ts';
import { modelOnnx } from '../models/onnx.ts';
import { copyTokenizer } from '../models/tokenizer.ts';
import { openEncoder } from '../tasks/encoder.ts';
import { type Metrics, modelCard } from './card.ts';
import { checkOnnx } from './check.ts';
import type step from './step.ts';

type Context = Pick<StepContext, 'inputs' | 'outputs' | 'threads' | 'log'> & {
  options: OptionsOf<NonNullable<typeof step.options>>;
};

export async function deploy({ options, inputs, outputs, threads, log }: Context): Promise<void> {
  const bundle = outputs.bundle!;
  const model = await loadModel(inputs.model);
  const name = options.name ?? model.task;
  const training = { ...(await readJson(path.join(inputs.model, 'training.json'))), name };
  const encoding = await readEncoding(inputs.model);
  const preprocessing = await readPreprocessing(inputs.model);
  const sources = await readSources(inputs.model);
  // A bundle needs a working tokenizer.
  const { tokenizer, mask } = await openEncoder({
    folder: inputs.model,
    task: model.task,
    encoding: { max_length: model.family.maxLength(model.config), ...encoding },
    preprocessing,
    padTokenId: model.config.pad_token_id,
  });

  await saveModel(bundle, model);
  await copyTokenizer(inputs.model, bundle);
  await carryPreprocessing(inputs.model, bundle);
  await carrySources(inputs.model, bundle);
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
      metrics,
    }),
  );
  const { size } = await stat(path.join(bundle, 'model.safetensors'));
  log(
    `${name}: ${model.family.type} for ${model.task}${model.labels.length > 0 ? `, labels ${listed(model.labels)}` : ''}, ${(size / 1e6).toFixed(1)} MB${isGenerating(model.task) ? '' : '; the ONNX model agrees with it'}`,
  );
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
