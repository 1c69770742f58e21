/**
 * Emits a graph as nodes of a TensorFlow GraphDef. Several graphs are combined into one and share its variables, so
 * names are fresh, and the caller decides what feeds an input. Sizes that depend on free axes are computed in the
 * graph, from those of its inputs.
 */

import { type Free, productOf } from '../dynamic-axes.ts';
import { type Attributes, type DType, type Graph, isNode, type Node, sameShape, sizeOf, type Value } from '../graph.ts';
import { type TensorflowAttribute, type TensorflowElementType, type TensorflowNode, writeSavedModel } from '../protobuf.ts';
import type { Precision } from '../runtime.ts';

export class GraphBuilder {
  readonly #nodes: TensorflowNode[] = [];
  readonly #constants = new Map<string, string>();

  /** Adds a node; returns its name, which is that of its first output. */
  node(op: string, inputs: string[], attributes: Record<string, TensorflowAttribute> = {}, name = `n${this.#nodes.length}`): string {
    this.#nodes.push({ name, op, inputs, attributes });
    return name;
  }

  /** A node with the type attribute T of its inputs, as most of TensorFlow's ops have it. */
  op(op: string, inputs: string[], dtype: TensorflowElementType = 'float32', name?: string): string {
    return this.node(op, inputs, { T: { type: dtype } }, name);
  }

  placeholder(name: string, dtype: DType, shape: number[] | undefined): string {
    return this.node('Placeholder', [], { dtype: { type: dtype }, shape: { shape } }, name);
  }

  constant(values: ArrayLike<number>, shape: number[], dtype: DType): string {
    const key = values.length <= 8 ? `${dtype}[${shape}] ${Array.from(values, (x) => (Object.is(x, -0) ? '-0' : x))}` : undefined;
    const known = key === undefined ? undefined : this.#constants.get(key);
    if (known) return known;
    const tensor = { dtype, shape, bytes: bytesOf(values, dtype) };
    const name = this.node('Const', [], { dtype: { type: dtype }, value: { tensor } });
    if (key !== undefined) this.#constants.set(key, name);
    return name;
  }

  scalar(value: number, dtype: DType = 'float32'): string {
    return this.constant([value], [], dtype);
  }

  ints(values: number[]): string {
    return this.constant(values, [values.length], 'int32');
  }

  savedModel(): Uint8Array {
    return writeSavedModel(this.#nodes);
  }
}

/** A node that is being emitted. */
interface EmittedNode {
  node: Node;
  kernel: string;
  a: Attributes;
  b: GraphBuilder;
  /** Its first output. */
  output: Value;
  inputs: string[];
  /** The shape of the first output, as a list. */
  shape(): string;
  /** The first input, with its type. */
  x: string;
  dtype: DType;
  T: { type: DType };
  int32: { type: 'int32' };
}

type KernelEmitter = (emitter: GraphEmitter, emitted: EmittedNode) => string[];

const each = (kernels: string[], emit: KernelEmitter): Record<string, KernelEmitter> =>
  Object.fromEntries(kernels.map((kernel) => [kernel, emit]));

/** Emits one graph, in which a value is identified by the name of its node. */
export class GraphEmitter {
  readonly #twin: Graph;
  readonly #names = new Map<Value, string>();
  readonly #twins = new Map<Value, Value>();
  /** For each free axis its length, an int32. */
  readonly #lengths = new Map<string, string>();
  /** The twin of the node that is being written. */
  #twinNode!: Node;

  constructor(
    private readonly builder: GraphBuilder,
    private readonly graph: Graph,
    private readonly free: Free | undefined,
    private readonly precision: Precision,
  ) {
    this.#twin = free?.twin ?? graph;
    for (const [name, value] of graph.inputs) this.#twins.set(value, this.#twin.inputs.get(name)!);
    for (const [name, value] of graph.outputs) this.#twins.set(value, this.#twin.outputs.get(name)!);
  }

  /** A node that feeds one of the graph's inputs. */
  placeholder(name: string, value: Value): string {
    const twin = this.#twins.get(value)!;
    const node = this.builder.placeholder(
      name,
      value.dtype,
      value.shape.map((size, i) => (size === twin.shape[i] ? size : -1)),
    );
    for (const [i, size] of value.shape.entries()) {
      const axis = this.free?.axes.find((axis) => axis.size === size && axis.twinSize === twin.shape[i]);
      if (axis && !this.#lengths.has(axis.name)) this.#lengths.set(axis.name, this.#sizeOfAxis(node, value.dtype, i));
    }
    this.#names.set(value, node);
    return node;
  }

  /** Sets the node that computes one of the graph's inputs. */
  given(value: Value, node: string): void {
    this.#names.set(value, node);
  }

  emit(): void {
    for (const [i, node] of this.graph.nodes.entries()) {
      this.#twinNode = this.#twin.nodes[i]!;
      for (const [j, input] of node.inputs.entries()) this.#twins.set(input, this.#twinNode.inputs[j]!);
      const outputs = this.#outputs(node);
      for (const [j, value] of node.outputs.entries()) {
        this.#names.set(value, outputs[j]!);
        this.#twins.set(value, this.#twinNode.outputs[j]!);
      }
    }
  }

  /** The node of a value; that of a constant is written where it is first read. */
  name(value: Value): string {
    const name = this.#names.get(value) ?? this.#constant(value);
    this.#names.set(value, name);
    return name;
  }

  /** The shape of a value, as a list. */
  shape(value: Value): string {
    return this.#vector(value.shape, (this.#twins.get(value) ?? value).shape);
  }

  /** The number of elements of a value, as a list of one. */
  size(value: Value): string {
    return this.#vector([sizeOf(value.shape)], [sizeOf((this.#twins.get(value) ?? value).shape)]);
  }

  #sizeOfAxis(node: string, dtype: DType, axis: number): string {
    const b = this.builder;
    const shape = b.node('Shape', [node], { T: { type: dtype }, out_type: { type: 'int32' } });
    return b.node('GatherV2', [shape, b.scalar(axis, 'int32'), b.scalar(0, 'int32')], GATHERED('int32'));
  }

  #constant(value: Value): string {
    const { from, shape, dtype } = value;
    if (typeof from !== 'object' || isNode(from)) throw new Error('A value of the graph is read before it is computed.');
    if (typeof from.data !== 'number') return this.builder.constant(from.data, shape, dtype);
    return this.#filled(from.data, shape, (this.#twins.get(value) ?? value).shape, dtype);
  }

  /** Filled where it is used, so that the file never contains megabytes of one number. */
  #filled(value: number, shape: number[], twin: number[], dtype: DType): string {
    const scalar = this.builder.scalar(value, dtype);
    if (shape.length === 0) return scalar;
    return this.builder.node('Fill', [this.#vector(shape, twin), scalar], { T: { type: dtype }, index_type: { type: 'int32' } });
  }

  /** A list of sizes, some of which may depend on free axes. */
  #vector(sizes: number[], twins: number[]): string {
    const b = this.builder;
    if (sameShape(sizes, twins)) return b.ints(sizes);
    const parts = sizes.map((size, i) => this.#number(size, twins[i]!));
    return b.node('Pack', parts, { N: { int: parts.length }, T: { type: 'int32' }, axis: { int: 0 } });
  }

  /** One int32: a size that may depend on free axes. */
  #number(size: number, twin: number): string {
    const b = this.builder;
    if (size === twin) return b.scalar(size, 'int32');
    const { axes } = this.free!;
    const { factor, powers } = productOf(size, twin, axes);
    let product = b.scalar(factor, 'int32');
    for (const [i, { name }] of axes.entries()) {
      for (let power = 0; power < powers[i]!; power++) product = b.op('Mul', [product, this.#lengths.get(name)!], 'int32');
    }
    return product;
  }

  /** A list among the node's attributes. */
  #sizes(attribute: string, { attributes }: Node): string {
    return this.#vector(attributes[attribute] as number[], this.#twinNode.attributes[attribute] as number[]);
  }

  /** The names of all the node's outputs. */
  #outputs(node: Node): string[] {
    const { kernel, attributes: a } = node;
    const b = this.builder;
    const output = node.outputs[0]!;
    const inputs = node.inputs.map((value) => this.name(value));
    const shape = () => this.#vector(output.shape, this.#twinNode.outputs[0]!.shape);
    const [x] = inputs as [string];
    const dtype = node.inputs[0]?.dtype ?? output.dtype;
    const simple = SAME_OP[kernel];
    if (simple) return [LOGICAL.has(simple) ? b.node(simple, inputs) : b.op(simple, inputs, dtype)];

    const emit = Object.hasOwn(GraphEmitter.#KERNELS, kernel) ? GraphEmitter.#KERNELS[kernel]! : undefined;
    if (!emit)
      throw new Error(
        `The kernel ${kernel} cannot be emitted for TensorFlow yet: add it to the table in steps/ml/runtime/tensorflow/emit.ts.`,
      );
    return emit(this, { node, kernel, a, b, output, inputs, shape, x, dtype, T: { type: dtype }, int32: { type: 'int32' } });
  }

  #layerNorm({ inputs: [value], attributes }: Node, [x, gamma, beta]: [string, string, string]): string[] {
    const b = this.builder;
    const mean = (of: string) =>
      b.node('Mean', [of, b.ints([value!.shape.length - 1])], {
        T: { type: 'float32' },
        Tidx: { type: 'int32' },
        keep_dims: { bool: true },
      });
    const center = mean(x);
    const centered = b.op('Sub', [x, center]);
    const variance = mean(b.op('Square', [centered]));
    const inverse = b.op('Rsqrt', [b.op('AddV2', [variance, b.scalar(attributes.epsilon as number)])]);
    const y = b.op('AddV2', [b.op('Mul', [b.op('Mul', [centered, inverse]), gamma]), beta]);
    return [y, center, inverse];
  }

  #product({ inputs: [a, b], attributes, outputs: [y] }: Node, [left, right, bias]: string[]): string {
    const builder = this.builder;
    const turn = { a: { bool: Boolean(attributes.transposeA) }, b: { bool: Boolean(attributes.transposeB) } };
    // A product with one column is a sum, for example of norms: those stay exact.
    const narrow = this.precision === 'bf16' && y!.shape.at(-1)! > 1;
    const dtype: TensorflowElementType = narrow ? 'bfloat16' : 'float32';
    const inputs = [left!, right!].map((name) => (narrow ? this.#cast(name, 'float32', dtype) : name));
    const plain = a!.shape.length === 2 && b!.shape.length === 2;
    const product = plain
      ? builder.node('MatMul', inputs, { T: { type: dtype }, transpose_a: turn.a, transpose_b: turn.b })
      : builder.node('BatchMatMulV2', inputs, { T: { type: dtype }, adj_x: turn.a, adj_y: turn.b });
    const exact = narrow ? this.#cast(product, dtype, 'float32') : product;
    return bias === undefined ? exact : builder.op('BiasAdd', [exact, bias]);
  }

  #select(condition: string, t: string, e: string, dtype: DType): string {
    return this.builder.op('SelectV2', [condition, t, e], dtype);
  }

  #reshape(x: string, shape: string, dtype: DType): string {
    return this.builder.node('Reshape', [x, shape], { T: { type: dtype }, Tshape: { type: 'int32' } });
  }

  #cast(x: string, from: TensorflowElementType, to: TensorflowElementType): string {
    return from === to ? x : this.builder.node('Cast', [x], { SrcT: { type: from }, DstT: { type: to } });
  }

  #several(name: string, count: number): string[] {
    return Array.from({ length: count }, (_, i) => (i === 0 ? name : `${name}:${i}`));
  }

  /** How each kernel that is not one op of the same inputs is written; each returns the names of the outputs. */
  static readonly #KERNELS: Record<string, KernelEmitter> = {
    Step: (emitter, { a, b, x, dtype }) => {
      const positive = b.op('Greater', [x, b.scalar(0, dtype)], dtype);
      return [emitter.#select(positive, b.scalar(1, dtype), b.scalar((a.alpha as number) ?? 0, dtype), dtype)];
    },
    ClipByValue: (_, { a, b, x, dtype }) => [
      b.op('ClipByValue', [x, b.scalar(a.clipValueMin as number, dtype), b.scalar(a.clipValueMax as number, dtype)], dtype),
    ],
    Cast: (emitter, { output, x, dtype }) => [emitter.#cast(x, dtype, output.dtype)],
    Select: (emitter, { node, a, output, inputs }) => {
      const [condition, t, e] = inputs as [string, string, string];
      const rows = ({ outputs }: Node) => outputs[0]!.shape.map((n, i) => (i === 0 ? n : 1));
      const whole = a.rows ? emitter.#reshape(condition, emitter.#vector(rows(node), rows(emitter.#twinNode)), 'bool') : condition;
      return [emitter.#select(whole, t, e, output.dtype)];
    },
    Range: (emitter, { a, b, output }) => {
      const stop = emitter.#number(a.stop as number, emitter.#twinNode.attributes.stop as number);
      const type = { type: output.dtype };
      const ends = [b.scalar(a.start as number, output.dtype), emitter.#cast(stop, 'int32', output.dtype)];
      return [b.node('Range', [...ends, b.scalar(a.step as number, output.dtype)], { Tidx: type })];
    },
    Reshape: (emitter, { shape, x, dtype }) => [emitter.#reshape(x, shape(), dtype)],
    BroadcastTo: (_, { b, shape, x, T, int32 }) => [b.node('BroadcastTo', [x, shape()], { T, Tidx: int32 })],
    Transpose: (_, { a, b, x, T, int32 }) => [b.node('Transpose', [x, b.ints(a.perm as number[])], { T, Tperm: int32 })],
    Tile: (emitter, { node, b, x, T, int32 }) => [b.node('Tile', [x, emitter.#sizes('reps', node)], { T, Tmultiples: int32 })],
    Concat: (_, { a, b, inputs, T, int32 }) => [
      b.node('ConcatV2', [...inputs, b.scalar(a.axis as number, 'int32')], { N: { int: inputs.length }, T, Tidx: int32 }),
    ],
    Pack: (_, { a, b, inputs, T }) => [b.node('Pack', inputs, { N: { int: inputs.length }, T, axis: { int: a.axis as number } })],
    Unpack: (emitter, { node, a, b, inputs, T }) =>
      emitter.#several(
        b.node('Unpack', inputs, { num: { int: node.outputs.length }, T, axis: { int: a.axis as number } }),
        node.outputs.length,
      ),
    SplitV: (emitter, { node, a, b, x, T, int32 }) => {
      const sizes = emitter.#sizes('sizes', node);
      const split = b.node('SplitV', [x, sizes, b.scalar(a.axis as number, 'int32')], {
        num_split: { int: node.outputs.length },
        T,
        Tlen: int32,
      });
      return emitter.#several(split, node.outputs.length);
    },
    Slice: (emitter, { node, b, x, T, int32 }) => [
      b.node('Slice', [x, emitter.#sizes('begin', node), emitter.#sizes('size', node)], { T, Index: int32 }),
    ],
    StridedSlice: (emitter, { node, a, b, shape, x, dtype, T, int32 }) => {
      const [end, strides] = [a.end, a.strides] as [number[], number[]];
      // Reversed to before the first element: −1 would be the last.
      const whole = end.reduce((mask, n, i) => (strides[i]! < 0 && n < 0 ? mask | (1 << i) : mask), 0);
      const none = { int: 0 };
      const sliced = b.node('StridedSlice', [x, emitter.#sizes('begin', node), emitter.#sizes('end', node), b.ints(strides)], {
        T,
        Index: int32,
        begin_mask: none,
        end_mask: { int: whole },
        ellipsis_mask: none,
        new_axis_mask: none,
        shrink_axis_mask: none,
      });
      return [emitter.#reshape(sliced, shape(), dtype)];
    },
    PadV2: (emitter, { node, a, b, output, x, dtype, T, int32 }) => {
      const flat = ({ attributes }: Node) => (attributes.paddings as number[][]).flat();
      const pairs = emitter.#reshape(emitter.#vector(flat(node), flat(emitter.#twinNode)), b.ints([output.shape.length, 2]), 'int32');
      return [b.node('PadV2', [x, pairs, b.scalar(a.constantValue as number, dtype)], { T, Tpaddings: int32 })];
    },
    Reverse: (_, { a, b, x, T, int32 }) => [b.node('ReverseV2', [x, b.ints(a.axes as number[])], { T, Tidx: int32 })],
    GatherV2: (_, { a, b, inputs, dtype }) => [b.node('GatherV2', [...inputs, b.scalar(a.axis as number, 'int32')], GATHERED(dtype))],
    UnsortedSegmentSum: (emitter, { b, output, inputs }) => [
      segmentSum(b, inputs[0]!, inputs[1]!, emitter.#number(output.shape[0]!, emitter.#twinNode.outputs[0]!.shape[0]!)),
    ],
    OneHot: (emitter, { a, b, output, x, int32 }) => {
      const depth = emitter.#number(a.depth as number, emitter.#twinNode.attributes.depth as number);
      const values = [depth, b.scalar(a.onValue as number, output.dtype)];
      return [
        b.node('OneHot', [x, ...values, b.scalar(a.offValue as number, output.dtype)], {
          T: { type: output.dtype },
          TI: int32,
          axis: { int: -1 },
        }),
      ];
    },
    ...each(['Sum', 'Max', 'Min', 'Prod', 'Mean'], (emitter, { kernel, a, b, x, dtype, int32 }) => {
      const given = kernel === 'Mean' ? emitter.#cast(x, dtype, 'float32') : x;
      const type = { type: kernel === 'Mean' ? ('float32' as const) : dtype };
      return [b.node(kernel, [given, b.ints(a.axes as number[])], { T: type, Tidx: int32, keep_dims: { bool: Boolean(a.keepDims) } })];
    }),
    ...each(['All', 'Any'], (emitter, { kernel, a, b, x, dtype, int32 }) => [
      b.node(kernel, [emitter.#cast(x, dtype, 'bool'), b.ints(a.axes as number[])], {
        Tidx: int32,
        keep_dims: { bool: Boolean(a.keepDims) },
      }),
    ]),
    ArgMax: (_, { a, b, x, T, int32 }) => [
      b.node('ArgMax', [x, b.scalar(a.axis as number, 'int32')], { T, Tidx: int32, output_type: int32 }),
    ],
    Cumsum: (_, { a, b, x, T, int32 }) => [
      b.node('Cumsum', [x, b.scalar(a.axis as number, 'int32')], {
        T,
        Tidx: int32,
        exclusive: { bool: Boolean(a.exclusive) },
        reverse: { bool: Boolean(a.reverse) },
      }),
    ],
    LayerNorm: (emitter, { node, inputs }) => emitter.#layerNorm(node, inputs as [string, string, string]),
    LogSumExp: (_, { node, b, x, T, int32 }) => {
      const along = (op: string, of: string) =>
        b.node(op, [of, b.ints([node.inputs[0]!.shape.length - 1])], { T, Tidx: int32, keep_dims: { bool: true } });
      const highest = along('Max', x);
      const sum = along('Sum', b.op('Exp', [b.op('Sub', [x, highest])]));
      return [b.op('AddV2', [b.op('Log', [sum]), highest])];
    },
    Rotate: (_, { node, b, inputs, T, int32 }) => {
      const [x, cos, sin] = inputs as [string, string, string];
      const axis = b.scalar(node.inputs[0]!.shape.length - 1, 'int32');
      const left = b.node('Split', [axis, x], { num_split: { int: 2 }, T });
      const right = `${left}:1`;
      const first = b.op('Sub', [b.op('Mul', [left, cos]), b.op('Mul', [right, sin])]);
      const second = b.op('AddV2', [b.op('Mul', [right, cos]), b.op('Mul', [left, sin])]);
      return [b.node('ConcatV2', [first, second, axis], { N: { int: 2 }, T, Tidx: int32 })];
    },
    Gelu: (_, { b, x }) => {
      const phi = b.op('Mul', [b.op('AddV2', [b.op('Erf', [b.op('Mul', [x, b.scalar(Math.SQRT1_2)])]), b.scalar(1)]), b.scalar(0.5)]);
      return [b.op('Mul', [x, phi])];
    },
    GeluNew: (_, { b, x }) => {
      const inner = b.op('Mul', [x, b.op('AddV2', [b.op('Mul', [b.op('Square', [x]), b.scalar(0.044715)]), b.scalar(1)])]);
      const tanh = b.op('Tanh', [b.op('Mul', [inner, b.scalar(Math.sqrt(2 / Math.PI))])]);
      return [b.op('Mul', [b.op('Mul', [x, b.op('AddV2', [tanh, b.scalar(1)])]), b.scalar(0.5)])];
    },
    ...each(['BatchMatMul', '_FusedMatMul'], (emitter, { node, inputs }) => [emitter.#product(node, inputs)]),
  };
}

/** Sums the rows of x by their ids, which may repeat: [segments, width]. A negative id belongs to no segment. */
export function segmentSum(builder: GraphBuilder, x: string, ids: string, segments: string): string {
  return builder.node('UnsortedSegmentSum', [x, ids, segments], {
    T: { type: 'float32' },
    Tindices: { type: 'int32' },
    Tnumsegments: { type: 'int32' },
  });
}

const GATHERED = (dtype: DType): Record<string, TensorflowAttribute> => ({
  Tparams: { type: dtype },
  Tindices: { type: 'int32' },
  Taxis: { type: 'int32' },
  batch_dims: { int: 0 },
});

const LOGICAL = new Set(['LogicalAnd', 'LogicalNot', 'LogicalOr']);

/** Kernels that correspond to one op with the same inputs, typed by the first. */
const SAME_OP: Record<string, string> = {
  ...Object.fromEntries(
    `Abs Ceil Cos Equal Erf Exp Floor FloorDiv Greater GreaterEqual Less LessEqual Log Log1p LogicalAnd LogicalNot LogicalOr LogSoftmax
    Maximum Minimum Neg NotEqual Pow RealDiv Reciprocal Relu Round Rsqrt Sigmoid Sign Sin Softmax Softplus Sqrt Square SquaredDifference
    Sub Tanh`
      .split(/\s+/)
      .map((name) => [name, name]),
  ),
  Add: 'AddV2',
  Multiply: 'Mul',
};

function bytesOf(values: ArrayLike<number>, dtype: DType): Uint8Array {
  const Data = dtype === 'float32' ? Float32Array : dtype === 'int32' ? Int32Array : Uint8Array;
  const data = Data.from(values);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
