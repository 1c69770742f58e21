/**
 * Opens a bundle, or any Hugging Face model folder with a classifier: what is needed to answer a raw text.
 * Plain data, since every thread that classifies gets a copy.
 */
import { existsSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../engine/step.ts';
import { type Preprocessing, readPreprocessing } from '../data/preprocessing.ts';
import type { ConfigFile } from '../models/config.ts';
import { tokenizerJson } from '../models/tokenizer-json.ts';

export interface Bundle {
  /** Absolute. */
  folder: string;
  /** As `deploy` called it; else the folder's own name. */
  name: string;
  /** By id: the order of the logits. */
  labels: string[];
  /** Tokens of a text; what is longer is cut, as in training. */
  maxLength: number;
  /** What the training data went through; absent when that was nothing. */
  preprocessing?: Preprocessing;
  padTokenId: number;
  /** The ONNX model: a file's path, or its bytes. */
  model: string | Uint8Array;
  modelBytes: number;
}

export async function openBundle(given: string): Promise<Bundle> {
  const folder = path.resolve(given);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found)
    throw new StepError(
      `there is no folder ${given}`,
      'Give a bundle: the folder that the step `deploy` made, or a Hugging Face model folder.',
    );
  if (!found.isDirectory()) throw new StepError(`${given} is not a folder`, 'Give a bundle: the folder that the step `deploy` made.');
  const lacks = (name: string) => !existsSync(path.join(folder, name));
  if (lacks('config.json'))
    throw new StepError(
      `${given} has no config.json`,
      'A bundle holds config.json, tokenizer.json and onnx/model.onnx, or model.safetensors.',
    );
  await tokenizerJson(folder);

  const config = (await readJson(folder, 'config.json'))!;
  const labels = labelsOf(config, given);
  const training = await readJson(folder, 'training.json');
  const model = lacks(onnxFile) ? await exportModel(folder) : path.join(folder, onnxFile);
  return {
    folder,
    name: typeof training?.name === 'string' ? training.name : path.basename(folder),
    labels,
    maxLength: typeof training?.max_length === 'number' ? training.max_length : await maxLengthOf(folder, config),
    preprocessing: await readPreprocessing(folder),
    padTokenId: typeof config.pad_token_id === 'number' ? config.pad_token_id : 0,
    model,
    modelBytes: typeof model === 'string' ? (await stat(model)).size : model.byteLength,
  };
}

const onnxFile = path.join('onnx', 'model.onnx');

/** As transformers reads them: without `id2label` they are called LABEL_0, LABEL_1. */
function labelsOf(config: ConfigFile, folder: string): string[] {
  const architectures = Array.isArray(config.architectures) ? config.architectures.map(String) : [];
  if (architectures.length > 0 && !architectures.some((name) => name.endsWith('ForSequenceClassification')))
    throw new StepError(
      `${folder} holds a ${architectures.join(', ')}, which does not classify texts`,
      'Give a model trained for text classification.',
    );
  const problem = config.problem_type ?? 'single_label_classification';
  if (problem !== 'single_label_classification')
    throw new StepError(`${folder} was trained for ${problem}, which is not supported`, 'Supported: single_label_classification.');
  const names = (config.id2label ?? { 0: 'LABEL_0', 1: 'LABEL_1' }) as Record<string, unknown>;
  const labels = Object.keys(names).map((_, id) => names[id]);
  if (!labels.every((label) => typeof label === 'string'))
    throw new StepError(`config.json of ${folder}: id2label must name the labels 0, 1, 2 …`);
  if (labels.length < 2)
    throw new StepError(`${folder} has ${labels.length} label, and is no classifier`, 'Supported: single_label_classification.');
  return labels as string[];
}

/** Of a model that we did not train: what its tokenizer says, or what its positions allow. */
async function maxLengthOf(folder: string, config: ConfigFile): Promise<number> {
  const tokenizer = await readJson(folder, 'tokenizer_config.json');
  // RoBERTa's positions start behind the padding's.
  const unused = config.model_type === 'roberta' ? Number(config.pad_token_id ?? 1) + 1 : 0;
  const positions = Number(config.max_position_embeddings ?? 512) - unused;
  // A tokenizer without a limit says 1e30.
  return Math.min(positions, typeof tokenizer?.model_max_length === 'number' ? tokenizer.model_max_length : positions);
}

/** A folder without an ONNX model: made now, from its weights, by what `deploy` does. */
async function exportModel(folder: string): Promise<Uint8Array> {
  // Only here: a bundle that has its model is served without a tensor library.
  const { loadModel } = await import('../models/checkpoint.ts');
  const { modelOnnx } = await import('../models/onnx.ts');
  return modelOnnx(await loadModel(folder, 'text-classification'));
}

async function readJson(folder: string, name: string): Promise<Record<string, unknown> | undefined> {
  let text: string;
  try {
    text = await readFile(path.join(folder, name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const value = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below, as of JSON that is no object.
  }
  throw new StepError(`${path.join(folder, name)} is not a JSON object`, 'Was it cut off? Copy or deploy the bundle again.');
}
