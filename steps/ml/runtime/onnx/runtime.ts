/**
 * The `onnx` runtime: a program is traced once for each shape of its inputs, and the graph runs in onnxruntime.
 * Weights are inputs of the graph, read in place; gradients are outputs, written where the optimizer reads them.
 */

import { createRequire } from 'node:module';
import { memoryLimit } from '../../../../engine/contract/step.ts';
import type { StepPosition } from '../dropout.ts';
import { type Free, shapeOfInputs, shapesAt, traceFor } from '../dynamic-axes.ts';
import { type Graph, peakBytes, sizeOf, type Value } from '../graph.ts';
import { type Gradient, HostTraining, type UseGradients } from '../optimizers.ts';
import type { Axes, HostTensor, HostTensors, Inference, Program, Runtime, TrainingOptions } from '../runtime.ts';
import { tf } from '../tfjs.ts';
import { named, specsOf, type TrainingGraph, traceInference, traceTraining } from '../trace.ts';
import { emitOnnx } from './emit.ts';
import * as ort from './library.ts';

/** The execution provider. Ops without a `webgpu` kernel run on the CPU. */
type ExecutionProvider = 'cpu' | 'webgpu';

export function onnxRuntime(threads: number, provider: ExecutionProvider = 'cpu'): Runtime {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return {
    name: 'onnx',
    description: `onnxruntime-node ${version}, ${provider === 'cpu' ? 'CPU' : 'GPU by WebGPU'}, ${threads} thread${threads === 1 ? '' : 's'}`,
    device: provider === 'cpu' ? 'cpu' : 'gpu',
    threads,
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
    const specs = specsOf(weights);
    // onnxruntime packs weights that are constants of the model, and then has a copy. Nothing here may keep the others in memory.
    let constants = packed ? dataOf(weights) : new Map<string, Float32Array>();
    this.#sessions = new OnnxSessions(axes, async (inputs) => {
      if (packed && constants.size === 0) throw new Error('Packed weights are for one graph: all inputs must have free axes.');
      const { traced, free } = traceFor(inputs, axes, (sized, free) => ({ graph: traceInference(program, specs, sized, { free }) }));
      const session = await OnnxSession.open(traced.graph, free, threads, provider, constants);
      constants = new Map();
      return { session };
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

class OnnxTraining extends HostTraining {
  readonly #weights: Record<string, ort.Tensor>;
  readonly #sessions: OnnxSessions<Compiled>;
  readonly #inference: OnnxInference;

  constructor(program: Program, weights: HostTensors, options: TrainingOptions, threads: number, provider: ExecutionProvider) {
    super(weights, options);
    this.#weights = feeds(this.optimizer.weights, named.weight);
    const { axes = {}, paddingRows = {}, checkpointing } = options;
    this.#inference = new OnnxInference(program, this.optimizer.weights, axes, threads, provider);
    this.#sessions = new OnnxSessions(axes, async (inputs) => {
      const { traced, free } = traceFor(inputs, axes, (sized, free) =>
        traceTraining(program, specsOf(weights), sized, { trained: this.optimizer.trained, padding: paddingRows, free, checkpointing }),
      );
      return { ...traced, session: await OnnxSession.open(traced.graph, free, threads, provider), buffers: this.#buffers(traced) };
    });
  }

  #buffers({ graph, gradients }: TrainingGraph): Map<string, Float32Array> {
    const nameOf = namesOf(graph);
    const buffers = new Map<string, Float32Array>();
    for (const [name, { dense }] of gradients) {
      const output = dense && nameOf.get(dense)!;
      if (output && !buffers.has(output)) buffers.set(output, this.optimizer.gradientBuffer(name));
    }
    return buffers;
  }

  protected differentiate(inputs: HostTensors, at: StepPosition, use: UseGradients): Promise<void> {
    return this.#sessions.use(inputs, async ({ session, masks, graph, gradients, terms, buffers }) => {
      const shapes = session.shapes('inputs', inputs);
      const dropout: Record<string, ort.Tensor> = {};
      for (const [ordinal, { name, rate }] of masks.entries()) {
        const shape = shapes.get(name);
        if (shape) dropout[name] = tensorOf({ dtype: 'float32', shape, data: this.tapes.mask(rate, sizeOf(shape), at, ordinal) });
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
      use({ loss: scalar('loss'), terms: Object.fromEntries(terms.map((name) => [name, scalar(name)])) }, updates);
    });
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

/** One graph as an onnxruntime session: inputs are read from, and outputs written to, arrays of the caller. */
class OnnxSession {
  /** The approximate memory of a run between inputs and outputs. */
  readonly bytes: number;
  /** Names of the inputs of every run. */
  readonly #fed: string[];

  /** @param constants inputs that are the same in every run */
  static async open(
    graph: Graph,
    free: Free | undefined,
    threads: number,
    provider: ExecutionProvider = 'cpu',
    constants: ReadonlyMap<string, Float32Array> = new Map(),
  ): Promise<OnnxSession> {
    const initializers = new Map(
      [...graph.inputs].filter(([name]) => constants.has(name)).map(([name, value]) => [value, constants.get(name)!]),
    );
    const session = await ort.InferenceSession.create(emitOnnx(graph, { dialect: 'onnxruntime', free, initializers, external: true }), {
      // Read where they are: a file would hold them two more times.
      externalData: [...constants].map(([path, { buffer, byteOffset, byteLength }]) => ({
        path,
        data: new Uint8Array(buffer, byteOffset, byteLength),
      })),
      executionProviders: [provider],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    });
    const fed = [...graph.inputs.keys()].filter((name) => !constants.has(name));
    return new OnnxSession(graph, free, session, fed);
  }

  private constructor(
    readonly graph: Graph,
    private readonly free: Free | undefined,
    private readonly session: ort.InferenceSession,
    fed: string[],
  ) {
    this.#fed = fed;
    this.bytes = peakBytes(graph);
  }

  async run(feeds: Record<string, ort.Tensor>, outputs: Record<string, ort.Tensor>): Promise<void> {
    const given: Record<string, ort.Tensor> = {};
    for (const name of this.#fed) {
      const tensor = feeds[name];
      if (!tensor) throw new Error(`The input ${name} was not given.`);
      given[name] = tensor;
    }
    await this.session.run(given, outputs);
  }

  /** The shapes of the graph's inputs or outputs for these inputs. */
  shapes(which: 'inputs' | 'outputs', given: HostTensors): Map<string, number[]> {
    return shapesAt(this.graph[which], this.free?.twin[which], this.free, given);
  }

  /** Allocates the outputs; those in `buffers` are used as they are. */
  outputs(given: HostTensors, buffers: ReadonlyMap<string, Float32Array> = new Map()): Record<string, ort.Tensor> {
    return Object.fromEntries(
      [...this.shapes('outputs', given)].map(([name, shape]) => {
        const { dtype } = this.graph.outputs.get(name)!;
        const Data = dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array;
        return [name, tensorOf({ shape, dtype, data: buffers.get(name) ?? new Data(sizeOf(shape)) })];
      }),
    );
  }

  async close(): Promise<void> {
    await this.session.release();
  }
}

const tensorOf = ({ dtype, data, shape }: HostTensor): ort.Tensor => new ort.Tensor(dtype, data as Float32Array, shape);

const hostOf = ({ type, data, dims }: ort.Tensor): HostTensor => ({
  dtype: type as HostTensor['dtype'],
  shape: [...dims],
  data: data as HostTensor['data'],
});

/**
 * Sessions by the shapes of their inputs, without free axes. The least recently used ones are closed if they take too much
 * memory, or are too many. Only one is used at a time, so that none is closed while it is used.
 */
/** One graph as an onnxruntime session: inputs are read from, and outputs written to, arrays of the caller. */
class OnnxSessions<T extends { session: OnnxSession }> {
  readonly #live = new Map<string, T>();
  #busy: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly axes: Axes,
    private readonly open: (inputs: HostTensors) => Promise<T>,
  ) {}

  use<R>(inputs: HostTensors, f: (entry: T) => Promise<R>): Promise<R> {
    const result = this.#busy.then(async () => f(await this.#for(inputs)));
    this.#busy = result.catch(() => {});
    return result;
  }

  async close(): Promise<void> {
    await this.#busy;
    for (const { session } of this.#live.values()) await session.close();
    this.#live.clear();
  }

  async #for(inputs: HostTensors): Promise<T> {
    const key = shapeOfInputs(inputs, this.axes);
    const entry = this.#live.get(key) ?? (await this.open(inputs));
    this.#live.delete(key); // moves to the end: the most recently used is closed last
    this.#live.set(key, entry);
    let bytes = [...this.#live.values()].reduce((sum, { session }) => sum + session.bytes, 0);
    for (const [oldest, { session }] of this.#live) {
      if (oldest === key || (this.#live.size <= MOST_SESSIONS && bytes <= MOST_BYTES)) break;
      this.#live.delete(oldest);
      bytes -= session.bytes;
      await session.close();
    }
    return entry;
  }
}

const MOST_SESSIONS = 24;
const MOST_BYTES = memoryLimit() / 3;

/** Why onnxruntime's WebGPU provider finds no GPU, undefined if it finds one: only a session that requests one shows it. */
export async function webgpuWorks(): Promise<string | undefined> {
  try {
    const graph = traceInference((_, { x }) => ({ y: tf.neg(x!) }), {}, { x: { dtype: 'float32', shape: [1] } });
    const session = await OnnxSession.open(graph, undefined, 1, 'webgpu');
    await session.close();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('. ').at(-1)!.trim();
  }
}
