/** The ONNX files with which a bundle in int8 answers. */

import { existsSync } from 'node:fs';
import path from 'node:path';
import { isGenerating } from '../models/config.ts';
import { generatingOnnx } from '../models/generating-onnx.ts';
import { describeModel, loadModel } from '../models/model-folder.ts';
import type { DecoderFiles } from '../runtime/onnx/decoder-file.ts';
import { ONNX_FILES, onnxPath } from '../runtime/quantization.ts';
import { quantizationOf } from './bundle.ts';

/** Undefined unless a generating model was deployed in int8. Without the files, as in a folder from a hub, they are made again. */
export async function int8Files(folder: string): Promise<DecoderFiles | undefined> {
  if ((await quantizationOf(folder)) !== 'int8' || !isGenerating((await describeModel(folder)).task)) return undefined;
  const found = ONNX_FILES.filter((file) => existsSync(path.join(folder, onnxPath('int8', file))));
  if (found.length > 0) return Object.fromEntries(found.map((file) => [file, path.join(folder, onnxPath('int8', file))]));
  return generatingOnnx(await loadModel(folder), 'int8');
}
