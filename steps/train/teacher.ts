/**
 * The teacher of a distillation: reads its model, checks that it fits the student and the tokens, and adds its outputs
 * to the student's inputs. It runs without dropout, and its weights never change.
 */

import { StepError } from '../../engine/contract/step.ts';
import { aModel } from '../ml/models/config.ts';
import { type Distillation, LOSS_FACTORS, TEACHER_LOGITS, TEACHER_POOLED, teacherAxes, teacherState } from '../ml/models/distillation.ts';
import { type Head, teacherProgram } from '../ml/models/family.ts';
import { listed } from '../ml/models/json.ts';
import { loadModel, type Model, reorderRows, startModel } from '../ml/models/model-folder.ts';
import { families } from '../ml/models/registry.ts';
import type { TokensInfo } from '../ml/models/token-dataset.ts';
import { tokenizerDifference } from '../ml/models/tokenizer-json.ts';
import { peakBytes } from '../ml/runtime/graph.ts';
import type { Axes, HostTensor, HostTensors, Inference, Part, Program, Runtime } from '../ml/runtime/runtime.ts';
import { type Specs, specsOf, traceInference } from '../ml/runtime/trace.ts';
import { lossSharesOf } from './loss-weights.ts';
import { teacherProblem } from './option-problems.ts';
import type { TrainContext } from './step.ts';

export interface Teacher {
  /** The axes of its outputs as inputs of the student. */
  axes: Axes;
  /** `inputs` of a part with outputs of the right shapes, for the estimate of the memory. */
  withPlaces(inputs: HostTensors): HostTensors;
  /** In bytes: its weights, and the activations of a forward pass for these inputs. */
  memory(inputs: HostTensors): { weights: number; activations: number };
  open(runtime: Runtime): Lessons;
}

export interface Lessons {
  /** The parts of a batch with the teacher's outputs. `shares`: the weight of each in the loss against the labels. */
  teach(parts: HostTensors[], shares: number[]): Promise<Part[]>;
  dispose(): Promise<void>;
}

/** Reads and checks the teacher; undefined if the options name none. */
export async function readTeacher({ inputs, options }: TrainContext, info: TokensInfo, student: Model): Promise<Teacher | undefined> {
  const folder = inputs['distill.teacher'];
  const distillation = options.distill as Distillation | undefined;
  if (folder === undefined || !distillation) return undefined;
  const problem = teacherProblem(info.task, distillation);
  if (problem) throw new StepError(problem.message, problem.hint, problem.option.split('.'));
  if (student.problem === 'regression' && distillation.temperature !== 1)
    throw new StepError('`temperature` has no effect for a regression, whose output is no probability', 'Remove it.', [
      'distill',
      'temperature',
    ]);
  const teacher = await loadTeacher(folder, info, distillation);
  await checkFit(folder, teacher, info, inputs.tokens);
  return teacherOf(student, teacher, distillation);
}

/** @throws StepError if the outputs that the student learns from cannot be compared with its own */
export function teacherOf(student: Model, teacher: Model, { alpha, hidden, pooled }: Distillation): Teacher {
  if (pooled > 0) refuseWithoutPooler(student);
  if (alpha > 0) refuseOtherOutputs(teacher, student);
  const wanted = { logits: alpha > 0, pooled: pooled > 0 };
  if (hidden > 0) return new ModelTeacher(teacher, student, { ...wanted, ...comparedStates(student, teacher, 'hidden') });
  const { width } = pooled > 0 ? comparedStates(student, teacher, 'pooled') : { width: 0 };
  return new ModelTeacher(teacher, student, { ...wanted, states: [], width });
}

const wrong = (message: string, hint: string) => new StepError(message, hint, ['distill', 'teacher']);

/** With its head if the student learns from its outputs; for hidden states alone a model without a head will do. */
async function loadTeacher(folder: string, { task, labels }: TokensInfo, { alpha }: Distillation): Promise<Model> {
  try {
    if (alpha > 0) return await loadModel(folder, task);
    const teacher = await startModel(folder, { task, labels, replaceHead: true, seed: 0, say: () => {} });
    if (teacher.fresh.length < Object.keys(teacher.parameters).length) return teacher;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    throw wrong(`the teacher cannot be used: ${error.message}`, error.hint ?? 'Give another teacher.');
  }
  throw wrong('the teacher has no model.safetensors', 'Train it first: its folder contains only a configuration.');
}

/** Checks that the teacher understands the tokens. */
async function checkFit(folder: string, teacher: Model, info: TokensInfo, tokens: string): Promise<void> {
  const difference = await tokenizerDifference(folder, tokens);
  if (difference !== undefined)
    throw wrong(
      `the teacher has another tokenizer than the tokens: ${difference}`,
      'A teacher must read the same tokens as its student: use one with the same tokenizer, or reduce it with the same data as the student.',
    );
  const limit = teacher.family.maxLength(teacher.config);
  if (info.max_length > limit)
    throw wrong(
      `the tokens have a max_length of ${info.max_length}, but the teacher takes only ${limit} tokens`,
      'Tokenize with a smaller max_length, or use another teacher.',
    );
}

function refuseWithoutPooler({ family }: Model): void {
  if (family.pooler !== undefined) return;
  const withPooler = families.filter(({ pooler }) => pooler !== undefined);
  throw new StepError(
    `\`pooled\` does not apply to ${aModel(family.type)}, whose text-classification reads no pooler`,
    `It applies only to ${withPooler.map(({ type }) => type).join(' and ')}. Remove it.`,
    ['distill', 'pooled'],
  );
}

/** Checks that the student's outputs can be compared with the teacher's, and puts the teacher's labels into the order of the student's. */
function refuseOtherOutputs(teacher: Model, student: Model): void {
  const { labels } = student;
  if (student.task === 'masked-lm') {
    const [own, other] = [student.config.vocab_size, teacher.config.vocab_size];
    if (own === other) return;
    throw wrong(
      `the teacher has a vocab_size of ${other}, but the student ${own}`,
      'Both must predict the same tokens: use models with embeddings of the same number of rows.',
    );
  }
  if (teacher.problem !== student.problem)
    throw wrong(`the teacher was trained for ${teacher.problem}, but the tokens are for ${student.problem}`, 'Use another teacher.');
  // The output of a regression has no label name.
  if (teacher.problem === 'regression' && teacher.labels.length === labels.length) return;
  const order = labels.map((label) => teacher.labels.indexOf(label));
  if (teacher.labels.length !== labels.length || order.includes(-1))
    throw wrong(
      `the teacher was trained for the labels ${listed(teacher.labels)}, but the tokens have ${listed(labels)}`,
      'Train the teacher on the same labels, or use another one.',
    );
  for (const name of teacher.family.heads[teacher.task]!.labelled) teacher.weights[name] = reorderRows(teacher.weights[name]!, order);
}

/**
 * The common size of the hidden states, and the position of the teacher's state for each of the student's: state m of M,
 * counted from the embeddings, is matched with state m · N / M of N, rounded, with halves rounded up. `option` compares
 * them.
 */
function comparedStates(student: Model, teacher: Model, option: 'hidden' | 'pooled'): { states: number[]; width: number } {
  const [own, other] = [student, teacher].map(stateShapes) as [number[][], number[][]];
  for (const [shapes, { family }] of [
    [own, student],
    [other, teacher],
  ] as const)
    if (shapes.length === 0)
      throw new StepError(`the hidden states of a ${family.type} model cannot be distilled`, `Remove \`${option}\`.`, ['distill', option]);
  const [width, teacherWidth] = [own[0]!.at(-1)!, other[0]!.at(-1)!];
  if (width !== teacherWidth)
    throw wrong(
      `the teacher has a hidden size of ${teacherWidth}, but the student ${width}`,
      `Hidden states can be compared only between equal sizes: remove \`${option}\`, or use another teacher.`,
    );
  return { states: own.map((_, m) => Math.round((m * (other.length - 1)) / Math.max(1, own.length - 1))), width };
}

/** Of the hidden states, for some tokens. */
function stateShapes({ family, task, config, weights }: Model): number[][] {
  const tokens = { dtype: 'int32', shape: [1, 2] } as const;
  const inputs: Specs = { input_ids: { ...tokens, shape: [1, 2] }, attention_mask: { ...tokens, shape: [1, 2] } };
  const shapes: number[][] = [];
  const head = family.heads[task] as Head;
  const program: Program = (weights, inputs, dropout) => ({
    logits: head.logits(config, weights, inputs, dropout, ({ shape }) => shapes.push(shape)),
  });
  traceInference(program, specsOf(weights), inputs);
  return shapes;
}

class ModelTeacher implements Teacher {
  readonly axes: Axes;
  readonly #program: Program;
  readonly #logits: boolean;
  /** The positions of the hidden states that the student learns from. */
  readonly #states: readonly number[];
  readonly #pooled: boolean;
  readonly #width: number;
  readonly #classes: number;

  constructor(
    private readonly model: Model,
    student: Model,
    wanted: { logits: boolean; states: readonly number[]; pooled: boolean; width: number },
  ) {
    this.#logits = wanted.logits;
    this.#states = wanted.states;
    this.#pooled = wanted.pooled;
    this.#width = wanted.width;
    this.#program = teacherProgram(model, { ...wanted, states: [...new Set(wanted.states)] });
    this.#classes = student.task === 'masked-lm' ? student.config.vocab_size : student.labels.length;
    this.axes = teacherAxes(student.task, this.#classes, wanted.states.length, this.#width);
  }

  withPlaces(inputs: HostTensors): HostTensors {
    const [batch, length] = inputs.input_ids!.shape as [number, number];
    const rows = inputs.label_positions?.shape[0] ?? batch;
    const place = (shape: number[]): HostTensor => ({ dtype: 'float32', shape, data: new Float32Array(0) });
    const state = place([batch, length, this.#width]);
    return {
      ...inputs,
      ...(this.#logits && { [TEACHER_LOGITS]: place([rows, this.#classes]) }),
      ...Object.fromEntries(this.#states.map((_, i) => [teacherState(i), state])),
      ...(this.#pooled && { [TEACHER_POOLED]: place([batch, this.#width]) }),
      ...Object.fromEntries(Object.values(LOSS_FACTORS).map((name) => [name, place([])])),
    };
  }

  memory(inputs: HostTensors): { weights: number; activations: number } {
    const graph = traceInference(this.#program, specsOf(this.model.weights), questionOf(inputs));
    const weights = Object.values(this.model.weights).reduce((sum, { data }) => sum + data.byteLength, 0);
    return { weights, activations: peakBytes(graph) };
  }

  open(runtime: Runtime): Lessons {
    const inference: Inference = runtime.inference(this.#program, this.model.weights, this.model.axes);
    const ask = async (inputs: HostTensors): Promise<HostTensors> => {
      const outputs = await inference.run(questionOf(inputs));
      return {
        ...(this.#logits && { [TEACHER_LOGITS]: outputs.logits! }),
        ...Object.fromEntries(this.#states.map((state, i) => [teacherState(i), outputs[`states.${state}`]!])),
        ...(this.#pooled && { [TEACHER_POOLED]: outputs.pooled! }),
      };
    };
    return {
      async teach(parts, shares) {
        const taught: Part[] = [];
        const each = factorsOf(parts, shares);
        for (const [i, inputs] of parts.entries())
          taught.push({ inputs: { ...inputs, ...(await ask(inputs)), ...each[i]! }, share: 1 / parts.length });
        return taught;
      },
      dispose: () => inference.dispose(),
    };
  }
}

/** What the teacher is asked: the inputs without labels and their weights. */
function questionOf({ labels: _, loss_weights: __, ...inputs }: HostTensors): HostTensors {
  return inputs;
}

/**
 * The factors of the four losses of each part: their weights in the batch are those of its labels, of its predictions,
 * of its tokens and of its examples, and each part has the same share of the sum.
 */
function factorsOf(parts: HostTensors[], shares: number[]): HostTensors[] {
  const tokens = parts.map(({ attention_mask }) => (attention_mask!.data as Int32Array).reduce((sum, real) => sum + real, 0));
  const examples = parts.map(({ input_ids }) => input_ids!.shape[0]!);
  const sum = (counts: number[]) => counts.reduce((sum, count) => sum + count, 0);
  // The weights of rows apply to their labels only.
  const predictions = lossSharesOf(
    parts.map(({ loss_weights: _, ...part }) => part),
    undefined,
  );
  const scalar = (value: number): HostTensor => ({ dtype: 'float32', shape: [], data: Float32Array.of(value * parts.length) });
  return parts.map((_, i) => ({
    [LOSS_FACTORS.labels]: scalar(shares[i]!),
    [LOSS_FACTORS.teacher]: scalar(predictions[i]!),
    [LOSS_FACTORS.states]: scalar(tokens[i]! / sum(tokens)),
    [LOSS_FACTORS.pooled]: scalar(examples[i]! / sum(examples)),
  }));
}
