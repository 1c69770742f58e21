/**
 * A traced tensor program: TensorFlow.js kernels, with their own names and attributes, over values of known shape. An
 * emitter turns it into a model file; kernels correspond to TensorFlow's ops, so the emitter for TensorFlow is nearly
 * a table of names.
 *
 * In addition to TensorFlow.js's kernels there are ours: `LayerNorm` (x, gamma, beta; epsilon → y, mean, inverse
 * deviation), `Gelu` (x), `GeluNew` (x) with tanh, `LogSumExp` (x), along the last axis, and `Rotate` (x, cos, sin),
 * which rotates pairs of numbers of the last axis.
 */

export type DType = 'float32' | 'int32' | 'bool';

export interface Spec {
  shape: number[];
  dtype: DType;
}

export interface Value extends Spec {
  from: Node | 'input' | Constant;
}

/** Constants of the program. If all elements are equal, `data` is that number. */
export interface Constant {
  data: number | Float32Array | Int32Array | Uint8Array;
}

export type Attributes = Record<string, unknown>;

export interface Node {
  kernel: string;
  /** In the order of the kernel table. */
  inputs: Value[];
  attributes: Attributes;
  outputs: Value[];
}

export interface Graph {
  inputs: Map<string, Value>;
  outputs: Map<string, Value>;
  /** In topological order. */
  nodes: Node[];
}

export function isNode(from: Value['from']): from is Node {
  return typeof from === 'object' && 'kernel' in from;
}

/** The number that fills a value, if it is a constant whose elements are all equal. */
export function filling(value: Value): number | undefined {
  const { from } = value;
  return typeof from === 'object' && 'data' in from && typeof from.data === 'number' ? from.data : undefined;
}

export const sizeOf = (shape: number[]): number => shape.reduce((size, n) => size * n, 1);

export const sameShape = (a: number[], b: number[]): boolean => a.length === b.length && a.every((n, i) => n === b[i]);

/** The graph that computes only `outputs`: nodes and inputs that no output needs are left out. */
export function graphOf(inputs: Map<string, Value>, outputs: Map<string, Value>, recorded: Node[]): Graph {
  const needed = new Set<Value>(outputs.values());
  const nodes: Node[] = [];
  for (const node of recorded.toReversed()) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    nodes.push(node);
    for (const value of node.inputs) needed.add(value);
  }
  return { inputs: new Map([...inputs].filter(([, value]) => needed.has(value))), outputs, nodes: nodes.reverse() };
}

/** The maximum number of live bytes if nodes run in order and each value is freed after its last reader. */
export function peakBytes({ nodes }: Graph): number {
  const lastReader = new Map<object, number>();
  for (const [i, { inputs }] of nodes.entries()) for (const value of inputs) lastReader.set(value, i);
  const freed: number[] = [];
  let alive = 0;
  let peak = 0;
  for (const [i, { outputs, kernel }] of nodes.entries()) {
    const bytes = kernel === 'Reshape' ? 0 : outputs.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
    alive += bytes;
    peak = Math.max(peak, alive);
    const end = Math.max(i, ...outputs.map((value) => lastReader.get(value) ?? i));
    freed[end] = (freed[end] ?? 0) + bytes;
    alive -= freed[i] ?? 0;
  }
  return peak;
}
