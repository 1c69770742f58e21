/** The ONNX files of a bundle. */

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isGenerating } from '../ml/models/config.ts';
import { modelOnnx } from '../ml/models/family.ts';
import { generatingOnnx } from '../ml/models/generating-onnx.ts';
import { type Model, readConfig, writeConfig } from '../ml/models/model-folder.ts';
import { type OnnxFile, type OnnxFiles, onnxPath, type Quantization } from '../ml/runtime/quantization.ts';
import { checkGeneratingOnnx } from './check-generating-onnx.ts';
import { checkOnnx } from './check-onnx.ts';

/** Exports a model, and verifies that the files compute the same as `reference`, which is by default the model itself. */
export async function exportFiles(
  model: Model,
  threads: number,
  { quantize, reference = model, tolerance }: { quantize?: Quantization; reference?: Model; tolerance?: number } = {},
): Promise<OnnxFiles> {
  if (isGenerating(model.task)) {
    const files = generatingOnnx(model, quantize);
    await checkGeneratingOnnx(files, reference, threads, tolerance);
    return files;
  }
  const onnx = modelOnnx(model, quantize);
  await checkOnnx(onnx, reference, threads, tolerance);
  return { model: onnx };
}

/** Returns the paths in the bundle. */
export async function writeFiles(bundle: string, files: OnnxFiles, type: Quantization | 'fp32'): Promise<string[]> {
  const paths: string[] = [];
  await mkdir(path.join(bundle, 'onnx'), { recursive: true });
  for (const [name, onnx] of Object.entries(files)) {
    const file = onnxPath(type, name as OnnxFile);
    await writeFile(path.join(bundle, file), onnx);
    paths.push(file);
  }
  return paths;
}

/** Adds to config.json what a program needs that runs the files of a generating model and, unlike transformers, has no defaults. */
export async function completeConfig(bundle: string, { family, config }: Model): Promise<void> {
  const file = await readConfig(bundle);
  const missing = (family.decoder?.fields ?? []).filter((field) => !(field in file));
  const values: Record<string, unknown> = { ...config };
  if (missing.length > 0) await writeConfig(bundle, { ...file, ...Object.fromEntries(missing.map((field) => [field, values[field]])) });
}

export const bytesOf = (files: OnnxFiles): number => Object.values(files).reduce((sum, { byteLength }) => sum + byteLength, 0);
