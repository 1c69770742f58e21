/** Packs a trained model, and makes sure that its ONNX twin computes what the model computes. */
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { OptionsOf, StepContext } from '../../engine/step.ts';
import { loadModel, saveModel } from '../models/checkpoint.ts';
import { modelOnnx } from '../models/onnx.ts';
import { copyTokenizer, openTokenizer } from '../models/tokenizer.ts';
import { modelCard } from './card.ts';
import { checkOnnx } from './check.ts';
import type step from './step.ts';

type Context = Pick<StepContext, 'inputs' | 'outputs' | 'threads' | 'log'> & {
  options: OptionsOf<NonNullable<typeof step.options>>;
};

export async function deploy({ options, inputs, outputs, threads, log }: Context): Promise<void> {
  const bundle = outputs.bundle!;
  const model = await loadModel(inputs.model, 'text-classification');
  const training = { ...(await readJson(path.join(inputs.model, 'training.json'))), name: options.name };
  await openTokenizer(inputs.model, model.family.maxLength(model.config)); // a bundle that cannot read text is none

  await saveModel(bundle, model);
  await copyTokenizer(inputs.model, bundle);
  await copyIfThere(path.join(inputs.model, 'preprocessing.json'), path.join(bundle, 'preprocessing.json'));
  await writeJson(path.join(bundle, 'training.json'), training);
  if (inputs.metrics) await copyFile(inputs.metrics, path.join(bundle, 'metrics.json'));

  const onnx = modelOnnx(model);
  await checkOnnx(onnx, model, threads);
  await mkdir(path.join(bundle, 'onnx'));
  await writeFile(path.join(bundle, 'onnx', 'model.onnx'), onnx);

  const preprocessing = await readJson(path.join(bundle, 'preprocessing.json'));
  const metrics = inputs.metrics && (await readJson(inputs.metrics));
  await writeFile(path.join(bundle, 'README.md'), modelCard({ ...options, model, training, preprocessing, metrics }));
  const { size } = await stat(path.join(bundle, 'model.safetensors'));
  log(
    `${options.name}: ${model.family.type}, labels ${model.labels.join(', ')}, ${(size / 1e6).toFixed(1)} MB; the ONNX model agrees with it`,
  );
}

async function copyIfThere(from: string, to: string): Promise<void> {
  if (existsSync(from)) await copyFile(from, to);
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
}

async function readJson(file: string): Promise<Record<string, any> | undefined> {
  return existsSync(file) ? JSON.parse(await readFile(file, 'utf8')) : undefined;
}
