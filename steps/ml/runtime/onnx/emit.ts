/**
 * Emits a graph as an ONNX model. There are two dialects: `onnxruntime` may use its own ops (com.microsoft),
 * `standard` is pure ONNX.
 *
 * With free axes the graph comes with its twin, the same program traced with other sizes: a number that differs
 * between the two depends on free axes, and the model computes it from the shapes of its inputs.
 */

import { type FreeAxis, partsOf, productOf } from '../dynamic-axes.ts';
import { type Attributes, type DType, filling, type Graph, isNode, type Node, sameShape, sizeOf, type Value } from '../graph.ts';
import { elementType, type OnnxAttribute, type OnnxElementType, type OnnxNode, type OnnxTensor, writeOnnxModel } from '../protobuf.ts';
import type { Quantization } from '../quantization.ts';
import { quantizeOnnx } from './quantize.ts';

export interface EmitOptions {
  dialect: 'onnxruntime' | 'standard';
  /** Values of inputs that become constants of the model. */
  initializers?: Map<Value, Float32Array>;
  /** Leave the initializers out of the file, which then only has their names. */
  external?: boolean;
  /** The free axes of the model, and the twin of the graph. */
  free?: { twin: Graph; axes: FreeAxis[] } | undefined;
  /** How the weights are stored, which are the inputs with values. */
  quantize?: Quantization | undefined;
}

export function emitOnnx(graph: Graph, options: EmitOptions): Uint8Array {
  return new Emitter(graph, options).model();
}

const OPSET = 18;

/** A node that is being emitted. */
interface EmittedNode {
  node: Node;
  kernel: string;
  a: Attributes;
  /** Its first output. */
  output: Value;
  inputs(): string[];
  /** Adds the ONNX node whose outputs are the node's own; by default with the same inputs. */
  put(op: string, names?: string[], attributes?: Record<string, OnnxAttribute>): string[];
}

type KernelEmitter = (emitter: Emitter, emitted: EmittedNode) => string[];

const each = (kernels: string[], emit: KernelEmitter): Record<string, KernelEmitter> =>
  Object.fromEntries(kernels.map((kernel) => [kernel, emit]));

class Emitter {
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxTensor>();
  readonly #names = new Map<Value, string>();
  readonly #used = new Set<Value>();
  /** For each free axis the name of its length, one int64, computed in the model. */
  readonly #lengths = new Map<string, string>();
  readonly #products = new Map<string, string>();
  /** The twin of the node that is being emitted, and those of its inputs. */
  #twin!: Node;
  readonly #twins = new Map<Value, Value>();
  /** Attributes of Reshape: where axes may be empty, such as those of a cache, a size of 0 means 0; by default it means the input's. */
  readonly #literal: Record<string, OnnxAttribute>;
  #count = 0;

  constructor(
    private readonly graph: Graph,
    private readonly options: EmitOptions,
  ) {
    this.#literal = options.free?.axes.some(({ name }) => partsOf(name)) ? { allowzero: 1 } : {};
  }

  model(): Uint8Array {
    const { nodes, inputs, outputs } = this.graph;
    const { free, initializers, quantize, external } = this.options;
    const twin = free?.twin ?? this.graph;
    for (const value of [...outputs.values(), ...nodes.flatMap((node) => node.inputs)]) this.#used.add(value);
    const interfaces = { inputs: [] as any[], outputs: [] as any[] };
    for (const [name, value] of inputs) {
      const data = initializers?.get(value);
      this.#names.set(value, name);
      if (data) this.#initializers.set(name, { name, dtype: value.dtype, shape: value.shape, bytes: bytesOf(data), external });
      else interfaces.inputs.push(this.#input(name, value, twin.inputs.get(name)!));
    }
    // A computed value has the name of its output.
    for (const [name, value] of outputs) if (isNode(value.from) && !this.#names.has(value)) this.#names.set(value, name);
    for (const [i, node] of nodes.entries()) {
      this.#twin = twin.nodes[i]!;
      for (const [j, input] of node.inputs.entries()) this.#twins.set(input, this.#twin.inputs[j]!);
      this.#emit(node);
    }
    for (const [name, value] of outputs) {
      if (this.#names.get(value) !== name) this.#node('Identity', [this.#name(value)], {}, [name]);
      interfaces.outputs.push({ name, dtype: value.dtype, shape: this.#axes(value, twin.outputs.get(name)!) });
    }
    const initial = [...this.#initializers.values()];
    const model = { nodes: lastFirst(this.#nodes), initializers: initial, ...interfaces, opsets: this.#opsets() };
    if (!quantize) return writeOnnxModel(model);
    const weights = new Set([...inputs].filter(([, value]) => initializers?.has(value)).map(([name]) => name));
    return writeOnnxModel(quantizeOnnx(model, quantize, weights));
  }

  #opsets(): Record<string, number> {
    return this.options.dialect === 'standard' ? { '': OPSET } : { '': OPSET, [MICROSOFT]: 1 };
  }

  /** ONNX tools expect ids to be int64. */
  #input(name: string, value: Value, twin: Value) {
    const shape = this.#axes(value, twin);
    for (const [i, axis] of shape.entries()) {
      if (typeof axis === 'string' && !this.#lengths.has(axis)) {
        const whole = this.#node('Shape', [name])[0]!;
        this.#lengths.set(axis, this.#node('Slice', [whole, this.#ints([i]), this.#ints([i + 1])])[0]!);
      }
    }
    if (this.options.dialect !== 'standard' || value.dtype !== 'int32') return { name, dtype: value.dtype, shape };
    this.#names.set(value, this.#node('Cast', [name], { to: elementType('int32') })[0]!);
    return { name, dtype: 'int64', shape };
  }

  #axes(value: Value, twin: Value): (number | string)[] {
    return value.shape.map((n, i) => {
      if (n === twin.shape[i]) return n;
      const axis = this.options.free!.axes.find(({ size, twinSize }) => size === n && twinSize === twin.shape[i]);
      return axis?.name ?? `axis_${this.#count++}`;
    });
  }

  /** Writes a node; returns the names of its outputs. */
  #emit(node: Node): string[] {
    const { kernel, attributes: a } = node;
    const output = node.outputs[0]!;
    const inputs = () => node.inputs.map((value) => this.#name(value));
    const put = (op: string, names = inputs(), attributes: Record<string, OnnxAttribute> = {}): string[] =>
      this.#node(op, names, attributes, this.#outputs(node));
    const simple = SAME_OP[kernel];
    if (simple) return put(simple);

    const emit = Object.hasOwn(Emitter.#KERNELS, kernel) ? Emitter.#KERNELS[kernel]! : undefined;
    if (!emit) throw new Error(`The kernel ${kernel} cannot be emitted as ONNX yet: add it to the table in steps/ml/runtime/onnx/emit.ts.`);
    return emit(this, { node, kernel, a, output, inputs, put });
  }

  #gelu(node: Node): string[] {
    const x = this.#name(node.inputs[0]!);
    if (this.options.dialect === 'onnxruntime') return this.#node('Gelu', [x], {}, this.#outputs(node), MICROSOFT);
    const erf = this.#node('Erf', this.#node('Div', [x, this.#scalar(Math.SQRT2, 'float32')]));
    const twice = this.#node('Mul', [x, this.#node('Add', [erf[0]!, this.#scalar(1, 'float32')])[0]!]);
    return this.#node('Mul', [twice[0]!, this.#scalar(0.5, 'float32')], {}, this.#outputs(node));
  }

  #geluNew(node: Node): string[] {
    const x = this.#name(node.inputs[0]!);
    if (this.options.dialect === 'onnxruntime') return this.#node('FastGelu', [x], {}, this.#outputs(node), MICROSOFT);
    const constant = (value: number) => this.#scalar(value, 'float32');
    const cubic = this.#node('Mul', [this.#node('Mul', [x, x])[0]!, constant(0.044715)]);
    const inner = this.#node('Mul', [x, this.#node('Add', [cubic[0]!, constant(1)])[0]!]);
    const tanh = this.#node('Tanh', this.#node('Mul', [inner[0]!, constant(Math.sqrt(2 / Math.PI))]));
    const twice = this.#node('Mul', [x, this.#node('Add', [tanh[0]!, constant(1)])[0]!]);
    return this.#node('Mul', [twice[0]!, constant(0.5)], {}, this.#outputs(node));
  }

  #rotate(node: Node): string[] {
    const [x, cos, sin] = node.inputs.map((value) => this.#name(value)) as [string, string, string];
    const first = this.#ints([0]); // the first token's position
    if (this.options.dialect === 'onnxruntime')
      return this.#node('RotaryEmbedding', [x, first, cos, sin], {}, this.#outputs(node), MICROSOFT);
    const [a, b] = this.#node('Split', [x], { axis: -1, num_outputs: 2 }, this.#fresh(2)) as [string, string];
    const product = (left: string, right: string) => this.#node('Mul', [left, right])[0]!;
    const [left] = this.#node('Sub', [product(a, cos), product(b, sin)]);
    const [right] = this.#node('Add', [product(b, cos), product(a, sin)]);
    return this.#node('Concat', [left!, right!], { axis: -1 }, this.#outputs(node));
  }

  #product(node: Node): string[] {
    const [a, b, bias] = node.inputs as [Value, Value, Value?];
    const { transposeA, transposeB } = node.attributes as { transposeA: boolean; transposeB: boolean };
    const names = node.inputs.map((value) => this.#name(value));
    if (a.shape.length === 2 && b.shape.length === 2)
      return this.#node('Gemm', names, { transA: Number(transposeA), transB: Number(transposeB) }, this.#outputs(node));
    if (bias) throw new Error('A product with bias must be of two matrices.');
    if (!transposeA && !transposeB) return this.#node('MatMul', names, {}, this.#outputs(node));
    if (this.options.dialect === 'onnxruntime')
      return this.#node('FusedMatMul', names, { transA: Number(transposeA), transB: Number(transposeB) }, this.#outputs(node), MICROSOFT);
    const turned = (value: Value, turn: boolean) => {
      if (!turn) return this.#name(value);
      const axes = value.shape.map((_, i) => i);
      return this.#node('Transpose', [this.#name(value)], { perm: [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!] })[0]!;
    };
    return this.#node('MatMul', [turned(a, transposeA), turned(b, transposeB)], {}, this.#outputs(node));
  }

  /**
   * For activations; trace.ts separates those of weights. With repeated ids, ScatterND would lose updates on several threads; a
   * product with the one-hot rows of the ids cannot, nor can ScatterElements, for greater sizes.
   */
  #segmentSum(node: Node): string[] {
    const sizes = ({ inputs: [x, ids], outputs: [y] }: Node) => {
      const count = sizeOf(ids!.shape);
      return { count, segments: y!.shape[0]!, width: sizeOf(x!.shape) / count, shape: y!.shape };
    };
    const [{ count, segments, width, shape }, twin] = [sizes(node), sizes(this.#twin)];
    const [x, ids] = node.inputs.map((value) => this.#name(value));
    const rows = this.#reshape(x!, [count, width], [twin.count, twin.width]);
    const depth = this.#dimension(segments, twin.segments, 'int32');
    const flat = this.#dropNegative(this.#reshape(ids!, [count], [twin.count]), depth);
    let sums: string[];
    // With free axes the sizes are unknown. Activations have few gathered rows, so one-hot rows fit.
    if (this.options.free || count * segments <= ONE_HOT_LIMIT) {
      const values = this.#tensor([0, 1], [2], 'float32');
      const oneHot = this.#node('OneHot', [flat, depth, values], { axis: 0 }); // [segments, ids]
      sums = this.#node('MatMul', [oneHot[0]!, rows]);
    } else {
      // An additional row takes what belongs nowhere.
      const zeros = this.#node('Expand', [this.#scalar(0, 'float32'), this.#ints([segments + 1, width])]);
      const spread = this.#node('Expand', [this.#reshape(flat, [count, 1]), this.#ints([count, width])]);
      const scattered = this.#node('ScatterElements', [zeros[0]!, spread[0]!, rows], { axis: 0, reduction: 'add' });
      sums = this.#node('Slice', [scattered[0]!, this.#ints([0]), this.#ints([segments])]);
    }
    return this.#node('Reshape', [sums[0]!, this.#vector(shape, twin.shape)], this.#literal, this.#outputs(node));
  }

  /** Ids below 0 become `depth`, which is out of range: in ONNX −1 is the last one. */
  #dropNegative(ids: string, depth: string): string {
    const [negative] = this.#node('Less', [ids, this.#scalar(0, 'int32')]);
    return this.#node('Where', [negative!, depth, ids])[0]!;
  }

  #as(dtype: DType, values: Value[]): string[] {
    return values.map((value) =>
      value.dtype === dtype ? this.#name(value) : this.#node('Cast', [this.#name(value)], { to: elementType(dtype) })[0]!,
    );
  }

  #reshape(name: string, shape: number[], twin = shape): string {
    return this.#node('Reshape', [name, this.#vector(shape, twin)], this.#literal)[0]!;
  }

  #node(op: string, inputs: string[], attributes: Record<string, OnnxAttribute> = {}, outputs = this.#fresh(1), domain = ''): string[] {
    this.#nodes.push({ op, domain, inputs, outputs, attributes });
    return outputs;
  }

  #fresh(count: number): string[] {
    return Array.from({ length: count }, () => `v${this.#count++}`);
  }

  /** Names of a node's outputs; trailing ones that no node reads are left out. */
  #outputs(node: Node): string[] {
    const last = node.outputs.findLastIndex((value) => this.#used.has(value));
    return node.outputs.slice(0, last + 1).map((value) => this.#name(value));
  }

  #name(value: Value): string {
    let name = this.#names.get(value);
    if (name === undefined) {
      name = isNode(value.from) ? this.#fresh(1)[0]! : this.#constant(value);
      this.#names.set(value, name);
    }
    return name;
  }

  #constant(value: Value): string {
    const number = filling(value);
    if (number === undefined) return this.#tensor((value.from as { data: Float32Array }).data, value.shape, value.dtype);
    const scalar = this.#scalar(number, value.dtype);
    // Expanded where it is used, so that the file never contains megabytes of one number.
    const { shape } = this.#twins.get(value) ?? value;
    return value.shape.length === 0 ? scalar : this.#node('Expand', [scalar, this.#vector(value.shape, shape)])[0]!;
  }

  #scalar(value: number, dtype: OnnxElementType): string {
    return this.#tensor([value], [], dtype);
  }

  #ints(values: number[]): string {
    return this.#tensor(values, [values.length], 'int64');
  }

  #tensor(values: ArrayLike<number>, shape: number[], dtype: OnnxElementType): string {
    const key = values.length <= 8 ? `${dtype}[${shape}] ${Array.from(values)}` : `constant ${this.#count++}`;
    if (!this.#initializers.has(key)) this.#initializers.set(key, { name: key, dtype, shape, bytes: bytesOf(typed(values, dtype)) });
    return key;
  }

  #shape(attribute: string, node: Node): string {
    return this.#vector(node.attributes[attribute] as number[], this.#twin.attributes[attribute] as number[]);
  }

  /** A list of sizes, some of which may depend on free axes. */
  #vector(sizes: number[], twins: number[]): string {
    if (sameShape(sizes, twins)) return this.#ints(sizes);
    const parts = sizes.map((size, i) => (size === twins[i] ? this.#ints([size]) : this.#length(size, twins[i]!)));
    return this.#node('Concat', parts, { axis: 0 })[0]!;
  }

  #dimension(size: number, twin: number, dtype: 'int32' | 'int64'): string {
    if (size === twin) return this.#scalar(size, dtype);
    const scalar = this.#reshape(this.#length(size, twin), []);
    return dtype === 'int64' ? scalar : this.#node('Cast', [scalar], { to: elementType(dtype) })[0]!;
  }

  /** One int64: the product of free axes and possibly a factor, which is `size` here and `twin` in the twin. */
  #length(size: number, twin: number): string {
    const key = `${size} ${twin}`;
    const known = this.#products.get(key);
    if (known) return known;
    const { axes } = this.options.free!;
    const { factor, powers } = productOf(size, twin, axes);
    let name = this.#ints([factor]);
    for (const [i, axis] of axes.entries()) {
      for (let power = 0; power < powers[i]!; power++) name = this.#node('Mul', [name, this.#axisLength(axis.name)])[0]!;
    }
    this.#products.set(key, name);
    return name;
  }

  #axisLength(axis: string): string {
    const known = this.#lengths.get(axis);
    if (known) return known;
    const { first, sign, second } = partsOf(axis)!;
    const [length] = this.#node(sign === '+' ? 'Add' : 'Sub', [this.#axisLength(first), this.#axisLength(second)]) as [string];
    this.#lengths.set(axis, length);
    return length;
  }

  /** How each kernel that is not one ONNX op of the same inputs is written; each returns the names of the outputs. */
  static readonly #KERNELS: Record<string, KernelEmitter> = {
    Square: (emitter, { node, put }) => put('Mul', [emitter.#name(node.inputs[0]!), emitter.#name(node.inputs[0]!)]),
    Rsqrt: (emitter, { inputs, put }) => put('Reciprocal', emitter.#node('Sqrt', inputs())),
    Log1p: (emitter, { inputs, put }) => put('Log', emitter.#node('Add', [...inputs(), emitter.#scalar(1, 'float32')])),
    Step: (emitter, { a, output, inputs, put }) => {
      const positive = emitter.#node('Greater', [...inputs(), emitter.#scalar(0, output.dtype)]);
      const alpha = (a.alpha as number) ?? 0;
      return put('Where', [positive[0]!, emitter.#scalar(1, output.dtype), emitter.#scalar(alpha, output.dtype)]);
    },
    SquaredDifference: (emitter, { inputs, put }) => {
      const [difference] = emitter.#node('Sub', inputs());
      return put('Mul', [difference!, difference!]);
    },
    FloorDiv: (emitter, { node, output, put }) => {
      const quotient = emitter.#node('Div', emitter.#as('float32', node.inputs));
      const floored = emitter.#node('Floor', quotient);
      return put('Cast', floored, { to: elementType(output.dtype) });
    },
    NotEqual: (emitter, { inputs, put }) => put('Not', emitter.#node('Equal', inputs())),
    ClipByValue: (emitter, { a, output, inputs, put }) =>
      put('Clip', [
        ...inputs(),
        emitter.#scalar(a.clipValueMin as number, output.dtype),
        emitter.#scalar(a.clipValueMax as number, output.dtype),
      ]),
    Cast: (_, { output, inputs, put }) => put('Cast', inputs(), { to: elementType(output.dtype) }),
    Select: (emitter, { node, a, inputs, put }) => {
      const [condition, t, e] = inputs();
      if (!a.rows) return put('Where');
      const rows = ({ outputs }: Node) => outputs[0]!.shape.map((n, i) => (i === 0 ? n : 1));
      return put('Where', [emitter.#reshape(condition!, rows(node), rows(emitter.#twin)), t!, e!]);
    },
    Range: (emitter, { a, output, put }) => {
      const end = emitter.#dimension(a.stop as number, emitter.#twin.attributes.stop as number, 'int64');
      const range = emitter.#node('Range', [emitter.#scalar(a.start as number, 'int64'), end, emitter.#scalar(a.step as number, 'int64')]);
      return put('Cast', range, { to: elementType(output.dtype) });
    },
    Reshape: (emitter, { node, inputs, put }) => put('Reshape', [...inputs(), emitter.#shape('shape', node)], emitter.#literal),
    BroadcastTo: (emitter, { node, inputs, put }) => put('Expand', [...inputs(), emitter.#shape('shape', node)]),
    Transpose: (_, { a, inputs, put }) => put('Transpose', inputs(), { perm: a.perm as number[] }),
    Tile: (emitter, { node, inputs, put }) => put('Tile', [...inputs(), emitter.#shape('reps', node)]),
    Concat: (_, { a, inputs, put }) => put('Concat', inputs(), { axis: a.axis as number }),
    Pack: (emitter, { a, inputs, put }) => {
      const axis = emitter.#ints([a.axis as number]);
      const parts = inputs().map((name) => emitter.#node('Unsqueeze', [name, axis])[0]!);
      return put('Concat', parts, { axis: a.axis as number });
    },
    Unpack: (emitter, { node, a, inputs }) => {
      const parts = emitter.#node(
        'Split',
        inputs(),
        { axis: a.axis as number, num_outputs: node.outputs.length },
        emitter.#fresh(node.outputs.length),
      );
      const axis = emitter.#ints([a.axis as number]);
      return parts.flatMap((part, i) => emitter.#node('Squeeze', [part, axis], {}, [emitter.#name(node.outputs[i]!)]));
    },
    SplitV: (emitter, { node, a, inputs }) =>
      emitter.#node(
        'Split',
        [...inputs(), emitter.#shape('sizes', node)],
        { axis: a.axis as number },
        node.outputs.map((value) => emitter.#name(value)),
      ),
    Slice: (emitter, { node, inputs, put }) => {
      const ends = ({ attributes: { begin, size } }: Node) => (begin as number[]).map((from, i) => from + (size as number[])[i]!);
      return put('Slice', [...inputs(), emitter.#shape('begin', node), emitter.#vector(ends(node), ends(emitter.#twin))]);
    },
    StridedSlice: (emitter, { node, a, inputs, put }) => {
      const strides = a.strides as number[];
      const axes = emitter.#ints(strides.map((_, i) => i));
      // Reversed to before the first element: ONNX takes any number below −size for it.
      const ends = ({ attributes }: Node) => (attributes.end as number[]).map((n, i) => (strides[i]! < 0 && n < 0 ? -(2 ** 31) : n));
      const sliced = emitter.#node('Slice', [
        ...inputs(),
        emitter.#shape('begin', node),
        emitter.#vector(ends(node), ends(emitter.#twin)),
        axes,
        emitter.#ints(strides),
      ]);
      return put('Reshape', [sliced[0]!, emitter.#shape('shape', node)], emitter.#literal);
    },
    PadV2: (emitter, { node, a, output, inputs, put }) => {
      const pads = ({ attributes }: Node) => [0, 1].flatMap((side) => (attributes.paddings as number[][]).map((pair) => pair[side]!));
      return put('Pad', [
        ...inputs(),
        emitter.#vector(pads(node), pads(emitter.#twin)),
        emitter.#scalar(a.constantValue as number, output.dtype),
      ]);
    },
    Reverse: (emitter, { a, inputs, put }) => {
      const axes = a.axes as number[];
      const every = (n: number) => emitter.#ints(axes.map(() => n));
      return put('Slice', [...inputs(), every(-1), every(-(2 ** 31)), emitter.#ints(axes), every(-1)]);
    },
    GatherV2: (_, { a, inputs, put }) => put('Gather', inputs(), { axis: a.axis as number }),
    UnsortedSegmentSum: (emitter, { node }) => emitter.#segmentSum(node),
    OneHot: (emitter, { a, output, inputs, put }) => {
      const depth = emitter.#dimension(a.depth as number, emitter.#twin.attributes.depth as number, 'int32');
      const values = emitter.#tensor([a.offValue as number, a.onValue as number], [2], 'float32');
      const names = [emitter.#dropNegative(inputs()[0]!, depth), depth, values];
      // onnxruntime supports it only for these types.
      if (output.dtype === 'float32') return put('OneHot', names, { axis: -1 });
      return put('Cast', emitter.#node('OneHot', names, { axis: -1 }), { to: elementType(output.dtype) });
    },
    ...each(['Sum', 'Mean', 'Max', 'Min', 'Prod'], (emitter, { kernel, a, inputs, put }) =>
      put(`Reduce${kernel}`, [...inputs(), emitter.#ints(a.axes as number[])], { keepdims: Number(a.keepDims) }),
    ),
    ...each(['All', 'Any'], (emitter, { node, kernel, a, put }) => {
      const op = kernel === 'All' ? 'ReduceMin' : 'ReduceMax';
      const reduced = emitter.#node(op, [...emitter.#as('int32', node.inputs), emitter.#ints(a.axes as number[])], {
        keepdims: Number(a.keepDims),
      });
      return put('Cast', reduced, { to: elementType('bool') });
    }),
    ArgMax: (emitter, { a, inputs, put }) =>
      put('Cast', emitter.#node('ArgMax', inputs(), { axis: a.axis as number, keepdims: 0 }), { to: elementType('int32') }),
    Cumsum: (emitter, { a, inputs, put }) =>
      put('CumSum', [...inputs(), emitter.#scalar(a.axis as number, 'int32')], {
        exclusive: Number(a.exclusive),
        reverse: Number(a.reverse),
      }),
    ...each(['Softmax', 'LogSoftmax'], (_, { kernel, inputs, put }) => put(kernel, inputs(), { axis: -1 })),
    LogSumExp: (emitter, { inputs, put }) => put('ReduceLogSumExp', [...inputs(), emitter.#ints([-1])], { keepdims: 1 }),
    LayerNorm: (_, { a, inputs, put }) => put('LayerNormalization', inputs(), { axis: -1, epsilon: { float: a.epsilon as number } }),
    Rotate: (emitter, { node }) => emitter.#rotate(node),
    Gelu: (emitter, { node }) => emitter.#gelu(node),
    GeluNew: (emitter, { node }) => emitter.#geluNew(node),
    ...each(['BatchMatMul', '_FusedMatMul'], (emitter, { node }) => emitter.#product(node)),
  };
}

/**
 * Orders the outputs. onnxruntime schedules a graph backwards from its leaves, the nodes that no other reads, and
 * begins with the last leaf in the file. The leaves of a training are the gradients of weights. Those that can be
 * computed first are put last: otherwise the gradients of the first layer are computed first, and every activation
 * and its gradient stay in memory until the backward pass has reached it.
 */
function lastFirst(nodes: readonly OnnxNode[]): OnnxNode[] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  const isLeaf = ({ outputs }: OnnxNode) => !outputs.some((output) => read.has(output));
  return [...nodes.filter((node) => !isLeaf(node)), ...nodes.filter(isLeaf).reverse()];
}

const MICROSOFT = 'com.microsoft';

/** Up to this number of elements a segment sum uses one-hot rows. */
const ONE_HOT_LIMIT = 1 << 24;

/** Kernels that correspond to one ONNX op with the same inputs. */
const SAME_OP: Record<string, string> = {
  ...Object.fromEntries(
    'Abs Add Ceil Cos Equal Erf Exp Floor Greater Less Log Neg Pow Reciprocal Relu Round Sigmoid Sign Sin Softplus Sqrt Sub Tanh'
      .split(' ')
      .map((name) => [name, name]),
  ),
  Multiply: 'Mul',
  RealDiv: 'Div',
  Maximum: 'Max',
  Minimum: 'Min',
  GreaterEqual: 'GreaterOrEqual',
  LessEqual: 'LessOrEqual',
  LogicalAnd: 'And',
  LogicalOr: 'Or',
  LogicalNot: 'Not',
};

function typed(values: ArrayLike<number>, dtype: OnnxElementType) {
  if (dtype === 'float32') return Float32Array.from(values);
  if (dtype === 'int32') return Int32Array.from(values);
  return dtype === 'bool' ? Uint8Array.from(values) : BigInt64Array.from(Array.from(values, BigInt));
}

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
