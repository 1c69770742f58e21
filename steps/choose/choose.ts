/**
 * Choosing a model: for each known model the memory and the time that its training takes on this machine, and a recommendation.
 * Without the user's data, the time is that of a thousand texts of the maximum length.
 */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { memoryLimit, StepError } from '../../engine/contract/step.ts';
import { largestBatch, trainingBatches } from '../ml/models/batches.ts';
import { hasCalibration } from '../ml/models/calibration.ts';
import { type ConfigFile, TASK_NAMES, type Task } from '../ml/models/config.ts';
import { readConfig } from '../ml/models/model-folder.ts';
import { calibrate, ownBytes, type Speed, secondsOf } from './calibration.ts';
import { BOX_MODELS, HUB_MODELS } from './hub-models.ts';
import { type CountedLengths, lengthsOf, readSample, type Sample } from './lengths.ts';
import { architectureOf, type BatchShape, parametersOf, workloadOf } from './workload.ts';

export interface ChoiceRequest {
  /** Only models that can be trained for it; without it, each model is estimated for its usual task. */
  task?: Task | undefined;
  /** A table that collect wrote. */
  data?: string | undefined;
  column?: string | undefined;
  language?: string | undefined;
  /** The folder of the models in the package, and further folders, by the names under which they are listed. */
  box: string;
  folders: Record<string, string>;
  epochs: number;
  batchSize: number;
  maxLength?: number | undefined;
  /** The most seconds that a recommended model may take. */
  maxSeconds: number;
  threads: number;
  /** The file that keeps the calibration. */
  kept: string;
  again: boolean;
  say: (message: string) => void;
}

export interface Estimate {
  model: string;
  source: 'package' | 'hub' | 'folder';
  family: string;
  parameters: number;
  /** The size of its weights on the disk; 0 without weights. */
  bytes: number;
  languages: string;
  licence: string;
  tasks: Task[];
  /** The task that is estimated. */
  task: Task;
  max_length: number;
  memory_bytes: number;
  seconds: number;
  fits: boolean;
  /** Why it is never recommended. */
  note?: string;
}

export interface Choices {
  models: Estimate[];
  recommended?: { model: string; reason: string };
  /** What the estimates are for. */
  rows: { train: number; validation: number };
  memory_limit: number;
  runtime: string;
  /** Tasks for which lengths were counted with another tokenizer than the model's. */
  notes: string[];
}

/** A model to estimate. */
interface Candidate extends Pick<Estimate, 'model' | 'source' | 'bytes' | 'languages' | 'licence'> {
  file: ConfigFile;
  parameters: number;
  /** The folder of its tokenizer, if it is on this machine. */
  tokenizer?: string;
  note?: string;
}

export async function choose(request: ChoiceRequest): Promise<Choices> {
  const speed = await calibrate({ threads: request.threads, file: request.kept, again: request.again, say: request.say });
  const candidates = (await candidatesOf(request)).map((candidate) => ({ candidate, tasks: tasksOf(candidate.file) }));
  // A folder that was given is not left out without a word.
  for (const { candidate, tasks } of candidates)
    if (candidate.source === 'folder' && !tasks.includes(request.task ?? tasks[0]!))
      architectureOf(candidate.file, request.task ?? 'masked-lm');
  const suitable = candidates.filter(({ tasks }) => (request.task ? tasks.includes(request.task) : tasks.length > 0));
  if (suitable.length === 0) throw new StepError(`no model can be trained for ${request.task}`, `Tasks: ${TASK_NAMES.join(', ')}.`);
  const models: Estimate[] = [];
  const counting = new Counting(request);
  for (const { candidate, tasks } of suitable) {
    const task = request.task ?? tasks[0]!;
    models.push(await estimate(candidate, tasks, task, request, speed, counting));
  }
  const limit = memoryLimit();
  for (const model of models) model.fits = model.memory_bytes < limit;
  const recommended = recommend(models, request, counting);
  return {
    models,
    ...(recommended && { recommended }),
    rows: counting.rows,
    memory_limit: limit,
    runtime: speed.runtime.description,
    notes: [
      ...counting.notes,
      ...(speed.runtime.device === 'gpu'
        ? ['the runtime uses the GPU: the memory is estimated as for a CPU, and the GPU may have less']
        : []),
    ],
  };
}

async function candidatesOf({ box, folders }: ChoiceRequest): Promise<Candidate[]> {
  const boxed = readdirSync(box).filter((name) => existsSync(join(box, name, 'config.json')));
  const local = await Promise.all([
    ...boxed.map((name) => folderCandidate(name, join(box, name), 'package')),
    ...Object.entries(folders).map(([name, folder]) => folderCandidate(name, folder, 'folder')),
  ]);
  const hub = HUB_MODELS.map(({ name, languages, licence, parameters, bytes, config, unsafe }): Candidate => {
    const note = unsafe && { note: 'has no model.safetensors: convert its weights first' };
    return { model: name, source: 'hub', languages, licence, parameters, bytes, file: config, ...note };
  });
  return [...local, ...hub];
}

async function folderCandidate(model: string, folder: string, source: 'package' | 'folder'): Promise<Candidate> {
  const file = await readConfig(folder);
  const [task] = tasksOf(file, PRETRAINING);
  const weights = readdirSync(folder).filter((name) => name.endsWith('.safetensors'));
  const { languages = '–', licence = '–' } = (source === 'package' && BOX_MODELS[model]) || {};
  return {
    model,
    source,
    languages,
    licence,
    parameters: task === undefined ? 0 : parametersOf(architectureOf(file, task)),
    bytes: weights.reduce((sum, name) => sum + statSync(join(folder, name)).size, 0),
    file,
    tokenizer: folder,
    ...(hasCalibration(folder) && { note: 'is calibrated: a training drops its calibration.json' }),
    ...(weights.length === 0 && { note: 'has no weights: its training starts from random ones' }),
  };
}

/** The tasks of a model's own head. */
const PRETRAINING: readonly Task[] = ['masked-lm', 'causal-lm', 'seq2seq'];

function tasksOf(file: ConfigFile, among: readonly Task[] = TASK_NAMES): Task[] {
  return among.filter((task) => {
    try {
      return architectureOf(file, task) !== undefined;
    } catch (error) {
      if (error instanceof StepError) return false; // the family has no such head
      throw error;
    }
  });
}

/** The lengths of the data, which are counted once for each tokenizer and maximum length. */
class Counting {
  rows = { train: WITHOUT_DATA, validation: 0 };
  notes: string[] = [];
  foreign = 0;
  readonly #samples = new Map<Task, Promise<Sample>>();
  readonly #lengths = new Map<string, Promise<CountedLengths>>();

  constructor(private readonly request: ChoiceRequest) {}

  async lengths({ model, tokenizer }: Candidate, task: Task, maxLength: number): Promise<CountedLengths> {
    const { data, column, box } = this.request;
    if (data === undefined) return uniform(WITHOUT_DATA, maxLength, task === 'seq2seq' ? Math.ceil(maxLength / 4) : 0);
    const reading = this.#samples.get(task) ?? readSample(data, { task, column });
    this.#samples.set(task, reading);
    const sample = await reading;
    this.rows = { train: sample.train, validation: sample.validation };
    this.foreign = sample.foreign;
    const folder = tokenizer ?? join(box, USUAL_TOKENIZER);
    if (tokenizer === undefined && this.notes.length === 0)
      this.notes.push(`tokens of models of the hub, such as ${model}, were counted with the tokenizer of ${USUAL_TOKENIZER}`);
    const key = `${folder} ${task} ${maxLength}`;
    const counted = this.#lengths.get(key) ?? lengthsOf(sample, folder, task, maxLength);
    this.#lengths.set(key, counted);
    return counted;
  }
}

const WITHOUT_DATA = 1000;

/** The model of the package whose tokenizer stands for those that are not on this machine. */
const USUAL_TOKENIZER = 'bert-tiny';

const uniform = (sequences: number, length: number, target: number): CountedLengths => ({
  rows: sequences,
  sequences,
  length: (_, kind = 'token') => (kind === 'token' ? length : target),
});

async function estimate(
  candidate: Candidate,
  tasks: Task[],
  task: Task,
  request: ChoiceRequest,
  speed: Speed,
  counting: Counting,
): Promise<Estimate> {
  const { file, tokenizer: _, ...facts } = candidate;
  const { family, config } = architectureOf(file, task);
  const maxLength = Math.min(
    request.maxLength ?? (task === 'question-answering' ? CONTEXT_LENGTH : USUAL_LENGTH),
    family.maxLength(config),
  );
  const lengths = await counting.lengths(candidate, task, maxLength);
  const { memory, seconds } = trainingOf(file, task, lengths, { ...request, rows: counting.rows }, speed);
  return {
    ...facts,
    family: family.type,
    tasks,
    task,
    max_length: maxLength,
    memory_bytes: Math.round(memory),
    seconds: Number(seconds.toPrecision(3)),
    fits: false,
  };
}

/** Of usual examples; the limit of `tokenize` is that of the model. */
const USUAL_LENGTH = 128;
/** A context is longer than other texts. */
const CONTEXT_LENGTH = 384;

interface TrainingExtent {
  epochs: number;
  batchSize: number;
  rows: { train: number; validation: number };
}

/** The peak memory and the seconds of a train step, from the start of its process. */
function trainingOf(file: ConfigFile, task: Task, lengths: CountedLengths, { epochs, batchSize, rows }: TrainingExtent, speed: Speed) {
  const batches = trainingBatches(lengths, batchSize, { seed: 0, epoch: 1 });
  const largest = largestBatch(lengths, batchSize);
  const whole: BatchShape = { sequences: largest.sequences.length, length: largest.length, targetLength: largest.targetLength };
  // The time of a step is a polynomial of the length, of the second degree because of attention, and nearly 0 for no token.
  const places = [1, 0.5].map((share) => {
    const shape = { ...whole, length: Math.ceil(share * whole.length), targetLength: Math.ceil(share * whole.targetLength) };
    const workload = workloadOf(file, task, shape);
    return {
      at: shape.length + shape.targetLength,
      workload,
      seconds: secondsOf({ ...workload.step, weights: 0, operations: 0 }, speed.step),
    };
  });
  const { step, memory, forward } = places[0]!.workload;
  const compute = batches.reduce((sum, { sequences, length, targetLength }) => {
    const seconds = interpolated([...places, { at: 0, seconds: 0 }], length + targetLength);
    return sum + (Math.max(0, seconds) * sequences.length) / whole.sequences;
  }, 0);
  const sampled = rows.train / lengths.rows;
  const fixed = secondsOf({ ...step, products: 0, elements: 0 }, speed.step);
  const epoch =
    sampled * compute + Math.ceil(sampled * batches.length) * fixed + FORWARD * sampled * compute * (rows.validation / rows.train);
  const seconds =
    speed.startup + COMPILATIONS * step.operations * speed.compile + epochs * epoch + (FILES * 4 * step.weights) / BYTES_PER_SECOND;
  return { memory: speed.overhead + ownBytes({ memory, forward }, speed.runtime.name), seconds };
}

/** The share of a step that a forward pass takes. */
const FORWARD = 1 / 3;
/** The graph of a forward pass, for evaluation, is half of that of a step. */
const COMPILATIONS = 1.5;
/** The weights are read once, and written in the end. */
const FILES = 2;
const BYTES_PER_SECOND = 5e8;

/** The value at `x` of the polynomial through these points (Lagrange). Equal points count once. */
function interpolated(points: { at: number; seconds: number }[], x: number): number {
  const distinct = points.filter(({ at }, i) => points.findIndex((one) => one.at === at) === i);
  return distinct.reduce((sum, { at, seconds }) => {
    const factors = distinct.filter((other) => other.at !== at).map((other) => (x - other.at) / (at - other.at));
    return sum + factors.reduce((product, factor) => product * factor, seconds);
  }, 0);
}

/** The largest pre-trained model that fits and trains in time; if none does, the fastest. */
function recommend(models: Estimate[], { maxSeconds, language }: ChoiceRequest, { foreign }: Counting): Choices['recommended'] {
  const spoken = models.filter((model) => model.note === undefined && speaks(model, language, foreign));
  const fitting = spoken.filter(({ fits }) => fits);
  if (fitting.length === 0) return undefined;
  const inTime = fitting.filter(({ seconds }) => seconds <= maxSeconds);
  const fastest = fitting.reduce((a, b) => (b.seconds < a.seconds ? b : a));
  if (inTime.length === 0)
    return { model: fastest.model, reason: 'it is the fastest; no pre-trained model that fits into memory trains in the given time' };
  const largest = inTime.reduce((a, b) => (b.seconds > a.seconds ? b : a));
  const count = inTime.length === 1 ? 'the only pre-trained model' : `of the ${inTime.length} pre-trained models`;
  return {
    model: largest.model,
    reason:
      inTime.length === 1
        ? `it is ${count} that fits into memory and trains in the given time`
        : `it is the largest ${count} that fit into memory and train in the given time; larger ones are usually more accurate`,
  };
}

/** Whether a model knows the language of the texts. Texts with many letters that English lacks need a model of several languages. */
function speaks({ languages }: Estimate, language: string | undefined, foreign: number): boolean {
  const several = /\d+ languages/.test(languages);
  if (language !== undefined) return several || languages.toLowerCase().includes(language.toLowerCase());
  return foreign < FOREIGN ? /English/.test(languages) : several;
}

/** English texts have fewer other letters, and texts of other European languages more. */
const FOREIGN = 0.01;
