/** Opens a bundle, or any Hugging Face model folder of a supported task, as plain data: every worker thread gets a copy. */
import { existsSync, statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { type Preprocessing, readPreprocessing } from '../data/preprocessing.ts';
import { type ModelCalibration, readCalibration } from '../models/calibration.ts';
import { type ConfigFile, isGenerating, labelsOf, type ProblemType, problemOf, type Task, taskOf } from '../models/config.ts';
import { isPointer, unresolvedPointer } from '../models/pointer.ts';
import type { Encoding } from '../models/token-dataset.ts';
import { tokenizerJson } from '../models/tokenizer-json.ts';
import { ONNX_FILES, onnxPath, QUANTIZATIONS, type Quantization } from '../runtime/quantization.ts';
import { readEncoding } from '../tasks/encoder.ts';
import { taskKind } from '../tasks/registry.ts';
import type { Field, TaskKind } from '../tasks/task.ts';

export interface Bundle {
  /** Absolute. */
  folder: string;
  /** The name given in `deploy`, or the name of the folder. */
  name: string;
  task: Task;
  problem: ProblemType;
  /** The fields of an input. A model that tunesmith trained accepts what it was trained on: single texts, or pairs. */
  fields: TaskKind['fields'];
  /** By id, in the order of the logits; for tasks that classify. */
  labels: string[];
  calibration?: ModelCalibration | undefined;
  /** How an input is encoded, as in training. */
  encoding: Partial<Encoding>;
  /** The preprocessing of the training data. */
  preprocessing: Preprocessing;
  padTokenId: number;
  /** Rows of the embedding table; config.json of older models may omit them, so that the family's default applies. */
  vocabulary: number | undefined;
  /** The ONNX model: a file's path, or its bytes. Generating models have none: they run from the folder's weights. */
  model: string | Uint8Array;
  /** What the weights take in memory. */
  modelBytes: number;
  /** How the weights of the ONNX model are stored; undefined for float32. */
  quantization: Quantization | undefined;
}

export async function openBundle(given: string): Promise<Bundle> {
  const folder = bundleIn(path.resolve(given));
  const stats = statSync(folder, { throwIfNoEntry: false });
  if (!stats)
    throw new StepError(
      `the folder ${given} does not exist`,
      'Give a bundle: the output of the step `deploy`, a Hugging Face model folder, or its address: hf://owner/name',
    );
  if (!stats.isDirectory()) throw new StepError(`${given} is not a folder`, 'Give a bundle: the output folder of the step `deploy`.');
  const lacks = (name: string) => !existsSync(path.join(folder, name));
  if (isPointer(folder)) throw unresolvedPointer(given);
  if (lacks('config.json'))
    throw new StepError(
      `${given} has no config.json`,
      'A bundle contains config.json, tokenizer.json and onnx/model.onnx, or model.safetensors.',
    );
  await tokenizerJson(folder);
  for (const name of jsonFiles) await readJson(folder, name);

  const config = (await readJson(folder, 'config.json'))!;
  const task = taskOf(config, given);
  const labels = labelsOf(config);
  if (!labels) throw new StepError(`config.json of ${given}: id2label must name the labels 0, 1, 2 …, each once`);
  const training = await readJson(folder, 'training.json');
  const encoding = await readEncoding(folder);
  const problem = problemOf(config, labels);
  const calibration = await readCalibration(folder, { task, problem, labels });
  const quantization = isGenerating(task) ? undefined : await quantizationOf(folder);
  const file = servedFile(folder);
  const model = isGenerating(task) ? '' : file ? path.join(folder, onnxPath(file)) : await exportModel(folder, quantization);
  return {
    folder,
    name: typeof training?.name === 'string' ? training.name : path.basename(folder),
    task,
    problem,
    fields: [...fieldsOf(task, encoding), ...groupOf(calibration)],
    labels,
    calibration,
    encoding: isGenerating(task) ? encoding : { ...encoding, max_length: await maxLengthOf(folder, config, encoding) },
    preprocessing: await readPreprocessing(folder),
    vocabulary: typeof config.vocab_size === 'number' ? config.vocab_size : undefined,
    padTokenId: typeof config.pad_token_id === 'number' ? config.pad_token_id : 0,
    model,
    modelBytes: await bytesInMemory(model, quantization),
    quantization,
  };
}

/** The folders that `deploy` makes for a target other than `bundle` contain the bundle. */
function bundleIn(folder: string): string {
  const within = path.join(folder, 'bundle');
  return !existsSync(path.join(folder, 'config.json')) && existsSync(path.join(within, 'config.json')) ? within : folder;
}

/** How the weights of the folder's ONNX model are stored; undefined if it has none. A bundle has one. */
const servedFile = (folder: string): Quantization | 'fp32' | undefined =>
  (['fp32', 'int8', 'fp16'] as const).find((type) => ONNX_FILES.some((file) => existsSync(path.join(folder, onnxPath(type, file)))));

/** Without an ONNX model, as in a folder from a hub, quantization.json says how the model was deployed. */
export async function quantizationOf(folder: string): Promise<Quantization | undefined> {
  const file = servedFile(folder);
  if (file) return file === 'fp32' ? undefined : file;
  const quantize = (await readJson(folder, 'quantization.json'))?.quantize;
  return QUANTIZATIONS.find((name) => name === quantize);
}

/** onnxruntime converts weights in float16 to float32. */
async function bytesInMemory(model: string | Uint8Array, quantization: Quantization | undefined): Promise<number> {
  const bytes = typeof model === 'string' ? (model === '' ? 0 : (await stat(model)).size) : model.byteLength;
  return quantization === 'fp16' ? 2 * bytes : bytes;
}

/** The optional files of the folder; damage is detected before the first request. */
const jsonFiles = [
  'training.json',
  'preprocessing.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  'metrics.json',
  'quantization.json',
];

/** For a text classifier from elsewhere it is unknown whether it was trained on pairs: it accepts both forms. */
function fieldsOf(task: Task, { pairs, max_length }: Partial<Encoding>): TaskKind['fields'] {
  const { fields } = taskKind(task);
  if (max_length === undefined) return fields;
  return fields.filter(({ optional }) => !optional || pairs).map(({ optional: _, ...field }) => field);
}

/** The column whose values have thresholds of their own. */
const groupOf = (calibration: ModelCalibration | undefined): Field[] =>
  calibration?.group === undefined ? [] : [{ name: calibration.group, group: true }];

/** The message for a field that the task has, but with which the model was not trained. */
export const notTaken = (name: string): string => `this model was trained on single texts, and does not accept ${name}`;

/** A masked language model outputs a score for every token of its vocabulary at every position, so its runs are smaller. */
export function tokensOfRun({ task, vocabulary = 0 }: Bundle, usual: number): number {
  return task === 'masked-lm' && vocabulary > 0 ? Math.min(usual, Math.floor(mostScores / vocabulary)) : usual;
}

/** 16 MB. */
const mostScores = 1 << 22;

/** As in training; for other models the limit of the tokenizer, or of the model's positions. */
async function maxLengthOf(folder: string, config: ConfigFile, encoding: Partial<Encoding>): Promise<number> {
  // RoBERTa's positions start after the padding token's.
  const unused = /roberta|camembert/.test(String(config.model_type)) ? Number(config.pad_token_id ?? 1) + 1 : 0;
  const usual = { gpt2: 1024, modernbert: 8192 }[String(config.model_type)] ?? 512;
  const most = Number(config.max_position_embeddings ?? config.n_positions ?? usual) - unused;
  const trained = encoding.max_length;
  if (trained !== undefined) {
    if (trained <= most) return trained;
    throw new StepError(
      `training.json of ${folder}: max_length ${trained} exceeds the ${most} tokens for which the model has positions`,
      'training.json and config.json belong to different models: copy or deploy the bundle again.',
    );
  }
  const limit = (await readJson(folder, 'tokenizer_config.json'))?.model_max_length;
  if (typeof limit !== 'number') return most;
  if (limit < 1) throw new StepError(`tokenizer_config.json of ${folder}: model_max_length ${limit} leaves no room for a text`);
  // A tokenizer without a limit has 1e30.
  return Math.min(most, Math.floor(limit));
}

/** Exports the weights of a folder without an ONNX model, as `deploy` does. */
async function exportModel(folder: string, quantize: Quantization | undefined): Promise<Uint8Array> {
  // Imported only here, so that a bundle with an ONNX model is served without a tensor library.
  const { loadModel } = await import('../models/model-folder.ts');
  const { modelOnnx } = await import('../models/family.ts');
  return modelOnnx(await loadModel(folder), quantize);
}

async function readJson(folder: string, name: string): Promise<Record<string, unknown> | undefined> {
  let text: string;
  try {
    text = await readFile(path.join(folder, name), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new StepError(`${path.join(folder, name)} cannot be read: ${(error as Error).message}`);
  }
  try {
    const value = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch {
    // Said below, as of JSON that is no object.
  }
  throw new StepError(`${path.join(folder, name)} is not a JSON object`, 'The file may be truncated: copy or deploy the bundle again.');
}
