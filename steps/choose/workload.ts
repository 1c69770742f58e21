/**
 * What the training of a model computes, without its weights: a step is traced for the shapes of a batch, and its operations
 * are counted. A model of many equal layers is traced with a few of them, because each further one adds the same.
 */

import { type ConfigFile, LAYER_COUNTS, type Task, taskFacts } from '../ml/models/config.ts';
import { axesFor, type Config, type Family, programFor } from '../ml/models/family.ts';
import { headOf } from '../ml/models/model-folder.ts';
import type { Parameters } from '../ml/models/nn.ts';
import { familyOf } from '../ml/models/registry.ts';
import { type Graph, sizeOf } from '../ml/runtime/graph.ts';
import type { HostTensor, HostTensors, Program, TrainingOptions } from '../ml/runtime/runtime.ts';
import { named, type Specs, traceTraining } from '../ml/runtime/trace.ts';
import { type MemoryEstimate, memoryOf } from '../ml/runtime/training-memory.ts';

/** A model as its config.json describes it. */
export interface Architecture {
  family: Family;
  config: Config & Record<string, unknown>;
  task: Task;
  parameters: Parameters;
  program: Program;
}

/** The shape of a batch. */
export interface BatchShape {
  sequences: number;
  /** Tokens of each sequence, padding included. */
  length: number;
  /** The same for the targets of seq2seq; otherwise 0. */
  targetLength: number;
}

/** The operations of a training step. */
export interface Work {
  /** Floating-point operations of the matrix products. */
  products: number;
  /** Elements that the other operations read and write. */
  elements: number;
  /** Weights that the optimizer changes. */
  weights: number;
  /** Operations in the graph, each of which is compiled. */
  operations: number;
}

export interface Workload {
  step: Work;
  memory: MemoryEstimate;
  /** All that the forward pass computes, in bytes. */
  forward: number;
}

/** `labels`: of a classification. @throws StepError if the model cannot be trained for the task */
export function architectureOf(file: ConfigFile, task: Task, labels = 2): Architecture {
  const family = familyOf(file);
  const config = family.configure(file);
  const head = headOf(family, task, file);
  const own = head.parameters(config, task.endsWith('-classification') ? labels : 0);
  const program = programFor(family, task, config, 'single_label_classification');
  return { family, config, task, parameters: { ...family.parameters(config), ...own }, program };
}

export const parametersOf = ({ parameters }: Architecture): number =>
  Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** What a step computes, and the memory that it needs; `keepsBest`: the training keeps a copy of the best weights. */
export function workloadOf(file: ConfigFile, task: Task, shape: BatchShape): Workload {
  const whole = architectureOf(file, task);
  const depths = depthsOf(file, whole);
  if (!depths) return traced(whole, shape);
  const [less, more] = depths.shallow.map((depth) => traced(architectureOf(withDepth(file, whole, depth), task), shape)) as [
    Workload,
    Workload,
  ];
  const times = (depths.whole - depths.shallow[0]) / (depths.shallow[1] - depths.shallow[0]);
  const extended = <T extends { [key in keyof T]: number }>(a: T, b: T): T =>
    Object.fromEntries(Object.keys(a).map((key) => [key, a[key as keyof T] + times * (b[key as keyof T] - a[key as keyof T])])) as T;
  return {
    step: extended(less.step, more.step),
    memory: extended(less.memory, more.memory),
    ...extended({ forward: less.forward }, { forward: more.forward }),
  };
}

/** With fewer layers, the most memory is needed at another place, because the last layer computes only the first token of a text. */
const START = 2;

/** How many layers to trace instead of all; undefined if they are few, or not alike. */
function depthsOf(file: ConfigFile, { config, family }: Architecture): { whole: number; shallow: [number, number] } | undefined {
  const [depth, ...others] = LAYER_COUNTS.flatMap((field) => {
    const count = config[field];
    return typeof count !== 'number' || (field === 'num_hidden_groups' && count === 1) ? [] : [count];
  });
  if (depth === undefined || others.some((other) => other !== depth) || (family.sharesLayers?.(config) && others.length > 0))
    return undefined;
  if (file.layer_types !== undefined) return undefined;
  const period =
    typeof file.global_attn_every_n_layers === 'number' ? file.global_attn_every_n_layers : family.type === 'modernbert' ? 3 : 1;
  return depth > START + period ? { whole: depth, shallow: [START, START + period] } : undefined;
}

function withDepth(file: ConfigFile, { config }: Architecture, depth: number): ConfigFile {
  const fields = LAYER_COUNTS.filter(
    (field) => typeof config[field] === 'number' && !(field === 'num_hidden_groups' && config[field] === 1),
  );
  return { ...file, ...Object.fromEntries(fields.map((field) => [field, depth])) };
}

function traced({ parameters, program, task, family, config }: Architecture, shape: BatchShape): Workload {
  const weights: Specs = Object.fromEntries(
    Object.entries(parameters).map(([name, { shape }]) => [name, { dtype: 'float32' as const, shape: [...shape] }]),
  );
  const largest = inputsOfShape(task, family.typed(config), shape);
  const { graph } = traceTraining(program, weights, largest, { trained: Object.keys(weights), padding: {} });
  const memory = memoryOf({ program, weights }, TRAINING, { largest, parts: 1, keepsBest: false, graph });
  return { step: workOf(graph, weights), memory, forward: forwardBytes(graph) };
}

/** The defaults of train. */
export const TRAINING: TrainingOptions = {
  optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  maxGradNorm: 1,
  weight: () => ({ learningRateFactor: 1, weightDecay: 0 }),
};

function workOf(graph: Graph, weights: Specs): Work {
  const work = { products: 0, elements: 0, weights: 0, operations: 0 };
  for (const { kernel, inputs, outputs, attributes } of graph.nodes) {
    if (kernel === 'Reshape') continue; // it moves nothing
    work.operations++;
    if (kernel === 'BatchMatMul' || kernel === '_FusedMatMul')
      work.products += 2 * inputs[0]!.shape.at(attributes.transposeA ? -2 : -1)! * sizeOf(outputs[0]!.shape);
    else for (const value of [...inputs, ...outputs]) if (!isConstant(value.from)) work.elements += sizeOf(value.shape);
  }
  work.weights = Object.values(weights).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return work;
}

/** The nodes of the forward pass are those up to the loss. */
function forwardBytes({ nodes, outputs }: Graph): number {
  const loss = nodes.findIndex(({ outputs: own }) => own.includes(outputs.get(named.output('loss'))!));
  const values = nodes.slice(0, loss + 1).flatMap(({ kernel, outputs }) => (kernel === 'Reshape' ? [] : outputs));
  return values.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
}

const isConstant = (from: unknown): boolean => typeof from === 'object' && from !== null && 'data' in from;

/** Inputs of the program with this shape. `typed`: the model distinguishes the two texts of a pair. */
export function inputsOfShape(task: Task, typed: boolean, { sequences, length, targetLength }: BatchShape): HostTensors {
  const ints = (...shape: number[]): HostTensor => ({ dtype: 'int32', shape, data: new Int32Array(sizeOf(shape)).fill(1) });
  const inputs: HostTensors = { input_ids: ints(sequences, length), attention_mask: ints(sequences, length) };
  const { labelled } = taskFacts(task);
  if (labelled === undefined) return { ...inputs, labels: ints(sequences) };
  if (labelled === 'token') return { ...inputs, labels: ints(sequences, length) };
  if (labelled === 'answer')
    return {
      ...inputs,
      ...(typed && { token_type_ids: ints(sequences, length) }),
      start_positions: ints(sequences),
      end_positions: ints(sequences),
    };
  const learned = task === 'masked-lm' ? Math.ceil(MASKED * sequences * length) : sequences * (length - 1);
  const predicted = task === 'seq2seq' ? sequences * targetLength : learned;
  return {
    ...inputs,
    ...(task === 'seq2seq' && { decoder_input_ids: ints(sequences, targetLength) }),
    label_positions: ints(predicted),
    labels: ints(predicted),
  };
}

/** The default of `mlm_probability`. */
const MASKED = 0.15;

export const axesOf = (task: Task) => axesFor(task, 'single_label_classification', 2);
