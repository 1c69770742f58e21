/**
 * The kernels that can be traced: for each its inputs in order, and the shapes and types of its outputs. Attributes have one
 * canonical form (axes as a sorted list, sizes without -1), so that emitters need not know the variants.
 */

import { type Attributes, type DType, type Spec, sameShape, sizeOf } from './graph.ts';
import { tf } from './tfjs.ts';

export interface Kernel {
  /** Names of the inputs in order; `list` for a kernel that takes any number. */
  inputs: string[] | 'list';
  infer: (inputs: Spec[], attributes: any) => { outputs: Spec[]; attributes?: Attributes };
}

const { backend_util, slice_util, broadcast_util, util } = tf;

const unary = (dtype?: DType): Kernel => ({
  inputs: ['x'],
  infer: ([x]) => ({ outputs: [{ shape: x!.shape, dtype: dtype ?? x!.dtype }] }),
});

const binary = (dtype?: DType): Kernel => ({
  inputs: ['a', 'b'],
  infer: ([a, b]) => ({
    outputs: [{ shape: broadcast_util.assertAndGetBroadcastShape(a!.shape, b!.shape), dtype: dtype ?? a!.dtype }],
  }),
});

const reduction = (dtype?: DType): Kernel => ({
  inputs: ['x'],
  // (Max calls its axes so.)
  infer: ([x], { axis, reductionIndices = axis, keepDims }) => {
    const axes = util.parseAxisParam(reductionIndices, x!.shape).toSorted((a, b) => a - b);
    const shape = keepDims ? x!.shape.map((n, i) => (axes.includes(i) ? 1 : n)) : x!.shape.filter((_, i) => !axes.includes(i));
    return { attributes: { axes, keepDims: Boolean(keepDims) }, outputs: [{ shape, dtype: dtype ?? x!.dtype }] };
  },
});

const reshaped = (x: Spec, shape: number[]) => ({ attributes: { shape }, outputs: [{ shape, dtype: x.dtype }] });

const product = (a: Spec, b: Spec, transposeA: boolean, transposeB: boolean) => {
  const batch = broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const rows = a.shape.at(transposeA ? -1 : -2)!;
  const columns = b.shape.at(transposeB ? -2 : -1)!;
  return {
    attributes: { transposeA: Boolean(transposeA), transposeB: Boolean(transposeB) },
    outputs: [{ shape: [...batch, rows, columns], dtype: 'float32' as const }],
  };
};

export const kernels: Record<string, Kernel> = {
  // Element-wise.
  ...Object.fromEntries(
    ['Abs', 'Ceil', 'Cos', 'Erf', 'Exp', 'Floor', 'Gelu', 'GeluNew', 'Log', 'Log1p', 'Neg', 'Reciprocal', 'Relu', 'Round', 'Rsqrt'].map(
      (name) => [name, unary()],
    ),
  ),
  ...Object.fromEntries(['Sigmoid', 'Sign', 'Sin', 'Softplus', 'Sqrt', 'Square', 'Tanh'].map((name) => [name, unary()])),
  Identity: unary(),
  LayerEnd: unary(),
  LayerEndGradient: { inputs: ['dy', 'x'], infer: ([dy]) => ({ outputs: [{ ...dy! }] }) },
  LogicalNot: unary('bool'),
  Step: unary(),
  ClipByValue: unary(),
  Cast: { inputs: ['x'], infer: ([x], { dtype }) => ({ attributes: { dtype }, outputs: [{ shape: x!.shape, dtype }] }) },
  ...Object.fromEntries(
    ['Add', 'Maximum', 'Minimum', 'Multiply', 'Pow', 'RealDiv', 'SquaredDifference', 'Sub'].map((name) => [name, binary()]),
  ),
  ...Object.fromEntries(
    ['Equal', 'Greater', 'GreaterEqual', 'Less', 'LessEqual', 'LogicalAnd', 'LogicalOr', 'NotEqual'].map((name) => [name, binary('bool')]),
  ),
  FloorDiv: binary('int32'),
  AddN: { inputs: 'list', infer: ([first]) => ({ outputs: [{ ...first! }] }) },
  Select: {
    inputs: ['condition', 't', 'e'],
    infer: ([condition, t, e]) => {
      // In TensorFlow a condition with one axis selects whole rows.
      const rows = condition!.shape.length === 1 && t!.shape.length > 1 && sameShape(t!.shape, e!.shape);
      const shape = rows ? t!.shape : [condition!, t!, e!].map((x) => x.shape).reduce(broadcast_util.assertAndGetBroadcastShape);
      return { attributes: { rows }, outputs: [{ shape, dtype: t!.dtype }] };
    },
  },

  // Constants by shape, which the recorder keeps as one number.
  Fill: { inputs: [], infer: (_, { shape, value, dtype }) => ({ attributes: { value }, outputs: [{ shape, dtype: dtype ?? 'float32' }] }) },
  ZerosLike: unary(),
  OnesLike: unary(),
  Range: {
    inputs: [],
    infer: (_, { start, stop, step, dtype }) => ({
      attributes: { start, stop, step },
      outputs: [{ shape: [Math.max(0, Math.ceil((stop - start) / step))], dtype: dtype ?? 'float32' }],
    }),
  },

  // Shapes and indices.
  Reshape: { inputs: ['x'], infer: ([x], { shape }) => reshaped(x!, util.inferFromImplicitShape(shape, sizeOf(x!.shape))) },
  ExpandDims: {
    inputs: ['input'],
    infer: ([x], { dim }) => reshaped(x!, x!.shape.toSpliced(dim < 0 ? x!.shape.length + 1 + dim : dim, 0, 1)),
  },
  BroadcastTo: { inputs: ['x'], infer: ([x], { shape }) => reshaped(x!, shape) },
  Transpose: {
    inputs: ['x'],
    infer: ([x], { perm }) => ({ attributes: { perm }, outputs: [{ shape: perm.map((i: number) => x!.shape[i]!), dtype: x!.dtype }] }),
  },
  Tile: {
    inputs: ['x'],
    infer: ([x], { reps }) => ({ attributes: { reps }, outputs: [{ shape: x!.shape.map((n, i) => n * reps[i]), dtype: x!.dtype }] }),
  },
  Concat: {
    inputs: 'list',
    infer: (inputs, { axis }) => {
      const at = util.parseAxisParam(axis, inputs[0]!.shape)[0]!;
      const length = inputs.reduce((sum, x) => sum + x.shape[at]!, 0);
      return { attributes: { axis: at }, outputs: [{ shape: inputs[0]!.shape.with(at, length), dtype: inputs[0]!.dtype }] };
    },
  },
  Pack: {
    inputs: 'list',
    infer: (inputs, { axis }) => {
      const at = axis < 0 ? axis + inputs[0]!.shape.length + 1 : axis;
      return { attributes: { axis: at }, outputs: [{ shape: inputs[0]!.shape.toSpliced(at, 0, inputs.length), dtype: inputs[0]!.dtype }] };
    },
  },
  Unpack: {
    inputs: ['value'],
    infer: ([x], { axis }) => {
      const at = util.parseAxisParam(axis, x!.shape)[0]!;
      const part = { shape: x!.shape.toSpliced(at, 1), dtype: x!.dtype };
      return { attributes: { axis: at }, outputs: Array.from({ length: x!.shape[at]! }, () => ({ ...part })) };
    },
  },
  SplitV: {
    inputs: ['x'],
    infer: ([x], { numOrSizeSplits, axis }) => {
      const at = util.parseAxisParam(axis, x!.shape)[0]!;
      const sizes = backend_util.prepareSplitSize(x as any, numOrSizeSplits, at);
      return { attributes: { axis: at, sizes }, outputs: sizes.map((n) => ({ shape: x!.shape.with(at, n), dtype: x!.dtype })) };
    },
  },
  Slice: {
    inputs: ['x'],
    infer: ([x], attributes) => {
      const [begin, size] = slice_util.parseSliceParams(x as any, attributes.begin, attributes.size);
      return { attributes: { begin, size }, outputs: [{ shape: size as number[], dtype: x!.dtype }] };
    },
  },
  StridedSlice: {
    inputs: ['x'],
    infer: ([x], { begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask }) => {
      const info = slice_util.sliceInfo(x!.shape, begin, end, strides, beginMask, endMask, ellipsisMask, newAxisMask, shrinkAxisMask);
      return {
        attributes: { begin: info.begin, end: info.end, strides: info.strides, shape: info.finalShape },
        outputs: [{ shape: info.finalShape, dtype: x!.dtype }],
      };
    },
  },
  PadV2: {
    inputs: ['x'],
    infer: ([x], { paddings, constantValue }) => ({
      attributes: { paddings, constantValue },
      outputs: [{ shape: x!.shape.map((n, i) => n + paddings[i][0] + paddings[i][1]), dtype: x!.dtype }],
    }),
  },
  Reverse: {
    inputs: ['x'],
    infer: ([x], { dims }) => ({ attributes: { axes: util.parseAxisParam(dims, x!.shape) }, outputs: [{ ...x! }] }),
  },
  GatherV2: {
    inputs: ['x', 'indices'],
    infer: ([x, indices], { axis, batchDims }) => {
      if (batchDims) throw new Error('GatherV2 with batchDims cannot be traced; write it as a one-hot product.');
      const at = util.parseAxisParam(axis, x!.shape)[0]!;
      return { attributes: { axis: at }, outputs: [{ shape: x!.shape.toSpliced(at, 1, ...indices!.shape), dtype: x!.dtype }] };
    },
  },
  UnsortedSegmentSum: {
    inputs: ['x', 'segmentIds'],
    infer: ([x, ids], { numSegments }) => ({
      attributes: { numSegments },
      outputs: [{ shape: [numSegments, ...x!.shape.slice(ids!.shape.length)], dtype: x!.dtype }],
    }),
  },
  OneHot: {
    inputs: ['indices'],
    infer: ([indices], { depth, onValue, offValue, dtype }) => ({
      attributes: { depth, onValue, offValue },
      outputs: [{ shape: [...indices!.shape, depth], dtype: dtype ?? 'int32' }],
    }),
  },

  // Reductions along axes.
  Sum: reduction(),
  Mean: reduction('float32'),
  Max: reduction(),
  Min: reduction(),
  Prod: reduction(),
  All: reduction('bool'),
  Any: reduction('bool'),
  ArgMax: {
    inputs: ['x'],
    infer: ([x], { axis }) => {
      const at = util.parseAxisParam(axis, x!.shape)[0]!;
      return { attributes: { axis: at }, outputs: [{ shape: x!.shape.toSpliced(at, 1), dtype: 'int32' }] };
    },
  },
  Cumsum: {
    inputs: ['x'],
    infer: ([x], { axis, exclusive, reverse }) => ({
      attributes: { axis: util.parseAxisParam(axis, x!.shape)[0]!, exclusive: Boolean(exclusive), reverse: Boolean(reverse) },
      outputs: [{ ...x! }],
    }),
  },
  // Only along the last axis, which is all that TensorFlow's softmax supports.
  Softmax: { inputs: ['logits'], infer: ([x]) => ({ attributes: {}, outputs: [{ ...x! }] }) },
  LogSoftmax: { inputs: ['logits'], infer: ([x]) => ({ attributes: {}, outputs: [{ ...x! }] }) },
  LogSumExp: { inputs: ['x'], infer: ([x]) => ({ attributes: {}, outputs: [{ shape: [...x!.shape.slice(0, -1), 1], dtype: 'float32' }] }) },
  Rotate: { inputs: ['x', 'cos', 'sin'], infer: ([x]) => ({ outputs: [{ ...x! }] }) },
  LayerNorm: {
    inputs: ['x', 'gamma', 'beta'],
    infer: ([x], { epsilon }) => {
      const perRow: Spec = { shape: [...x!.shape.slice(0, -1), 1], dtype: 'float32' };
      return { attributes: { epsilon }, outputs: [{ ...x! }, perRow, { ...perRow }] };
    },
  },

  // Products.
  BatchMatMul: { inputs: ['a', 'b'], infer: ([a, b], { transposeA, transposeB }) => product(a!, b!, transposeA, transposeB) },
  _FusedMatMul: {
    inputs: ['a', 'b', 'bias'],
    infer: ([a, b], { transposeA, transposeB, activation }) => {
      if (activation && activation !== 'linear') throw new Error(`_FusedMatMul with activation ${activation} cannot be traced.`);
      return product(a!, b!, transposeA, transposeB);
    },
  },
};
