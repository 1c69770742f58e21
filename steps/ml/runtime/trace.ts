/**
 * Converts a program to a graph: it runs once on a TensorFlow.js backend whose kernels compute nothing and only record
 * themselves. TensorFlow.js's own gradient tape works on it, so the backward pass is traced too.
 */

import { recompute } from './gradient-checkpointing.ts';
import { type Attributes, type Graph, graphOf, isNode, type Node, type Spec, sameShape, type Value } from './graph.ts';
import { kernels } from './kernels.ts';
import { paddingRows } from './ops.ts';
import { Recorder } from './recorder.ts';
import type { Dropout, Program } from './runtime.ts';
import { onBackend, tf } from './tfjs.ts';

export type Specs = Record<string, Spec>;

export const specsOf = (tensors: Specs): Specs =>
  Object.fromEntries(Object.entries(tensors).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));

export interface TracedGradient {
  dense?: Value;
  /** Gradients of lookups: `values` belong to the rows `ids`. */
  rows: { ids: Value; values: Value }[];
}

export interface TrainingGraph {
  graph: Graph;
  gradients: Map<string, TracedGradient>;
  /** Dropout masks are inputs, in the order in which the program uses them. */
  masks: { name: string; rate: number }[];
  /** The names of the program's scalars besides the loss. */
  terms: string[];
}

/** Names of a graph's inputs and outputs, by their roles. */
export const named = {
  weight: (name: string) => `weight:${name}`,
  input: (name: string) => `input:${name}`,
  mask: (ordinal: number) => `dropout:${ordinal}`,
  output: (name: string) => `output:${name}`,
};

/** The program without dropout; all its outputs, or those listed. With `free` axes, constants are not computed ahead. */
export function traceInference(
  program: Program,
  weights: Specs,
  inputs: Specs,
  { free = false, outputs }: { free?: boolean; outputs?: readonly string[] | undefined } = {},
): Graph {
  return tracing(new Recorder({ compute: !free }), (trace) => {
    const results = program(trace.inputs(weights, named.weight), trace.inputs(inputs, named.input), (x) => x);
    const kept = outputs ? Object.fromEntries(outputs.map((name) => [name, results[name]!])) : results;
    return trace.graph(trace.outputs(kept));
  });
}

/** The program's loss and other scalars, and the gradient of the loss with respect to each of the weights `trained` that it depends on. */
export function traceTraining(
  program: Program,
  weights: Specs,
  inputs: Specs,
  {
    trained,
    padding,
    free = false,
    checkpointing = false,
  }: { trained: string[]; padding: Record<string, number>; free?: boolean; checkpointing?: boolean | undefined },
): TrainingGraph {
  return tracing(new Recorder({ compute: !free }), (trace) => {
    const masks: TrainingGraph['masks'] = [];
    const dropout: Dropout = (x, rate) => {
      if (rate === 0) return x;
      const name = named.mask(masks.length);
      masks.push({ name, rate });
      return tf.mul(x, trace.input(name, { shape: x.shape, dtype: 'float32' })) as typeof x;
    };
    const tensors = trace.inputs(weights, named.weight);
    for (const [name, row] of Object.entries(padding)) paddingRows.set(tensors[name]!, row);
    let outputs = new Map<string, Value>();
    let terms: string[] = [];
    const { grads } = tf.engine().gradients(
      () => {
        const results = program(tensors, trace.inputs(inputs, named.input), dropout);
        outputs = trace.outputs(Object.fromEntries(Object.entries(results).filter(([, { rank }]) => rank === 0)));
        terms = [...outputs.keys()].map((name) => name.slice(named.output('').length)).filter((name) => name !== 'loss');
        return results.loss!;
      },
      trained.map((name) => tensors[name]!),
      undefined,
      true,
    );
    const gradients = new Map<string, TracedGradient>();
    for (const [i, name] of trained.entries()) {
      const gradient = grads[i] as tf.Tensor | null;
      if (gradient) gradients.set(name, trace.split(trace.value(gradient)));
    }
    // Each value is returned once: two embeddings in one sum have the same gradient rows.
    const out = new Set(outputs.values());
    const add = (name: string, value: Value) => {
      if (!out.has(value)) outputs.set(name, value);
      out.add(value);
    };
    for (const [name, { dense, rows }] of gradients) {
      if (dense) add(`gradient:${name}`, dense);
      for (const [i, { ids, values }] of rows.entries()) {
        add(`ids:${name}:${i}`, ids);
        add(`rows:${name}:${i}`, values);
      }
    }
    return { graph: trace.graph(outputs, checkpointing), gradients, masks, terms };
  });
}

/** The data of a tensor on the tracing backend is the value that it represents. */
class TraceBackend extends tf.KernelBackend {
  readonly values = new Map<object, Value>();
  recorder: Recorder | undefined;

  override write(values: tf.backend_util.TypedArray, shape: number[], dtype: tf.DataType): object {
    if (dtype === 'string' || dtype === 'complex64') throw new Error(`A ${dtype} tensor cannot be traced.`);
    return this.hold(this.recorder!.constant(values as Float32Array, shape, dtype));
  }

  hold(value: Value): object {
    const dataId = {};
    this.values.set(dataId, value);
    return dataId;
  }

  override readSync(dataId: object): Float32Array {
    const { from, shape } = this.values.get(dataId)!;
    if (typeof from === 'object' && 'data' in from) {
      return typeof from.data === 'number' ? new Float32Array(tf.util.sizeFromShape(shape)).fill(from.data) : Float32Array.from(from.data);
    }
    throw new Error('A program must not read the values of its tensors, which do not exist while it is traced. Use ops instead.');
  }

  override async read(dataId: object): Promise<Float32Array> {
    return this.readSync(dataId);
  }

  // A graph holds no memory that is worth freeing before the trace ends.
  override disposeData = () => true;
  override refCount = () => 1;
  override incRef() {}
  override numDataIds = () => this.values.size;
  override memory = () => ({ unreliable: true });
  override floatPrecision = () => 32 as const;
  override epsilon = () => 1e-7;
  override dispose() {}
}

const backend = new TraceBackend();
tf.registerBackend('trace', () => backend, 0);
for (const [kernelName, { inputs: names }] of Object.entries(kernels)) {
  tf.registerKernel({
    kernelName,
    backendName: 'trace',
    kernelFunc: ({ inputs, attrs }) => {
      const given = names === 'list' ? Object.values(inputs) : names.map((name) => inputs[name]).filter((input) => input != null);
      const values = (given as tf.TensorInfo[]).map(({ dataId }) => backend.values.get(dataId)!);
      const outputs = backend.recorder!.record(kernelName, values, (attrs ?? {}) as unknown as Attributes);
      const infos = outputs.map((value) => ({ dataId: backend.hold(value), shape: value.shape, dtype: value.dtype }));
      return infos.length === 1 ? infos[0]! : infos;
    },
  });
}
for (const { kernelName } of tf.getKernelsForBackend('cpu')) {
  if (kernels[kernelName]) continue;
  tf.registerKernel({
    kernelName,
    backendName: 'trace',
    kernelFunc: () => {
      throw new Error(`The TensorFlow.js op ${kernelName} cannot be traced yet: add it to steps/ml/runtime/kernels.ts and onnx/emit.ts.`);
    },
  });
}

function tracing<T>(recorder: Recorder, f: (trace: Trace) => T): T {
  if (backend.recorder) throw new Error('A program is already being traced.');
  const before = tf.engine().backendName;
  backend.recorder = recorder;
  try {
    return onBackend('trace', () => f(new Trace(recorder)));
  } finally {
    backend.recorder = undefined;
    backend.values.clear();
    if (before) void tf.setBackend(before);
  }
}

class Trace {
  readonly #inputs = new Map<string, Value>();

  constructor(private readonly recorder: Recorder) {}

  input(name: string, spec: Spec): tf.Tensor {
    const value = this.recorder.input(spec);
    this.#inputs.set(name, value);
    return tf.engine().makeTensorFromTensorInfo({ dataId: backend.hold(value), shape: spec.shape, dtype: spec.dtype });
  }

  inputs(specs: Specs, nameOf: (name: string) => string): Record<string, tf.Tensor> {
    return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, this.input(nameOf(name), spec)]));
  }

  value(tensor: tf.Tensor): Value {
    return backend.values.get(tensor.dataId)!;
  }

  outputs(tensors: Record<string, tf.Tensor>): Map<string, Value> {
    return new Map(Object.entries(tensors).map(([name, tensor]) => [named.output(name), this.value(tensor)]));
  }

  graph(outputs: Map<string, Value>, checkpointing = false): Graph {
    const { nodes, marks } = this.recorder;
    return graphOf(this.#inputs, outputs, checkpointing ? recompute(nodes, marks) : nodes);
  }

  /** Separates the sums of looked-up rows from a weight's gradient, and adds up the rest again. */
  split(gradient: Value): TracedGradient {
    const rows: TracedGradient['rows'] = [];
    const dense: Value[] = [];
    const visit = (value: Value) => {
      const node = isNode(value.from) ? (value.from as Node) : undefined;
      if (node?.kernel === 'Add' && node.inputs.every(({ shape }) => sameShape(shape, value.shape))) node.inputs.forEach(visit);
      else if (node?.kernel === 'UnsortedSegmentSum') rows.push({ values: node.inputs[0]!, ids: node.inputs[1]! });
      else dense.push(value);
    };
    visit(gradient);
    if (rows.length === 0) return { dense: gradient, rows };
    if (dense.length === 0) return { rows };
    return { dense: dense.reduce((sum, term) => this.recorder.record('Add', [sum, term], {})[0]!), rows };
  }
}
