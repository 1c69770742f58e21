/**
 * A graph as nodes of a TensorFlow GraphDef. Several graphs go into one, and share its variables; so names are fresh, and what feeds
 * an input is the caller's to say.
 */
import { type DType, type Graph, isNode, type Node, type Value } from '../graph.ts';
import type { Precision } from '../runtime.ts';
import { type AttributeValue, type ElementType, type NodeContent, writeSavedModel } from './proto.ts';

export class GraphBuilder {
  readonly #nodes: NodeContent[] = [];
  readonly #constants = new Map<string, string>();

  /** Adds a node; returns its name, which is that of its first output. */
  node(op: string, inputs: string[], attributes: Record<string, AttributeValue> = {}, name = `n${this.#nodes.length}`): string {
    this.#nodes.push({ name, op, inputs, attributes });
    return name;
  }

  /** A node that says T of its inputs as most of TensorFlow's ops do. */
  op(op: string, inputs: string[], dtype: ElementType = 'float32', name?: string): string {
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

  /** Adds a graph; returns the names of its outputs. `inputs` are names of nodes. */
  graph(graph: Graph, inputs: ReadonlyMap<Value, string>, precision: Precision): Map<Value, string> {
    const names = new Map(inputs);
    for (const node of graph.nodes) new Emitter(this, names, precision).emit(node);
    return new Map([...graph.outputs.values()].map((value) => [value, nameOf(this, names, value)]));
  }

  savedModel(): Uint8Array {
    return writeSavedModel(this.#nodes);
  }
}

/** A constant is written where it is first read. */
function nameOf(builder: GraphBuilder, names: Map<Value, string>, value: Value): string {
  let name = names.get(value);
  if (name === undefined) {
    name = constant(builder, value);
    names.set(value, name);
  }
  return name;
}

function constant(builder: GraphBuilder, { from, shape, dtype }: Value): string {
  if (typeof from !== 'object' || isNode(from)) throw new Error('A value of the graph is read before it is computed.');
  if (typeof from.data !== 'number') return builder.constant(from.data, shape, dtype);
  const scalar = builder.scalar(from.data, dtype);
  // Filled where it is used: never megabytes of one number in the file.
  return shape.length === 0
    ? scalar
    : builder.node('Fill', [builder.ints(shape), scalar], { T: { type: dtype }, index_type: { type: 'int32' } });
}

/** Emits one node. */
class Emitter {
  readonly #builder: GraphBuilder;
  readonly #names: Map<Value, string>;
  readonly #precision: Precision;

  constructor(builder: GraphBuilder, names: Map<Value, string>, precision: Precision) {
    this.#builder = builder;
    this.#names = names;
    this.#precision = precision;
  }

  emit(node: Node): void {
    const outputs = this.#outputs(node);
    for (const [i, value] of node.outputs.entries()) this.#names.set(value, outputs[i]!);
  }

  /** The names of all the node's outputs. */
  #outputs(node: Node): string[] {
    const { kernel, attributes: a } = node;
    const b = this.#builder;
    const output = node.outputs[0]!;
    const inputs = node.inputs.map((value) => nameOf(b, this.#names, value));
    const [x] = inputs as [string];
    const dtype = node.inputs[0]?.dtype ?? output.dtype;
    const T = { type: dtype };
    const int32 = { type: 'int32' as const };
    const simple = SAME_OP[kernel];
    if (simple) return [LOGICAL.has(simple) ? b.node(simple, inputs) : b.op(simple, inputs, dtype)];

    switch (kernel) {
      case 'Step': {
        const positive = b.op('Greater', [x, b.scalar(0, dtype)], dtype);
        return [this.#select(positive, this.#fill(1, output), this.#fill((a.alpha as number) ?? 0, output), dtype)];
      }
      case 'ClipByValue':
        return [b.op('ClipByValue', [x, b.scalar(a.clipValueMin as number, dtype), b.scalar(a.clipValueMax as number, dtype)], dtype)];
      case 'Cast':
        return [this.#cast(x, dtype, output.dtype)];
      case 'Select': {
        const [condition, t, e] = inputs as [string, string, string];
        const rows = output.shape.map((n, i) => (i === 0 ? n : 1));
        return [this.#select(a.rows ? this.#reshape(condition, rows, 'bool') : condition, t, e, output.dtype)];
      }
      case 'Range':
        return [
          b.constant(
            Array.from({ length: output.shape[0]! }, (_, i) => (a.start as number) + i * (a.step as number)),
            output.shape,
            output.dtype,
          ),
        ];
      case 'Reshape':
        return [this.#reshape(x, output.shape, dtype)];
      case 'BroadcastTo':
        return [b.node('BroadcastTo', [x, b.ints(output.shape)], { T, Tidx: int32 })];
      case 'Transpose':
        return [b.node('Transpose', [x, b.ints(a.perm as number[])], { T, Tperm: int32 })];
      case 'Tile':
        return [b.node('Tile', [x, b.ints(a.reps as number[])], { T, Tmultiples: int32 })];
      case 'Concat':
        return [b.node('ConcatV2', [...inputs, b.scalar(a.axis as number, 'int32')], { N: { int: inputs.length }, T, Tidx: int32 })];
      case 'Pack':
        return [b.node('Pack', inputs, { N: { int: inputs.length }, T, axis: { int: a.axis as number } })];
      case 'Unpack':
        return this.#several(
          b.node('Unpack', inputs, { num: { int: node.outputs.length }, T, axis: { int: a.axis as number } }),
          node.outputs.length,
        );
      case 'SplitV': {
        const sizes = b.ints(a.sizes as number[]);
        const split = b.node('SplitV', [x, sizes, b.scalar(a.axis as number, 'int32')], {
          num_split: { int: node.outputs.length },
          T,
          Tlen: int32,
        });
        return this.#several(split, node.outputs.length);
      }
      case 'Slice':
        return [b.node('Slice', [x, b.ints(a.begin as number[]), b.ints(a.size as number[])], { T, Index: int32 })];
      case 'StridedSlice': {
        const [begin, end, strides] = [a.begin, a.end, a.strides] as [number[], number[], number[]];
        // Backwards to before the first element: −1 would be the last.
        const whole = end.reduce((mask, n, i) => (strides[i]! < 0 && n < 0 ? mask | (1 << i) : mask), 0);
        const none = { int: 0 };
        const sliced = b.node('StridedSlice', [x, b.ints(begin), b.ints(end), b.ints(strides)], {
          T,
          Index: int32,
          begin_mask: none,
          end_mask: { int: whole },
          ellipsis_mask: none,
          new_axis_mask: none,
          shrink_axis_mask: none,
        });
        return [this.#reshape(sliced, output.shape, dtype)];
      }
      case 'PadV2': {
        const paddings = a.paddings as number[][];
        const inputs = [x, b.constant(paddings.flat(), [paddings.length, 2], 'int32'), b.scalar(a.constantValue as number, dtype)];
        return [b.node('PadV2', inputs, { T, Tpaddings: int32 })];
      }
      case 'Reverse':
        return [b.node('ReverseV2', [x, b.ints(a.axes as number[])], { T, Tidx: int32 })];
      case 'GatherV2':
        return [
          b.node('GatherV2', [...inputs, b.scalar(a.axis as number, 'int32')], {
            Tparams: T,
            Tindices: int32,
            Taxis: int32,
            batch_dims: { int: 0 },
          }),
        ];
      case 'UnsortedSegmentSum':
        return [segmentSum(b, inputs[0]!, inputs[1]!, output.shape[0]!)];
      case 'OneHot': {
        const values = [b.scalar(a.depth as number, 'int32'), b.scalar(a.onValue as number, output.dtype)];
        return [
          b.node('OneHot', [x, ...values, b.scalar(a.offValue as number, output.dtype)], {
            T: { type: output.dtype },
            TI: int32,
            axis: { int: -1 },
          }),
        ];
      }
      case 'Sum':
      case 'Max':
      case 'Min':
      case 'Prod':
      case 'Mean': {
        const given = kernel === 'Mean' ? this.#cast(x, dtype, 'float32') : x;
        const type = { type: kernel === 'Mean' ? ('float32' as const) : dtype };
        return [b.node(kernel, [given, b.ints(a.axes as number[])], { T: type, Tidx: int32, keep_dims: { bool: Boolean(a.keepDims) } })];
      }
      case 'All':
      case 'Any':
        return [
          b.node(kernel, [this.#cast(x, dtype, 'bool'), b.ints(a.axes as number[])], {
            Tidx: int32,
            keep_dims: { bool: Boolean(a.keepDims) },
          }),
        ];
      case 'ArgMax':
        return [b.node('ArgMax', [x, b.scalar(a.axis as number, 'int32')], { T, Tidx: int32, output_type: int32 })];
      case 'Cumsum':
        return [
          b.node('Cumsum', [x, b.scalar(a.axis as number, 'int32')], {
            T,
            Tidx: int32,
            exclusive: { bool: Boolean(a.exclusive) },
            reverse: { bool: Boolean(a.reverse) },
          }),
        ];
      case 'LayerNorm':
        return this.#layerNorm(node, inputs as [string, string, string]);
      case 'Gelu': {
        const phi = b.op('Mul', [b.op('AddV2', [b.op('Erf', [b.op('Mul', [x, b.scalar(Math.SQRT1_2)])]), b.scalar(1)]), b.scalar(0.5)]);
        return [b.op('Mul', [x, phi])];
      }
      case 'BatchMatMul':
      case '_FusedMatMul':
        return [this.#product(node, inputs)];
    }
    throw new Error(`The kernel ${kernel} cannot be written for TensorFlow yet: give it a case in steps/runtime/tensorflow/emit.ts.`);
  }

  #layerNorm({ inputs: [value], attributes }: Node, [x, gamma, beta]: [string, string, string]): string[] {
    const b = this.#builder;
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
    const builder = this.#builder;
    const turn = { a: { bool: Boolean(attributes.transposeA) }, b: { bool: Boolean(attributes.transposeB) } };
    // A product with one column is a sum, and of norms: those stay exact.
    const narrow = this.#precision === 'bf16' && y!.shape.at(-1)! > 1;
    const dtype: ElementType = narrow ? 'bfloat16' : 'float32';
    const inputs = [left!, right!].map((name) => (narrow ? this.#cast(name, 'float32', dtype) : name));
    const plain = a!.shape.length === 2 && b!.shape.length === 2;
    const product = plain
      ? builder.node('MatMul', inputs, { T: { type: dtype }, transpose_a: turn.a, transpose_b: turn.b })
      : builder.node('BatchMatMulV2', inputs, { T: { type: dtype }, adj_x: turn.a, adj_y: turn.b });
    const exact = narrow ? this.#cast(product, dtype, 'float32') : product;
    return bias === undefined ? exact : builder.op('BiasAdd', [exact, bias]);
  }

  #select(condition: string, t: string, e: string, dtype: DType): string {
    return this.#builder.op('SelectV2', [condition, t, e], dtype);
  }

  #fill(value: number, { shape, dtype }: Value): string {
    return constant(this.#builder, { shape, dtype, from: { data: value } });
  }

  #reshape(x: string, shape: number[], dtype: DType): string {
    return this.#builder.node('Reshape', [x, this.#builder.ints(shape)], { T: { type: dtype }, Tshape: { type: 'int32' } });
  }

  #cast(x: string, from: ElementType, to: ElementType): string {
    return from === to ? x : this.#builder.node('Cast', [x], { SrcT: { type: from }, DstT: { type: to } });
  }

  #several(name: string, count: number): string[] {
    return Array.from({ length: count }, (_, i) => (i === 0 ? name : `${name}:${i}`));
  }
}

/** Rows of x, whose ids may repeat, summed by id: [segments, width]. A negative id belongs to no segment. */
export function segmentSum(builder: GraphBuilder, x: string, ids: string, segments: number): string {
  return builder.node('UnsortedSegmentSum', [x, ids, builder.scalar(segments, 'int32')], {
    T: { type: 'float32' },
    Tindices: { type: 'int32' },
    Tnumsegments: { type: 'int32' },
  });
}

const LOGICAL = new Set(['LogicalAnd', 'LogicalNot', 'LogicalOr']);

/** Kernels that are one op of the same inputs, typed by the first. */
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
