/**
 * The `onnx` runtime: a program is traced once for each shape of its inputs, and the graph runs in onnxruntime.
 * Weights are inputs of the graph, read in place; gradients are outputs, written where the optimizer reads them.
 */

import { createRequire } from 'node:module';
import { DropoutTapes, type StepPosition } from '../dropout.ts';
import { traceFor } from '../dynamic-axes.ts';
import { type Graph, sizeOf, type Value } from '../graph.ts';
import { type Gradient, Optimizer } from '../optimizers.ts';
import {
  type Axes,
  addTerms,
  type HostTensors,
  type Inference,
  type OptimizerState,
  type Part,
  type Program,
  type Runtime,
  type Training,
  type TrainingOptions,
} from '../runtime.ts';
import { named, type TrainingGraph, traceInference, traceTraining } from '../trace.ts';
import type * as ort from './library.ts';
import { type ExecutionProvider, hostOf, OnnxSession, OnnxSessions, tensorOf } from './session.ts';

export function onnxRuntime(threads: number, provider: ExecutionProvider = 'cpu'): Runtime {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return {
    name: 'onnx',
    description: `onnxruntime-node ${version}, ${provider === 'cpu' ? 'CPU' : 'GPU by WebGPU'}, ${threads} thread${threads === 1 ? '' : 's'}`,
    device: provider === 'cpu' ? 'cpu' : 'gpu',
    inference: (program, weights, axes = {}, { packed = false } = {}) =>
      new OnnxInference(program, weights, axes, threads, provider, packed && bytesOf(weights) < LARGEST_MODEL),
    training: (program, weights, options) => new OnnxTraining(program, weights, options, threads, provider),
  };
}

class OnnxInference implements Inference {
  readonly #weights: Record<string, ort.Tensor>;
  readonly #sessions: OnnxSessions<{ session: OnnxSession }>;

  constructor(program: Program, weights: HostTensors, axes: Axes, threads: number, provider: ExecutionProvider, packed = false) {
    this.#weights = packed ? {} : feeds(weights, named.weight);
    this.#sessions = new OnnxSessions(axes, async (inputs) => {
      const { traced, free } = traceFor(inputs, axes, (sized, free) => ({ graph: traceInference(program, weights, sized, { free }) }));
      // onnxruntime packs weights that are constants of the model.
      const constants = packed ? dataOf(weights) : new Map();
      return { session: await OnnxSession.open(traced.graph, free, threads, provider, constants) };
    });
  }

  run(inputs: HostTensors): Promise<HostTensors> {
    return this.#sessions.use(inputs, async ({ session }) => {
      const outputs = session.outputs(inputs);
      await session.run({ ...this.#weights, ...feeds(inputs, named.input) }, outputs);
      return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name.slice(named.output('').length), hostOf(tensor)]));
    });
  }

  async dispose(): Promise<void> {
    await this.#sessions.close();
  }
}

interface Compiled extends TrainingGraph {
  session: OnnxSession;
  /** Dense gradients are written directly into the optimizer's buffers, by the names of the graph's outputs. */
  buffers: Map<string, Float32Array>;
}

class OnnxTraining implements Training {
  readonly #optimizer: Optimizer;
  readonly #weights: Record<string, ort.Tensor>;
  readonly #tapes = new DropoutTapes();
  readonly #sessions: OnnxSessions<Compiled>;
  readonly #inference: OnnxInference;

  constructor(program: Program, weights: HostTensors, options: TrainingOptions, threads: number, provider: ExecutionProvider) {
    this.#optimizer = new Optimizer(weights, options);
    this.#weights = feeds(this.#optimizer.weights, named.weight);
    const { axes = {}, paddingRows = {}, checkpointing } = options;
    this.#inference = new OnnxInference(program, this.#optimizer.weights, axes, threads, provider);
    const specs = Object.fromEntries(Object.entries(weights).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
    this.#sessions = new OnnxSessions(axes, async (inputs) => {
      const { traced, free } = traceFor(inputs, axes, (sized, free) =>
        traceTraining(program, specs, sized, { trained: this.#optimizer.trained, padding: paddingRows, free, checkpointing }),
      );
      return { ...traced, session: await OnnxSession.open(traced.graph, free, threads, provider), buffers: this.#buffers(traced) };
    });
  }

  #buffers({ graph, gradients }: TrainingGraph): Map<string, Float32Array> {
    const nameOf = namesOf(graph);
    const buffers = new Map<string, Float32Array>();
    for (const [name, { dense }] of gradients) {
      const output = dense && nameOf.get(dense)!;
      if (output && !buffers.has(output)) buffers.set(output, this.#optimizer.gradientBuffer(name));
    }
    return buffers;
  }

  async step(parts: readonly Part[], at: StepPosition & { learningRate: number }) {
    let loss = 0;
    let gradNorm = 0;
    const terms: Record<string, number> = {};
    for (const [part, { inputs, share }] of parts.entries()) {
      await this.#differentiate(inputs, { ...at, part }, (partLoss, partTerms, gradients) => {
        loss += share * partLoss;
        addTerms(terms, partTerms, share);
        if (part < parts.length - 1) this.#optimizer.accumulate(gradients, share);
        else gradNorm = this.#optimizer.step(gradients, at.learningRate, share, loss);
      });
    }
    return { loss, gradNorm, terms };
  }

  /** Runs the forward and backward pass of a part; `use` may read the gradients until it returns. */
  #differentiate(
    inputs: HostTensors,
    at: StepPosition,
    use: (loss: number, terms: Record<string, number>, gradients: Map<string, Gradient>) => void,
  ): Promise<void> {
    return this.#sessions.use(inputs, async ({ session, masks, graph, gradients, terms, buffers }) => {
      const shapes = session.shapes('inputs', inputs);
      const dropout: Record<string, ort.Tensor> = {};
      for (const [ordinal, { name, rate }] of masks.entries()) {
        const shape = shapes.get(name);
        if (shape) dropout[name] = tensorOf({ dtype: 'float32', shape, data: this.#tapes.mask(rate, sizeOf(shape), at, ordinal) });
      }
      const outputs = session.outputs(inputs, buffers);
      await session.run({ ...this.#weights, ...feeds(inputs, named.input), ...dropout }, outputs);
      const nameOf = namesOf(graph);
      const data = (value: Value) => outputs[nameOf.get(value)!]!.data;
      const updates = new Map<string, Gradient>();
      for (const [name, { dense, rows }] of gradients) {
        updates.set(name, {
          dense: dense && (data(dense) as Float32Array),
          rows: rows.map(({ ids, values }) => ({ ids: data(ids) as Int32Array, values: data(values) as Float32Array })),
        });
      }
      const scalar = (name: string) => outputs[named.output(name)]!.data[0] as number;
      use(scalar('loss'), Object.fromEntries(terms.map((name) => [name, scalar(name)])), updates);
    });
  }

  weights() {
    return this.#optimizer.weights;
  }

  optimizerState() {
    return this.#optimizer.state();
  }

  restore(weights: HostTensors, state: OptimizerState) {
    this.#optimizer.restore(weights, state);
  }

  evaluate(inputs: HostTensors) {
    return this.#inference.run(inputs);
  }

  async dispose() {
    await this.#sessions.close();
    await this.#inference.dispose();
  }
}

function feeds(tensors: HostTensors, nameOf: (name: string) => string): Record<string, ort.Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [nameOf(name), tensorOf(tensor)]));
}

const dataOf = (weights: HostTensors): Map<string, Float32Array> =>
  new Map(Object.entries(weights).map(([name, { data }]) => [named.weight(name), data as Float32Array]));

const bytesOf = (weights: HostTensors): number => Object.values(weights).reduce((sum, { data }) => sum + data.byteLength, 0);

/** A model file is limited to 2 GB. */
const LARGEST_MODEL = 2 ** 31 - 2 ** 20;

const namesOf = (graph: Graph): Map<Value, string> => new Map([...graph.outputs].map(([name, value]) => [value, name]));
