/** Records kernels as a graph, and resolves what is known (constants, shapes, repeated work), so that no emitter has to. */

import type { Mark } from './gradient-checkpointing.ts';
import {
  type Attributes,
  type Constant,
  type DType,
  filling,
  isNode,
  type Node,
  type Spec,
  sameShape,
  sizeOf,
  type Value,
} from './graph.ts';
import { kernels } from './kernels.ts';
import { tf } from './tfjs.ts';

export class Recorder {
  readonly nodes: Node[] = [];
  /** The values between the program's layers. */
  readonly marks: Mark[] = [];
  readonly #known = new Map<string, Value[]>();
  readonly #ids = new Map<object, number>();
  /** Whether kernels over small constants are computed now. If shapes stand for free axes, a constant's content may depend on them. */
  readonly #compute: boolean;

  constructor({ compute }: { compute: boolean }) {
    this.#compute = compute;
  }

  input(spec: Spec): Value {
    return { shape: spec.shape, dtype: spec.dtype, from: 'input' };
  }

  constant(data: Constant['data'], shape: number[], dtype: DType): Value {
    if (typeof data === 'number') return this.#fill(data, shape, dtype);
    const first = data[0];
    const filled = first !== undefined && data.every((x) => Object.is(x, first));
    return filled ? this.#fill(first, shape, dtype) : { shape, dtype, from: { data: data.slice() } };
  }

  record(kernel: string, inputs: Value[], attributes: Attributes): Value[] {
    const inferred = kernels[kernel]!.infer(inputs, attributes);
    const { outputs } = inferred;
    const canonical = inferred.attributes ?? attributes;
    return this.#settled(kernel, inputs, canonical, outputs, attributes) ?? this.#node(kernel, inputs, canonical, outputs);
  }

  #one(kernel: string, inputs: Value[], attributes: Attributes = {}): Value {
    return this.record(kernel, inputs, attributes)[0]!;
  }

  /** The same kernel with the same inputs is recorded once. */
  #node(kernel: string, inputs: Value[], attributes: Attributes, specs: Spec[]): Value[] {
    const key = `${kernel} ${inputs.map((input) => this.#id(input)).join(' ')} ${JSON.stringify(attributes)} ${specs[0]!.dtype}`;
    const known = this.#known.get(key);
    if (known) return known;
    const node: Node = { kernel, inputs, attributes, outputs: [] };
    node.outputs = specs.map(({ shape, dtype }) => ({ shape, dtype, from: node }));
    this.nodes.push(node);
    this.#known.set(key, node.outputs);
    return node.outputs;
  }

  #fill(value: number, shape: number[], dtype: DType): Value {
    const key = `= ${Object.is(value, -0) ? '-0' : value} ${shape.join()} ${dtype}`;
    const known = this.#known.get(key);
    if (known) return known[0]!;
    const filled: Value = { shape, dtype, from: { data: value } };
    this.#known.set(key, [filled]);
    return filled;
  }

  #id(value: Value): number {
    const id = this.#ids.get(value) ?? this.#ids.size;
    this.#ids.set(value, id);
    return id;
  }

  /** The result of a kernel that is known without running it. */
  #settled(kernel: string, inputs: Value[], attributes: Attributes, outputs: Spec[], given: Attributes): Value[] | undefined {
    const [x, y] = inputs;
    const output = outputs[0]!;
    switch (kernel) {
      case 'Identity':
        return [x!];
      case 'LayerEnd':
        this.marks.push({ value: x!, at: this.nodes.length });
        return [x!];
      case 'LayerEndGradient':
        Object.assign(this.marks.find(({ value }) => value === y)!, { gradient: x!, gradientAt: this.nodes.length });
        return [x!];
      case 'Fill':
        return [this.#fill(attributes.value as number, output.shape, output.dtype)];
      case 'ZerosLike':
        return [this.#fill(0, output.shape, output.dtype)];
      case 'OnesLike':
        return [this.#fill(1, output.shape, output.dtype)];
      case 'ExpandDims':
        return [this.#reshape(x!, output.shape)];
      case 'Cast':
        if (x!.dtype === output.dtype) return [x!];
        break;
      case 'Reshape': {
        const base = isNode(x!.from) && x!.from.kernel === 'Reshape' ? x!.from.inputs[0]! : x!;
        if (sameShape(base.shape, output.shape)) return [base];
        if (base !== x) return [this.#reshape(base, output.shape)];
        break;
      }
      case 'Tile':
        if (x!.shape.every((n, i) => n === 1 || n === output.shape[i])) return [this.#broadcast(x!, output.shape)];
        break;
      case 'BroadcastTo':
        if (sameShape(x!.shape, output.shape)) return [x!];
        break;
      case 'Transpose':
        if ((attributes.perm as number[]).every((from, to) => from === to)) return [x!];
        break;
      case 'Sum':
      case 'Mean':
      case 'Max':
      case 'Min':
        if (x!.dtype === output.dtype && sizeOf(x!.shape) === sizeOf(output.shape)) return [this.#reshape(x!, output.shape)];
        break;
      case 'BatchMatMul':
      case '_FusedMatMul': {
        // One matrix by one matrix, whatever the rank.
        if (output.shape.length === 2 || sizeOf(output.shape.slice(0, -2)) !== 1) break;
        const [a, b, ...bias] = inputs;
        const product = this.#one(kernel, [this.#reshape(a!, a!.shape.slice(-2)), this.#reshape(b!, b!.shape.slice(-2)), ...bias], given);
        return [this.#reshape(product, output.shape)];
      }
      case 'AddN':
        return [inputs.reduce((sum, term) => this.#one('Add', [sum, term]))];
    }
    const neutral = NEUTRAL[kernel];
    if (neutral !== undefined && COMMUTING.has(kernel) && filling(x!) === neutral) return [this.#broadcast(y!, output.shape)];
    if (neutral !== undefined && filling(y!) === neutral) return [this.#broadcast(x!, output.shape)];
    return this.#computed(kernel, inputs, outputs, given) ?? this.#unbroadcast(kernel, inputs, attributes, outputs);
  }

  #reshape(x: Value, shape: number[]): Value {
    return this.#one('Reshape', [x], { shape });
  }

  #broadcast(x: Value, shape: number[]): Value {
    return this.#one('BroadcastTo', [x], { shape });
  }

  /** An element-wise kernel broadcasts by itself: an expanded or filled input shrinks while another has the output's shape. */
  #unbroadcast(kernel: string, inputs: Value[], attributes: Attributes, outputs: Spec[]): Value[] | undefined {
    if (!SPREADING.has(kernel) || attributes.rows === true) return undefined;
    const { shape } = outputs[0]!;
    const smaller = [...inputs];
    for (const [i, input] of inputs.entries()) {
      if (!smaller.some((other, j) => j !== i && sameShape(other.shape, shape))) continue;
      const value = filling(input);
      if (value !== undefined) smaller[i] = this.#fill(value, [], input.dtype);
      else if (isNode(input.from) && input.from.kernel === 'BroadcastTo') smaller[i] = input.from.inputs[0]!;
    }
    return smaller.some((value, i) => value !== inputs[i]) ? this.record(kernel, smaller, attributes) : undefined;
  }

  /** The kernel's value, if its inputs are constants: filled ones by one element, small ones whole, on the cpu backend. */
  #computed(kernel: string, inputs: Value[], outputs: Spec[], attributes: Attributes): Value[] | undefined {
    const fills = inputs.map(filling);
    if (inputs.length > 0 && fills.every((value) => value !== undefined)) {
      if (PLACING.has(kernel)) return outputs.map(({ shape, dtype }) => this.#fill(fills[0]!, shape, dtype));
      if (ELEMENTWISE.has(kernel)) {
        const scalars = inputs.map((input, i) => ({ shape: [], dtype: input.dtype, data: [fills[i]!] }));
        const [result] = runOnCpu(kernel, scalars, attributes);
        return [this.#fill(result!.data[0]!, outputs[0]!.shape, outputs[0]!.dtype)];
      }
    }
    const small = (specs: Spec[]) => specs.every(({ shape }) => sizeOf(shape) <= SMALL);
    if (!this.#compute || kernels[kernel]!.inputs === 'list' || !small(inputs) || !small(outputs) || !tf.getKernel(kernel, 'cpu'))
      return undefined;
    const known = inputs.map(({ from, shape, dtype }) => {
      if (typeof from !== 'object' || !('data' in from)) return undefined;
      const { data } = from;
      return { shape, dtype, data: typeof data === 'number' ? new Array<number>(sizeOf(shape)).fill(data) : data };
    });
    if (known.some((input) => !input)) return undefined;
    return runOnCpu(kernel, known as HostValue[], attributes).map(({ data, shape, dtype }) => this.constant(data, shape, dtype));
  }
}

interface HostValue extends Spec {
  data: ArrayLike<number>;
}

function runOnCpu(kernel: string, inputs: HostValue[], attributes: Attributes) {
  const backend = tf.engine().findBackend('cpu');
  const names = kernels[kernel]!.inputs as string[];
  const infos = inputs.map(({ data, shape, dtype }) => {
    const typed = dtype === 'float32' ? Float32Array.from(data) : dtype === 'int32' ? Int32Array.from(data) : Uint8Array.from(data);
    return { dataId: backend.write(typed, shape, dtype), shape, dtype };
  });
  const named = Object.fromEntries(infos.map((info, i) => [names[i]!, info]));
  const result = tf.getKernel(kernel, 'cpu').kernelFunc({ inputs: named, attrs: attributes as any, backend });
  const results = (Array.isArray(result) ? result : [result]).map(({ dataId, shape, dtype }) => ({
    shape,
    dtype: dtype as DType,
    data: (backend.readSync(dataId) as Float32Array).slice(),
  }));
  for (const { dataId } of infos) backend.disposeData(dataId, true);
  return results;
}

/** The number that as the second input changes nothing, for some kernels also as the first. */
const NEUTRAL: Record<string, number> = { Add: 0, Sub: 0, Multiply: 1, RealDiv: 1 };
const COMMUTING = new Set(['Add', 'Multiply']);

/** Kernels over more elements are not computed while tracing. */
const SMALL = 1 << 12;

const SPREADING = new Set(
  `Add Sub Multiply RealDiv Maximum Minimum Pow SquaredDifference FloorDiv Equal NotEqual Greater GreaterEqual Less LessEqual
  LogicalAnd LogicalOr Select`.split(/\s+/),
);

const ELEMENTWISE = new Set([
  ...SPREADING,
  ...'Abs Ceil Cos Erf Exp Floor Log Neg Reciprocal Round Rsqrt Sigmoid Sign Sin Sqrt Square Tanh LogicalNot Cast'.split(' '),
]);

/** Kernels that only move elements, so that a filled value stays filled. */
const PLACING = new Set('Reshape BroadcastTo Transpose Tile Slice StridedSlice Reverse'.split(' '));
