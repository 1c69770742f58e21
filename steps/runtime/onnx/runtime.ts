/**
 * The `onnx` runtime: a program is traced once for each shape of its inputs, and the graph runs in onnxruntime. Weights are inputs of
 * the graph, read in place; gradients are outputs, written where the optimizer reads them.
 */
import { createRequire } from 'node:module';
import type * as ort from 'onnxruntime-node';
import { DropoutTapes, type StepPosition } from '../dropout.ts';
import { sizeOf, type Value } from '../graph.ts';
import { type Gradient, Optimizer } from '../optimizer.ts';
import type { HostTensors, Inference, OptimizerState, Part, Program, Runtime, Training, TrainingOptions } from '../runtime.ts';
import { named, type TrainingGraph, traceInference, traceTraining } from '../trace.ts';
import { hostOf, type Provider, Session, Sessions, tensorOf } from './session.ts';

export function onnxRuntime(threads: number, provider: Provider = 'cpu'): Runtime {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return {
    name: 'onnx',
    description: `onnxruntime-node ${version}, ${provider === 'cpu' ? 'CPU' : 'GPU by WebGPU'}, ${threads} thread${threads === 1 ? '' : 's'}`,
    inference: (program, weights) => new OnnxInference(program, weights, threads, provider),
    training: (program, weights, options) => new OnnxTraining(program, weights, options, threads, provider),
  };
}

class OnnxInference implements Inference {
  readonly #weights: Record<string, ort.Tensor>;
  readonly #sessions: Sessions<{ session: Session }>;

  constructor(program: Program, weights: HostTensors, threads: number, provider: Provider) {
    this.#weights = feeds(weights, named.weight);
    this.#sessions = new Sessions(async (inputs) => ({
      session: await Session.open(traceInference(program, weights, inputs), threads, provider),
    }));
  }

  run(inputs: HostTensors): Promise<HostTensors> {
    return this.#sessions.use(inputs, async ({ session }) => {
      const outputs = session.outputs();
      await session.run({ ...this.#weights, ...feeds(inputs, named.input) }, outputs);
      return programOutputs(outputs);
    });
  }

  async dispose(): Promise<void> {
    await this.#sessions.close();
  }
}

interface Bucket extends TrainingGraph {
  session: Session;
  outputs: Record<string, ort.Tensor>;
  updates: Map<string, Gradient>;
}

class OnnxTraining implements Training {
  readonly #optimizer: Optimizer;
  readonly #weights: Record<string, ort.Tensor>;
  readonly #tapes = new DropoutTapes();
  readonly #buckets: Sessions<Bucket>;
  readonly #inference: OnnxInference;

  constructor(program: Program, weights: HostTensors, options: TrainingOptions, threads: number, provider: Provider) {
    this.#optimizer = new Optimizer(weights, options);
    this.#weights = feeds(this.#optimizer.weights, named.weight);
    this.#inference = new OnnxInference(program, this.#optimizer.weights, threads, provider);
    this.#buckets = new Sessions(async (inputs) => {
      const traced = traceTraining(program, weights, inputs, { trained: this.#optimizer.trained, padding: options.paddingRows ?? {} });
      return this.#bucket(traced, await Session.open(traced.graph, threads, provider));
    });
  }

  /** Dense gradients are written straight into the optimizer's buffers; looked-up rows have their own. */
  #bucket(traced: TrainingGraph, session: Session): Bucket {
    const nameOf = new Map([...traced.graph.outputs].map(([name, value]) => [value, name]));
    const buffers = new Map<string, Float32Array>();
    for (const [name, { dense }] of traced.gradients) {
      const output = dense && nameOf.get(dense)!;
      if (output && !buffers.has(output)) buffers.set(output, this.#optimizer.gradientBuffer(name));
    }
    const outputs = session.outputs(buffers);
    const data = (value: Value) => outputs[nameOf.get(value)!]!.data;
    const updates = new Map<string, Gradient>();
    for (const [name, { dense, rows }] of traced.gradients) {
      updates.set(name, {
        dense: dense && (data(dense) as Float32Array),
        rows: rows.map(({ ids, values }) => ({ ids: data(ids) as Int32Array, values: data(values) as Float32Array })),
      });
    }
    return { ...traced, session, outputs, updates };
  }

  async step(parts: readonly Part[], at: StepPosition & { learningRate: number }) {
    let loss = 0;
    let gradNorm = 0;
    for (const [part, { inputs, share }] of parts.entries()) {
      await this.#differentiate(inputs, { ...at, part }, (partLoss, gradients) => {
        loss += share * partLoss;
        if (part < parts.length - 1) this.#optimizer.accumulate(gradients, share);
        else gradNorm = this.#optimizer.step(gradients, at.learningRate, share);
      });
    }
    return { loss, gradNorm };
  }

  /** Runs a part forward and back; `use` has the gradients until it returns. */
  #differentiate(inputs: HostTensors, at: StepPosition, use: (loss: number, gradients: Map<string, Gradient>) => void): Promise<void> {
    return this.#buckets.use(inputs, async ({ session, masks, graph, outputs, updates }) => {
      const dropout: Record<string, ort.Tensor> = {};
      for (const [ordinal, { name, rate }] of masks.entries()) {
        const shape = graph.inputs.get(name)?.shape;
        if (shape) dropout[name] = tensorOf({ dtype: 'float32', shape, data: this.#tapes.mask(rate, sizeOf(shape), at, ordinal) });
      }
      await session.run({ ...this.#weights, ...feeds(inputs, named.input), ...dropout }, outputs);
      use(outputs[named.output('loss')]!.data[0] as number, updates);
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
    await this.#buckets.close();
    await this.#inference.dispose();
  }
}

function feeds(tensors: HostTensors, nameOf: (name: string) => string): Record<string, ort.Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [nameOf(name), tensorOf(tensor)]));
}

const OUTPUT = named.output('');

/** Copies, since the next step of the same shape writes into the same buffers. */
function programOutputs(outputs: Record<string, ort.Tensor>): HostTensors {
  return Object.fromEntries(
    Object.entries(outputs)
      .filter(([name]) => name.startsWith(OUTPUT))
      .map(([name, tensor]) => [name.slice(OUTPUT.length), { ...hostOf(tensor), data: hostOf(tensor).data.slice() }]),
  );
}
