/**
 * The `tensorflow` runtime: the graphs of a program, one for each shape of its inputs, are combined into one SavedModel. A
 * training keeps weights, moments and gradients on the device; a step feeds only the batch and a few numbers.
 */

import { StepError } from '../../../../engine/contract/step.ts';
import { DropoutTapes, type StepPosition } from '../dropout.ts';
import { shapeOfInputs, shapesAt, traceFor } from '../dynamic-axes.ts';
import { sizeOf } from '../graph.ts';
import {
  type AdamWOptions,
  type Axes,
  addTerms,
  type HostTensor,
  type HostTensors,
  type Inference,
  type OptimizerState,
  type Part,
  type Precision,
  type Program,
  type Runtime,
  type Training,
  type TrainingOptions,
} from '../runtime.ts';
import { named, type Specs, specsOf, traceInference, traceTraining } from '../trace.ts';
import { GraphBuilder, GraphEmitter } from './emit.ts';
import { type Binding, type DeviceTensor, hold, type Tensorflow, TensorflowSession } from './session.ts';
import {
  type Bucket,
  DECAY,
  EPSILON,
  RATE,
  SCALE,
  type Traced,
  type TrainingModel,
  tapeName,
  trainingModel,
  type Update,
} from './training.ts';

export function tensorflowRuntime({ binding, description, gpu }: Tensorflow, threads: number, precision: Precision): Runtime {
  const products = precision === 'bf16' ? ', products in bf16' : '';
  return {
    name: 'tensorflow',
    threads,
    description: `${description}, ${threads} thread${threads === 1 ? '' : 's'}${products}`,
    device: gpu ? 'gpu' : 'cpu',
    inference: (program, weights, axes = {}) => new TensorflowInference(binding, program, weights, axes, precision),
    training: (program, weights, options) => new TensorflowTraining(binding, program, weights, options, precision),
  };
}

/** A session for each shape of the inputs; the weights are fed, and held in TensorFlow's memory once for all of them. */
class TensorflowInference implements Inference {
  readonly #specs: Specs;
  #weights: HostTensors;
  #held: Record<string, DeviceTensor> = {};
  readonly #live = new Map<string, { session: TensorflowSession; inputs: Map<string, string>; outputs: Map<string, string> }>();

  constructor(
    private readonly binding: Binding,
    private readonly program: Program,
    weights: HostTensors,
    private readonly axes: Axes,
    private readonly precision: Precision,
  ) {
    this.#specs = specsOf(weights);
    this.#weights = weights;
  }

  /** Other values of the same weights. */
  renew(weights: HostTensors): void {
    this.#weights = weights;
    for (const { id } of Object.values(this.#held)) this.binding.deleteTensor(id);
    this.#held = {};
  }

  async run(given: HostTensors): Promise<HostTensors> {
    const { session, inputs, outputs } = this.#for(given);
    const feeds: Record<string, HostTensor | DeviceTensor> = {};
    for (const [name, node] of inputs) feeds[node] = given[name] ?? this.#hold(name);
    const values = session.run(feeds, [...outputs.values()]);
    return Object.fromEntries([...outputs.keys()].map((name, i) => [name, values[i]!]));
  }

  async dispose(): Promise<void> {
    for (const { session } of this.#live.values()) session.close();
    this.#live.clear();
    this.renew({});
  }

  #hold(weight: string): DeviceTensor {
    const name = weight.slice(named.weight('').length);
    this.#held[name] ??= hold(this.binding, this.#weights[name]!);
    return this.#held[name]!;
  }

  #for(given: HostTensors) {
    const key = shapeOfInputs(given, this.axes);
    const known = this.#live.get(key) ?? this.#open(given);
    this.#live.delete(key); // moves to the end: the most recently used is closed last
    this.#live.set(key, known);
    const oldest = this.#live.keys().next().value!;
    if (this.#live.size > MOST_SHAPES) {
      this.#live.get(oldest)!.session.close();
      this.#live.delete(oldest);
    }
    return known;
  }

  #open(given: HostTensors) {
    const { traced, free } = traceFor(given, this.axes, (sized, free) => ({
      graph: traceInference(this.program, this.#specs, sized, { free }),
    }));
    const { graph } = traced;
    const builder = new GraphBuilder();
    const inputs = new Map<string, string>();
    const emitter = new GraphEmitter(builder, graph, free, this.precision);
    for (const [name, value] of graph.inputs)
      inputs.set(name.startsWith(INPUT) ? name.slice(INPUT.length) : name, emitter.placeholder(`i${inputs.size}`, value));
    emitter.emit();
    // Each needs a node of its own: an output may be an input, which cannot be fed and fetched in the same run.
    const outputs = new Map(
      [...graph.outputs].map(([name, value]) => [name.slice(OUTPUT.length), builder.op('Identity', [emitter.name(value)], value.dtype)]),
    );
    return { session: new TensorflowSession(this.binding, builder.savedModel()), inputs, outputs };
  }
}

/** The number of shapes that are kept compiled. */
const MOST_SHAPES = 24;

const INPUT = named.input('');
const OUTPUT = named.output('');

class TensorflowTraining implements Training {
  readonly #specs: Specs;
  readonly #trained: string[];
  readonly #frozen: HostTensors;
  readonly #optimizer: AdamWOptions;
  readonly #axes: Axes;
  readonly #traces = new Map<string, Traced>();
  readonly #tapes = new DropoutTapes();
  #compiled: TrainingModel | undefined;
  /** The state on the host: undefined if the device is ahead. */
  #weights: HostTensors | undefined;
  #slots: OptimizerState['slots'] | undefined;
  #step = 0;
  #inference: TensorflowInference | undefined;
  /** Whether #inference has the current weights. */
  #evaluated = false;
  /** For each rate, the tape of masks on the device. */
  #taped = new Map<number, ArrayBufferLike>();

  constructor(
    private readonly binding: Binding,
    private readonly program: Program,
    weights: HostTensors,
    private readonly options: TrainingOptions,
    private readonly precision: Precision,
  ) {
    const { optimizer } = options;
    if (optimizer.name !== 'adamw') {
      throw new StepError(
        `the runtime tensorflow does not support the optimizer ${optimizer.name}, only adamw`,
        'Use the runtime onnx or eager, which support it.',
        ['runtime'],
      );
    }
    this.#optimizer = optimizer;
    this.#specs = specsOf(weights);
    this.#axes = options.axes ?? {};
    this.#trained = Object.keys(weights).filter((name) => options.weight(name));
    for (const name of this.#trained) {
      const { dtype } = weights[name]!;
      if (dtype !== 'float32') throw new Error(`The weight ${name} is ${dtype}; only float32 weights can be trained.`);
    }
    this.#frozen = Object.fromEntries(Object.entries(weights).filter(([name]) => !options.weight(name)));
    this.#weights = weights;
    this.#slots = Object.fromEntries(MOMENTS.map((moment) => [moment, this.#each((size) => new Float32Array(size))]));
  }

  async step(parts: readonly Part[], at: StepPosition & { learningRate: number }) {
    const { session, buckets } = this.#compile(parts.map(({ inputs }) => inputs));
    const used = parts.map(({ inputs }) => buckets.get(shapeOfInputs(inputs, this.#axes))!);
    const { update } = used[0]!;
    if (used.some((bucket) => bucket.update !== update)) throw new Error('The parts of a batch must have the same inputs.');
    let loss = 0;
    const terms: Record<string, number> = {};
    for (const [part, { inputs, share }] of parts.entries()) {
      const bucket = used[part]!;
      const feeds = { ...this.#masks(bucket, inputs, { ...at, part }) };
      for (const [name, node] of bucket.inputs) feeds[node] = inputs[name]!;
      const whole = parts.length === 1 && share === 1;
      if (!whole) feeds[bucket.share] = scalar(share);
      const set = whole ? bucket.set : part === 0 ? bucket.setShare : bucket.addShare;
      const [partLoss, ...partTerms] = session.run(feeds, [set, ...bucket.terms.values()]).map(({ data }) => data[0]!);
      loss += share * partLoss!;
      addTerms(terms, Object.fromEntries([...bucket.terms.keys()].map((name, i) => [name, partTerms[i]!])), share);
    }
    const gradNorm = number(session.run({}, [update.norm]));
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) this.#update(session, update, gradNorm, at.learningRate);
    return { loss, gradNorm, terms };
  }

  /** PyTorch's AdamW with TensorFlow's Adam: the bias corrections are folded into its learning rate and its epsilon. */
  #update(session: TensorflowSession, { apply }: Update, norm: number, learningRate: number): void {
    const { maxGradNorm } = this.options;
    const optimizer = this.#optimizer;
    this.#step++;
    const correction = Math.sqrt(1 - optimizer.beta2 ** this.#step);
    const feeds = {
      [RATE]: scalar((learningRate * correction) / (1 - optimizer.beta1 ** this.#step)),
      [EPSILON]: scalar(optimizer.epsilon * correction),
      [DECAY]: scalar(learningRate),
      [SCALE]: scalar(maxGradNorm > 0 ? Math.min(1, maxGradNorm / (norm + 1e-6)) : 1),
    };
    this.#weights = undefined;
    this.#slots = undefined;
    if (this.#evaluated) this.#inference!.renew({}); // room for the step
    this.#evaluated = false;
    session.run(feeds, [apply]);
  }

  /** Masks are slices of tapes on the device; only their offsets are fed. */
  #masks({ masks, offsets, traced: { traced, free } }: Bucket, inputs: HostTensors, at: StepPosition): Record<string, HostTensor> {
    if (offsets === undefined) return {};
    const shapes = shapesAt(traced.graph.inputs, free?.twin.inputs, free, inputs);
    const starts = new Int32Array(masks.length);
    const tapes = new Map<number, Float32Array>();
    for (const { name, ordinal, rate, place } of masks) {
      const mask = this.#tapes.mask(rate, sizeOf(shapes.get(name)!), at, ordinal);
      starts[place] = mask.byteOffset / mask.BYTES_PER_ELEMENT;
      // A tape that had to grow for a mask has the same beginning as before.
      if (mask.buffer.byteLength > (tapes.get(rate)?.byteLength ?? 0)) tapes.set(rate, new Float32Array(mask.buffer));
    }
    for (const [rate, tape] of tapes) {
      if (this.#taped.get(rate) === tape.buffer) continue;
      this.#compiled!.session.run({ [tapeName(rate)]: { dtype: 'float32', shape: [tape.length], data: tape } }, [
        `${tapeName(rate)}_loaded`,
      ]);
      this.#taped.set(rate, tape.buffer);
    }
    return { [offsets]: { dtype: 'int32', shape: [starts.length], data: starts } };
  }

  weights() {
    this.#weights ??= { ...this.#frozen, ...this.#fetch('weight', (value) => value) };
    return this.#weights;
  }

  optimizerState() {
    this.#slots ??= Object.fromEntries(MOMENTS.map((moment) => [moment, this.#fetch(moment, ({ data }) => data as Float32Array)]));
    return { step: this.#step, slots: this.#slots };
  }

  #fetch<T>(kind: 'weight' | 'm' | 'v', read: (value: HostTensor) => T): Record<string, T> {
    const { session, reads } = this.#compiled!;
    const nodes = this.#trained.map((name) => reads[kind].get(name)!);
    const values = session.run({}, nodes);
    return Object.fromEntries(this.#trained.map((name, i) => [name, read(values[i]!)]));
  }

  restore(weights: HostTensors, { step, slots }: OptimizerState) {
    const restored = (part: string, name: string, data: HostTensor['data'] | undefined): Float32Array => {
      const size = sizeOf(this.#specs[name]!.shape);
      if (data?.length !== size) throw new Error(`The checkpoint does not contain ${part} of ${name} in its size, ${size}.`);
      return data.slice() as Float32Array;
    };
    const trained = this.#trained.map((name) => [name, { ...this.#specs[name]!, data: restored('weight', name, weights[name]?.data) }]);
    const moments = MOMENTS.map((moment) => [moment, this.#each((_, name) => restored(moment, name, slots[moment]?.[name]))]);
    this.#weights = { ...this.#frozen, ...Object.fromEntries(trained) };
    this.#slots = Object.fromEntries(moments);
    this.#step = step;
    this.#evaluated = false;
    if (this.#compiled) this.#load(this.#compiled);
  }

  async evaluate(inputs: HostTensors) {
    const weights = this.weights();
    this.#inference ??= new TensorflowInference(this.binding, this.program, weights, this.#axes, this.precision);
    if (!this.#evaluated) this.#inference.renew(weights);
    this.#evaluated = true;
    return this.#inference.run(inputs);
  }

  async dispose() {
    this.#compiled?.session.close();
    this.#compiled = undefined;
    await this.#inference?.dispose();
  }

  #each<T>(f: (size: number, name: string) => T): Record<string, T> {
    return Object.fromEntries(this.#trained.map((name) => [name, f(sizeOf(this.#specs[name]!.shape), name)]));
  }

  /** Variables belong to a session: a new shape makes a new session for all shapes, and the state is copied to it. */
  #compile(batches: HostTensors[]): TrainingModel {
    const keys = batches.map((inputs) => this.#trace(inputs));
    if (this.#compiled && keys.every((key) => this.#compiled!.buckets.has(key))) return this.#compiled;
    for (const key of [...this.#traces.keys()].slice(0, Math.max(0, this.#traces.size - MOST_SHAPES))) this.#traces.delete(key);
    this.weights();
    this.optimizerState();
    this.#compiled?.session.close();
    this.#taped.clear();
    this.#compiled = trainingModel(
      this.binding,
      this.#specs,
      this.#traces,
      { ...this.options, optimizer: this.#optimizer },
      this.precision,
    );
    this.#load(this.#compiled);
    return this.#compiled;
  }

  /** Traces a shape, if it is new; returns its key. */
  #trace(inputs: HostTensors): string {
    const key = shapeOfInputs(inputs, this.#axes);
    const trace =
      this.#traces.get(key) ??
      traceFor(inputs, this.#axes, (sized, free) =>
        traceTraining(this.program, this.#specs, sized, {
          trained: this.#trained,
          padding: this.options.paddingRows ?? {},
          free,
          checkpointing: this.options.checkpointing,
        }),
      );
    this.#traces.delete(key); // moves to the end: recently used ones are kept
    this.#traces.set(key, trace);
    return key;
  }

  #load({ session, loads, loaded }: TrainingModel): void {
    const feeds: Record<string, HostTensor> = {};
    for (const [name, node] of loads.weight) feeds[node] = this.#weights![name]!;
    for (const moment of MOMENTS) {
      for (const [name, node] of loads[moment]) feeds[node] = { ...this.#specs[name]!, data: this.#slots![moment]![name]! };
    }
    session.run(feeds, [loaded]);
  }
}

const MOMENTS = ['m', 'v'] as const;

const scalar = (value: number): HostTensor => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) });
const number = ([value]: HostTensor[]): number => value!.data[0]!;
