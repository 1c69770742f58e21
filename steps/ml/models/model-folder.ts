/**
 * Reads a model folder in the format of the Hugging Face hub, with its weights or random weights, and writes one that
 * transformers loads without options. It warns only about the pooler of a masked language model, which it does not use.
 */

import { existsSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { memoryLimit, StepError } from '../../../engine/contract/step.ts';
import type { CrossEntropyOptions } from '../runtime/ops.ts';
import type { Axes, HostTensor, HostTensors, Program } from '../runtime/runtime.ts';
import { aModel, type ConfigFile, knownTask, labelsOf, type ProblemType, problemOf, type Task, taskFacts, taskOf } from './config.ts';
import type { Distillation } from './distillation.ts';
import { axesFor, type Config, type Family, type GeneratingHead, type Head, poolerParameters, programFor } from './family.ts';
import { asFloatType, type FloatType, withFloatType } from './float-types.ts';
import { listed, readJson, shown } from './json.ts';
import type { Parameter, Parameters } from './nn.ts';
import { isPointer, unresolvedPointer } from './pointer.ts';
import { random, truncatedNormal } from './random.ts';
import { familyOf } from './registry.ts';
import { float32, openWeights, type StoredTensor, toFloat32, writeSafetensors } from './safetensors.ts';

export interface Model {
  family: Family;
  task: Task;
  problem: ProblemType;
  /** config.json as it was read, and the same with the family's defaults. */
  file: ConfigFile;
  config: Config;
  /** Names of the outputs, in the order of the logits; empty if the task has no labels. */
  labels: string[];
  parameters: Parameters;
  weights: HostTensors;
  /** Weights that the program does not use and saveModel writes again: the pooler of a masked language model. */
  carried?: HostTensors;
  program: Program;
  /** Axes of the program's inputs. */
  axes: Axes;
}

/** A model without its weights. */
export type DescribedModel = Pick<Model, 'family' | 'task' | 'file' | 'config'>;

export interface ModelStart {
  task: Task;
  /** For text-classification; default: one label of several. */
  problem?: ProblemType;
  labels: string[];
  /** Replace a head that was trained for other labels. */
  replaceHead?: boolean;
  /** Ignore the weights of the folder. */
  fromScratch?: boolean | undefined;
  /** The seed of random weights. */
  seed: number;
  /** For one label of several: the class weights, and label smoothing. */
  loss?: CrossEntropyOptions;
  /** If it is trained with a teacher. */
  distillation?: Distillation | undefined;
  /** Overrides the dropout rates of the config. */
  dropout?: number | undefined;
  /** What the log reports about the initial weights. */
  say: (message: string) => void;
}

/** Opens a model to be trained: with the folder's weights or, if it has none or is to start from scratch, random ones. `fresh`: its weights that are in no file. */
export async function startModel(folder: string, start: ModelStart): Promise<Model & { fresh: string[] }> {
  const { task, problem = 'single_label_classification', labels, fromScratch, seed, dropout, loss, distillation, say } = start;
  const file = await readConfig(folder);
  const family = familyOf(file);
  const { parameters: headParameters, labelled, tiedTo } = headOf(family, task, file);
  if (dropout !== undefined) for (const field of family.dropouts) file[field] = dropout;
  const config: Config = family.configure(file);
  const base = family.parameters(config);
  const program = programFor(family, task, config, problem, loss, distillation);
  const pooler = task === 'masked-lm' ? poolerParameters(family, config) : {};
  const learnsPooler = distillation !== undefined && distillation.pooled > 0;
  const all = { ...headParameters(config, labels.length), ...(learnsPooler && pooler) };
  const stored = fromScratch ? undefined : await openNamed(folder, family, task, { ...base, ...all, ...pooler });
  const head = stored ? withoutTied(all, tiedTo, stored) : all;
  const parameters = { ...base, ...head };
  const model = { family, task, problem, file, config, labels, parameters, program, axes: axesFor(task, problem, labels.length) };
  if (!stored) {
    say(`${fromScratch ? 'from_scratch' : 'no model.safetensors'}: all weights are randomly initialized`);
    if (learnsPooler) sayFresh(Object.keys(pooler), pooler, say);
    return { ...model, weights: startAll(parameters, config, seed), carried: {}, fresh: Object.keys(parameters) };
  }
  try {
    const { head: kept, order } = headToKeep(file, start, head, labelled, stored);
    const carries = Object.entries(pooler).filter(([name]) => !(name in parameters) && stored.entries.has(name));
    const read = await readWeights(stored, { ...base, ...kept, ...Object.fromEntries(carries) });
    const carried = Object.fromEntries(carries.map(([name]) => [name, read[name]!]));
    const weights = Object.fromEntries(Object.entries(read).filter(([name]) => !(name in carried)));
    if (labels.length > 0) for (const name of labelled) if (weights[name]) weights[name] = reorderRows(weights[name], order);
    const fresh = Object.keys(head).filter((name) => !(name in kept));
    for (const name of fresh) weights[name] = startOne(name, head[name]!, config, seed);
    say(`${Object.keys(base).length + Object.keys(kept).length} weights read from ${stored.source}`);
    sayFresh(fresh, pooler, say);
    if (carries.length > 0) say(`kept unchanged, because a later text-classification uses them: ${listed(Object.keys(carried))}`);
    const unused = [...stored.entries.keys()].filter((name) => !(name in weights || name in carried));
    if (unused.length > 0) say(`ignored, because ${aModel(family.type)} for ${task} does not use them: ${listed(unused)}`);
    // In the order of the parameters, as for random weights.
    return { ...model, weights: Object.fromEntries(Object.keys(parameters).map((name) => [name, weights[name]!])), carried, fresh };
  } finally {
    await stored.close();
  }
}

function sayFresh(fresh: string[], pooler: Parameters, say: ModelStart['say']): void {
  const [identity, random] = [fresh.filter((name) => name in pooler), fresh.filter((name) => !(name in pooler))];
  if (random.length > 0) say(`randomly initialized: ${listed(random)}`);
  if (identity.length > 0) say(`initialized as the identity: ${listed(identity)}`);
}

/** Reads config.json of a trained model. */
export async function describeModel(folder: string): Promise<DescribedModel> {
  const file = await readConfig(folder);
  const family = familyOf(file);
  return { file, family, config: family.configure(file), task: taskOf(file, shown(folder)) };
}

/** The same of an open model: unlike it, this does not keep the weights in memory. */
export const describedOf = ({ family, task, file, config }: DescribedModel): DescribedModel => ({ family, task, file, config });

/** Opens a trained model with its head; only for `task` if one is given. */
export async function loadModel(folder: string, wanted?: Task): Promise<Model> {
  const { file, family, config, task } = await describeModel(folder);
  if (wanted !== undefined && task !== wanted)
    throw new StepError(`${shown(folder)} contains a model for ${task}, not for ${wanted}`, `Train one for ${wanted}.`);
  const named = labelsOf(file);
  if (!named) throw new StepError(`${shown(folder)}: id2label in its config.json must name the labels 0, 1, 2 …, each once`);
  const problem = problemOf(file, named);
  const labels = task.endsWith('-classification') ? named : [];
  const head = headOf(family, task, file);
  const base = family.parameters(config);
  const all = head.parameters(config, labels.length);
  const stored = await openNamed(folder, family, task, { ...base, ...all });
  if (!stored)
    throw new StepError(`${shown(folder)} has no model.safetensors`, 'Train it first: this folder contains only a configuration.');
  try {
    const ownParameters = withoutTied(all, head.tiedTo, stored);
    const parameters: Parameters = { ...base, ...ownParameters };
    const own = Object.keys(ownParameters);
    if (own.length > 0 && !own.some((name) => stored.entries.has(name)))
      throw new StepError(`${shown(folder)} has no head for ${task}`, 'Train it first.');
    const weights = await readWeights(stored, parameters);
    const program = programFor(family, task, config, problem);
    const axes = axesFor(task, problem, labels.length);
    return { family, task, problem, file, config, labels, parameters, weights, program, axes };
  } finally {
    await stored.close();
  }
}

/** Writes config.json and model.safetensors. `weights`: by default the model's own. `dtype`: the type in which they are stored. */
export async function saveModel(
  folder: string,
  model: Model,
  weights: HostTensors = model.weights,
  dtype: FloatType = 'float32',
): Promise<void> {
  const { family, task, problem, labels } = model;
  // With the type of the original weights, loaders would read the new ones in that type.
  const { dtype: _, torch_dtype: __, num_labels: ___, id2label: ____, label2id: _____, problem_type: ______, ...file } = model.file;
  const config = {
    ...(dtype === 'float32' ? file : withFloatType(file, dtype)),
    architectures: [headOf(family, task, model.file).architecture],
    model_type: family.type,
    ...(labels.length > 0 && {
      id2label: Object.fromEntries(labels.entries()),
      label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    }),
    ...(taskFacts(task).problems && { problem_type: problem }),
    // transformers has no default for it, and would not generate without it.
    ...(model.config.decoder_start_token_id !== undefined && { decoder_start_token_id: model.config.decoder_start_token_id }),
  };
  await mkdir(folder, { recursive: true });
  await writeConfig(folder, config);
  const stored = Object.entries({ ...weights, ...model.carried }).map(([name, { data, shape }]) => [
    name,
    asFloatType(float32(data as Float32Array, shape), dtype, name),
  ]);
  await writeSafetensors(path.join(folder, 'model.safetensors'), Object.fromEntries(stored), { format: 'pt' });
}

export async function writeConfig(folder: string, config: ConfigFile): Promise<void> {
  // transformers requires a float here, and JavaScript writes 1.0 as 1.
  const text = JSON.stringify(config, null, 2).replace(FLOATS, '$1.0');
  await writeFile(path.join(folder, 'config.json'), `${text}\n`);
}

const FLOATS =
  /^( +"(?:initializer_(?:cutoff_)?factor|initializer_range|(?:layer_)?norm_eps|layer_norm_epsilon|(?:global_|local_)?rope_theta)": \d+)(?=,?$)/gm;

/** @throws StepError if there is none, or the folder contains an adapter */
export async function readConfig(folder: string): Promise<ConfigFile> {
  const file = path.join(folder, 'config.json');
  if (isPointer(folder)) throw unresolvedPointer(shown(folder));
  if (!existsSync(file) && existsSync(path.join(folder, 'adapter_config.json')))
    throw new StepError(
      `${shown(folder)} contains a LoRA adapter, not a model`,
      'Train with `lora.merge: true`, or merge it in Python: PeftModel.from_pretrained(base, folder).merge_and_unload().',
    );
  if (!existsSync(file))
    throw new StepError(
      `${shown(folder)} has no config.json`,
      'A model folder needs config.json and tokenizer.json, and model.safetensors unless training starts from random weights.',
    );
  return readJson(file);
}

/** @throws StepError if the family has no head for the task, or this model needs one that is not supported */
export function headOf(family: Family, task: Task, file: ConfigFile): Head | GeneratingHead {
  const head = family.heads[task];
  if (task === 'masked-lm' && file.tie_word_embeddings === false)
    throw new StepError(
      'config.json: tie_word_embeddings false is not supported for masked-lm',
      'Its decoder has weights of its own. Only decoders that share the word embeddings are supported.',
    );
  if (head) return head;
  throw new StepError(
    `${aModel(family.type)} cannot be trained for ${task}`,
    `It can be trained for ${Object.keys(family.heads).join(', ')}.`,
  );
}

/** The weights of a folder by the names of our parameters. */
interface NamedWeights {
  /** Its name in messages. */
  source: string;
  entries: Map<string, Entry>;
  close(): Promise<void>;
}

interface Entry {
  shape: number[];
  read(): Promise<Float32Array>;
}

async function openNamed(folder: string, family: Family, task: Task, parameters: Parameters): Promise<NamedWeights | undefined> {
  const stored = await openWeights(folder);
  if (!stored) return undefined;
  try {
    const entries = new Map<string, Entry>();
    const { tied = {} } = family.heads[task] ?? {};
    const copies: Copy[] = [];
    for (const [name, { file, shape, read }] of stored.tensors) {
      if ([...CONSTANTS, ...(family.constants ?? [])].some((end) => name.endsWith(end))) continue;
      const entry = { shape, read: async () => finite(await read(), `${file}: "${name}"`) };
      const original = name in parameters ? undefined : tied[name];
      if (original !== undefined) {
        copies.push({ file, name, original, ...entry });
        continue;
      }
      const own = nameFor(name, family, parameters);
      if (entries.has(own))
        throw new StepError(`${file}: there are two tensors for ${own}`, 'Save the model again, with each weight once.');
      entries.set(own, entry);
    }
    await refuseFalseCopies(copies, entries);
    return { source: stored.source, entries, close: stored.close };
  } catch (error) {
    await stored.close();
    throw error;
  }
}

function finite(tensor: StoredTensor, what: string): Float32Array {
  const data = toFloat32(tensor);
  if (!data) throw new StepError(`${what} is ${tensor.dtype}, not a floating-point type`, 'Save the model without quantization.');
  // Infinity and NaN minus themselves are NaN.
  for (let i = 0; i < data.length; i++)
    if (data[i]! - data[i]! !== 0)
      throw new StepError(
        `${what} contains NaN or infinite numbers`,
        'Its training diverged, or the file is damaged: use another checkpoint.',
      );
  return data;
}

/** A tensor that duplicates the values of another one. */
interface Copy extends Entry {
  file: string;
  name: string;
  original: string;
}

/** A copy with other values belongs to a model that does not tie the two, which would compute something else. */
async function refuseFalseCopies(copies: Copy[], entries: Map<string, Entry>): Promise<void> {
  for (const { file, name, original, shape, read } of copies) {
    const entry = entries.get(original);
    if (!entry || (entry.shape.join() === shape.join() && same(await read(), await entry.read()))) continue;
    throw new StepError(
      `${file}: ${name} differs from ${original}, which config.json ties it to`,
      'For separate weights, set `"tie_word_embeddings": false` in config.json, if the family supports that; otherwise the copy must be equal.',
    );
  }
}

function same(a: Float32Array, b: Float32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Constants that old versions of transformers saved with the weights of every family. */
const CONSTANTS = ['.position_ids'];

/** Replaces TensorFlow's names of a norm's weights, as in bert-base-uncased on the hub, and adds the base prefix if it is left out. */
export function nameFor(name: string, family: Family, parameters: Parameters): string {
  const renamed = name.replace(/\bLayerNorm\.gamma$/, 'LayerNorm.weight').replace(/\bLayerNorm\.beta$/, 'LayerNorm.bias');
  const prefixed = `${family.prefix}.${renamed}`;
  return prefixed in parameters ? prefixed : renamed;
}

/**
 * The weights of the head to read. A head is kept if it was trained for exactly the same labels, by name; if their
 * order differs, its rows move. A head for other labels is replaced only if the option says so.
 */
function headToKeep(
  file: ConfigFile,
  { task, problem = 'single_label_classification', labels, replaceHead = false }: ModelStart,
  head: Parameters,
  labelled: string[],
  stored: NamedWeights,
) {
  const here = Object.keys(head).filter((name) => stored.entries.has(name));
  const former = labelsOf(file) ?? [];
  const order = labels.map((label) => former.indexOf(label));
  const sameLabels = former.length === labels.length && !order.includes(-1);
  const trained = here.some((name) => labelled.includes(name));
  // The output of a regression has no label name.
  const { problems } = taskFacts(task);
  const number = problems && problem === 'regression' && former.length === 1;
  const sameProblem = !problems || problemOf(file, former) === problem;
  const labelless = labels.length === 0;
  // Heads of several tasks may have the same name. Without labels, only a head of the same task is kept.
  const keeps = labelless ? knownTask(file) === task : (sameLabels || number) && sameProblem;
  if (trained && !labelless && !keeps && !replaceHead) {
    const named =
      former.length > 0 ? `the labels ${listed(former)}` : 'labels that id2label in its config.json does not number 0, 1, 2 …, each once';
    const found = sameProblem ? named : problemOf(file, former);
    const wanted = sameProblem ? listed(labels) : problem;
    throw new StepError(
      `the model's head was trained for ${found}, but the tokens have ${wanted}`,
      `\`replace_head: true\` initializes a new head.${former.every((label, i) => label === `LABEL_${i}`) ? ' Alternatively, name the labels in id2label of its config.json.' : ''}`,
      ['replace_head'],
    );
  }
  const kept = here.filter((name) => keeps || !labelled.includes(name)).map((name) => [name, head[name]!] as const);
  return { head: Object.fromEntries(kept), order: sameLabels ? order : labels.map((_, i) => i) };
}

/** A head's weights, except those that are tied to others and missing in this folder: they are one tensor, and learn as one. */
const withoutTied = (head: Parameters, tiedTo: Record<string, string> = {}, { entries }: NamedWeights): Parameters =>
  Object.fromEntries(Object.entries(head).filter(([name]) => !(name in tiedTo) || entries.has(name) || !entries.has(tiedTo[name]!)));

/** The rows of a weight in another order: row i is the former row order[i]. */
export function reorderRows({ dtype, shape, data }: HostTensor, order: number[]): HostTensor {
  const width = data.length / order.length;
  const moved = new Float32Array(data.length);
  for (const [to, from] of order.entries()) moved.set(data.subarray(from * width, (from + 1) * width), to * width);
  return { dtype, shape, data: moved };
}

/** Reads the weights of the parameters, or reports everything that does not fit. */
async function readWeights({ source, entries }: NamedWeights, parameters: Parameters): Promise<HostTensors> {
  const missing: string[] = [];
  const misshapen: string[] = [];
  for (const [name, { shape }] of Object.entries(parameters)) {
    const entry = entries.get(name);
    if (!entry) missing.push(name);
    else if (entry.shape.join() !== shape.join()) misshapen.push(`${name} is [${entry.shape}] instead of [${shape}]`);
  }
  const unexpected = [...entries.keys()].filter((name) => !(name in parameters));
  // Heads of other tasks do no harm, but a layer that config.json does not declare would be missing in the
  // computation.
  const kinds = new Set(Object.keys(parameters).map(kindOfWeight));
  const layers = unexpected.filter((name) => kinds.has(kindOfWeight(name)));
  if (missing.length + misshapen.length + layers.length > 0) {
    const extra = missing.length > 0 ? unexpected : layers;
    const wrong = [
      ...(missing.length > 0 ? [`it lacks ${listed(missing)}`] : []),
      ...misshapen.slice(0, 8),
      ...(misshapen.length > 8 ? [`and ${misshapen.length - 8} more with another shape`] : []),
      ...(extra.length > 0 ? [`it has unexpected weights: ${listed(extra)}`] : []),
    ];
    throw new StepError(
      `${source} does not fit its config.json: ${wrong.join('; ')}`,
      'Use the config.json that was saved with the weights.',
    );
  }
  const weights: HostTensors = {};
  for (const [name, { shape }] of Object.entries(parameters))
    weights[name] = { dtype: 'float32', shape, data: await entries.get(name)!.read() };
  return weights;
}

/** The same for all layers, with or without the prefix of the base model. */
const kindOfWeight = (name: string): string =>
  name
    .replace(/^.*?(?=\b(encoder|transformer)\.)|^model\.(?=layers\.)/, '')
    .replace(/^transformer\.(?=h\.)/, '')
    .replace(/\b\d+\b/g, '#');

function startAll(parameters: Parameters, config: Config, seed: number): HostTensors {
  const sizes = Object.entries(parameters).map(([name, { shape }]) => ({ name, shape, size: sizeOf(shape) }));
  const bytes = 4 * sizes.reduce((sum, { size }) => sum + size, 0);
  if (bytes > memoryLimit()) {
    const largest = sizes.reduce((a, b) => (b.size > a.size ? b : a));
    const gigabytes = (bytes: number) => `${Math.ceil(bytes / 1e9)} GB`;
    throw new StepError(
      `config.json: a model of these sizes has ${gigabytes(bytes)} of weights, but this machine has ${gigabytes(memoryLimit())} of memory`,
      `The largest weight is ${largest.name} [${largest.shape}]: check its size.`,
    );
  }
  return Object.fromEntries(Object.entries(parameters).map(([name, parameter]) => [name, startOne(name, parameter, config, seed)]));
}

const sizeOf = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);

/** Initialization as in transformers: N(0, initializer_range), biases 0, norms 1 and 0, the padding token's row 0. */
function startOne(name: string, parameter: Parameter, config: Config, seed: number): HostTensor {
  const { shape, start, deviation = config.initializer_range, cutoff = Infinity, paddingRow } = parameter;
  const size = sizeOf(shape);
  const uniform = random('start', seed, name);
  const data = start === 'normal' ? truncatedNormal(size, deviation, cutoff, uniform) : new Float32Array(size);
  if (start === 'ones') data.fill(1);
  if (start === 'identity') for (let i = 0; i < shape[0]!; i++) data[i * (shape[0]! + 1)] = 1;
  if (start === 'sinusoids') fillSinusoids(data, shape[1]!);
  if (paddingRow !== undefined) data.fill(0, paddingRow * shape[1]!, (paddingRow + 1) * shape[1]!);
  return { dtype: 'float32', shape, data };
}

/** Row by row: sines at even places, cosines at odd ones, with ever longer waves (Vaswani et al. 2017, 3.5). */
function fillSinusoids(data: Float32Array, width: number): void {
  for (let i = 0; i < data.length; i++) {
    const [position, place] = [Math.floor(i / width), i % width];
    const angle = position / 10000 ** ((2 * Math.floor(place / 2)) / width);
    data[i] = place % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  }
}

/** Copies generation_config.json, if there is one, to a model that is trained further or bundled. */
export async function copyGenerationConfig(from: string, to: string): Promise<void> {
  const file = path.join(from, 'generation_config.json');
  if (existsSync(file)) await copyFile(file, path.join(to, 'generation_config.json'));
}
