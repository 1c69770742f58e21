/** One graph as an onnxruntime session: inputs are read from, and outputs written to, arrays of the caller. */

import { memoryLimit } from '../../../../engine/step.ts';
import { type Free, shapeOfInputs, shapesAt } from '../dynamic-axes.ts';
import { type Graph, peakBytes, sizeOf } from '../graph.ts';
import type { Axes, HostTensor, HostTensors } from '../runtime.ts';
import { tf } from '../tfjs.ts';
import { traceInference } from '../trace.ts';
import { emitOnnx } from './emit.ts';
import * as ort from './library.ts';

/** The execution provider. Ops without a `webgpu` kernel run on the CPU. */
export type ExecutionProvider = 'cpu' | 'webgpu';

export class OnnxSession {
  readonly graph: Graph;
  /** The approximate memory of a run between inputs and outputs. */
  readonly bytes: number;
  readonly #session: ort.InferenceSession;
  readonly #free: Free | undefined;
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
    const session = await ort.InferenceSession.create(emitOnnx(graph, { dialect: 'onnxruntime', free, initializers }), {
      executionProviders: [provider],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    });
    const fed = [...graph.inputs.keys()].filter((name) => !constants.has(name));
    return new OnnxSession(graph, free, session, fed);
  }

  private constructor(graph: Graph, free: Free | undefined, session: ort.InferenceSession, fed: string[]) {
    this.graph = graph;
    this.#fed = fed;
    this.#free = free;
    this.#session = session;
    this.bytes = peakBytes(graph);
  }

  async run(feeds: Record<string, ort.Tensor>, outputs: Record<string, ort.Tensor>): Promise<void> {
    const given: Record<string, ort.Tensor> = {};
    for (const name of this.#fed) {
      const tensor = feeds[name];
      if (!tensor) throw new Error(`The input ${name} was not given.`);
      given[name] = tensor;
    }
    await this.#session.run(given, outputs);
  }

  /** The shapes of the graph's inputs or outputs for these inputs. */
  shapes(which: 'inputs' | 'outputs', given: HostTensors): Map<string, number[]> {
    return shapesAt(this.graph[which], this.#free?.twin[which], this.#free, given);
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
    await this.#session.release();
  }
}

export const tensorOf = ({ dtype, data, shape }: HostTensor): ort.Tensor => new ort.Tensor(dtype, data as Float32Array, shape);

export const hostOf = ({ type, data, dims }: ort.Tensor): HostTensor => ({
  dtype: type as HostTensor['dtype'],
  shape: [...dims],
  data: data as HostTensor['data'],
});

/**
 * Sessions by the shapes of their inputs, without free axes. The least recently used one is closed if they would take
 * too much memory, or are too many. Only one is used at a time: a run takes all threads anyway, and none is closed
 * while it is used.
 */
export class OnnxSessions<T extends { session: OnnxSession }> {
  readonly #axes: Axes;
  readonly #open: (inputs: HostTensors) => Promise<T>;
  readonly #live = new Map<string, T>();
  #busy: Promise<unknown> = Promise.resolve();

  constructor(axes: Axes, open: (inputs: HostTensors) => Promise<T>) {
    this.#axes = axes;
    this.#open = open;
  }

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
    const key = shapeOfInputs(inputs, this.#axes);
    const entry = this.#live.get(key) ?? (await this.#open(inputs));
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

/**
 * Why onnxruntime's WebGPU provider finds no GPU, undefined if it finds one: only a session that requests one shows it.
 */
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
