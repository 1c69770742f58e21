/** Every traceable kernel gives the same result in a compiled runtime as in TensorFlow.js; also with free axes. */

import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { isNode } from '../../../../steps/ml/runtime/graph.ts';
import { kernels } from '../../../../steps/ml/runtime/kernels.ts';
import { exportOnnx } from '../../../../steps/ml/runtime/onnx/export.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';
import * as ops from '../../../../steps/ml/runtime/ops.ts';
import type { HostTensor, HostTensors, Program } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { traceInference } from '../../../../steps/ml/runtime/trace.ts';
import { COMPILED } from './options.ts';
import { generator } from './toy.ts';

const random = generator(5);
const floats = (...shape: number[]): HostTensor => ({
  dtype: 'float32',
  shape,
  data: Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => 4 * random() - 2),
});
const ints = (most: number, ...shape: number[]): HostTensor => ({
  dtype: 'int32',
  shape,
  data: Int32Array.from({ length: tf.util.sizeFromShape(shape) }, () => Math.floor(random() * most)),
});
const inputs: HostTensors = {
  x: floats(2, 3, 4), // batch, rows, columns
  y: floats(2, 3, 4),
  row: floats(4),
  pair: floats(3, 1),
  stack: floats(2, 5, 4),
  weight: floats(6, 4),
  i: ints(5, 2, 3),
  j: ints(5, 2, 3),
  ids: { dtype: 'int32', shape: [6], data: Int32Array.of(1, 3, -1, 1, 0, 3) },
};

const positive = (x: tf.Tensor) => tf.add(tf.abs(x), 0.5);

type X = Record<string, tf.Tensor>;

const cases: Record<string, (t: X) => tf.Tensor | tf.Tensor[]> = {
  Abs: (t) => tf.abs(t.x!),
  Add: (t) => [tf.add(t.x!, t.row!), tf.add(t.x!, t.pair!), tf.add(t.i!, 3), tf.add(t.x!, 0)],
  AddN: (t) => tf.addN([t.x!, t.y!, t.x!]),
  All: (t) => tf.cast(tf.all(tf.greater(t.x!, -1), 1), 'int32'),
  Any: (t) => tf.cast(tf.any(tf.greater(t.x!, 1), [0, 2], true), 'int32'),
  ArgMax: (t) => tf.argMax(t.x!, -1),
  BatchMatMul: (t) => [
    tf.matMul(t.x!, t.stack!, false, true),
    tf.matMul(t.x!, t.y!, true, false),
    tf.matMul(tf.reshape(t.x!, [6, 4]), t.weight!, true, false),
    tf.matMul(tf.slice(t.x!, [0, 0, 0], [1, 3, 4]), tf.slice(t.y!, [1, 0, 0], [1, 3, 4]), true, false),
    tf.matMul(t.x!, tf.transpose(t.stack!, [0, 2, 1])),
  ],
  BroadcastTo: (t) => tf.broadcastTo(t.pair!, [2, 3, 4]),
  Cast: (t) => [tf.cast(t.i!, 'float32'), tf.cast(t.x!, 'int32'), tf.cast(tf.cast(t.i!, 'bool'), 'int32')],
  Ceil: (t) => tf.ceil(t.x!),
  ClipByValue: (t) => tf.clipByValue(t.x!, -1, 0.5),
  Concat: (t) => [tf.concat([t.x!, t.stack!], 1), tf.concat([t.i!, t.j!], -1)],
  Cos: (t) => tf.cos(t.x!),
  Cumsum: (t) => [tf.cumsum(t.x!, 1), tf.cumsum(t.i!, 1, true, true)],
  Equal: (t) => tf.cast(tf.equal(t.i!, t.j!), 'int32'),
  Erf: (t) => tf.erf(t.x!),
  Exp: (t) => tf.exp(t.x!),
  ExpandDims: (t) => [tf.expandDims(t.x!, 1), tf.expandDims(t.x!, -1)],
  Fill: (t) => tf.mul(t.x!, tf.fill([2, 3, 4], 2.5)),
  Floor: (t) => tf.floor(t.x!),
  FloorDiv: (t) => tf.floorDiv(tf.sub(t.i!, tf.scalar(3, 'int32')), tf.scalar(2, 'int32')),
  GatherV2: (t) => [tf.gather(t.weight!, tf.cast(t.i!, 'int32')), tf.gather(t.x!, tf.tensor1d([2, 0], 'int32'), 1)],
  Gelu: (t) => ops.gelu(t.x!),
  GeluNew: (t) => ops.geluNew(t.x!),
  Greater: (t) => tf.cast(tf.greater(t.x!, t.y!), 'float32'),
  GreaterEqual: (t) => tf.cast(tf.greaterEqual(t.i!, t.j!), 'float32'),
  Identity: (t) => tf.clone(t.x!),
  LayerEnd: ({ x }) => ops.betweenLayers(x!),
  LayerEndGradient: ({ x }) => tf.grad((x) => tf.sum(tf.square(ops.betweenLayers(x))))(x!),
  LayerNorm: (t) => ops.layerNorm(t.x!, t.row!, tf.neg(t.row!), 1e-5),
  Less: (t) => tf.cast(tf.less(t.x!, t.row!), 'float32'),
  LessEqual: (t) => tf.cast(tf.lessEqual(t.i!, t.j!), 'float32'),
  Log: (t) => tf.log(positive(t.x!)),
  Log1p: (t) => tf.log1p(tf.abs(t.x!)),
  LogicalAnd: (t) => tf.cast(tf.logicalAnd(tf.greater(t.x!, 0), tf.greater(t.y!, 0)), 'int32'),
  LogicalNot: (t) => tf.cast(tf.logicalNot(tf.greater(t.x!, 0)), 'int32'),
  LogicalOr: (t) => tf.cast(tf.logicalOr(tf.greater(t.x!, 0), tf.greater(t.row!, 0)), 'int32'),
  LogSumExp: (t) => ops.logSumExp(t.x!),
  LogSoftmax: (t) => tf.logSoftmax(t.x!),
  Max: (t) => [tf.max(t.x!, 1), tf.max(t.i!)],
  Maximum: (t) => tf.maximum(t.x!, t.row!),
  Mean: (t) => [tf.mean(t.x!, [0, 2]), tf.mean(t.x!, 1, true), tf.mean(t.x!)],
  Min: (t) => tf.min(t.x!, [-1]),
  Minimum: (t) => tf.minimum(t.x!, 0.25),
  Multiply: (t) => [tf.mul(t.x!, t.pair!), tf.mul(t.i!, t.j!), tf.mul(t.pair!, tf.ones([2, 3, 4]))],
  Neg: (t) => tf.neg(t.x!),
  NotEqual: (t) => tf.cast(tf.notEqual(t.i!, t.j!), 'int32'),
  OneHot: (t) => [tf.oneHot(t.ids! as tf.Tensor1D, 4), tf.oneHot(t.i! as tf.Tensor2D, 5, 2, -1, 'float32')],
  OnesLike: (t) => tf.add(t.x!, tf.onesLike(t.x!)),
  Pack: (t) => [tf.stack([t.x!, t.y!], 1), tf.stack([t.i!, t.j!], -1)],
  PadV2: (t) => [
    tf.pad(t.x!, [
      [0, 1],
      [2, 0],
      [0, 0],
    ]),
    tf.pad(
      t.i!,
      [
        [1, 1],
        [0, 2],
      ],
      7,
    ),
  ],
  Pow: (t) => [tf.pow(positive(t.x!), 1.5), tf.pow(t.x!, 3)],
  Prod: (t) => tf.prod(t.x!, 1),
  Range: (t) => [tf.add(t.i!, tf.range(0, 3, 1, 'int32')), tf.mul(t.row!, tf.range(1, 3, 0.5))],
  RealDiv: (t) => tf.div(t.x!, positive(t.row!)),
  Reciprocal: (t) => tf.reciprocal(positive(t.x!)),
  Relu: (t) => tf.relu(t.x!),
  Reshape: (t) => [tf.reshape(tf.reshape(t.x!, [6, -1]), [3, 8]), tf.reshape(t.x!, [-1])],
  Reverse: (t) => [tf.reverse(t.x!, 1), tf.reverse(t.x!, [0, -1])],
  Rotate: (t) => ops.rotate(tf.expandDims(t.x!, 0), ops.rotaryTables(3, 4, 10)),
  Round: (t) => tf.round(t.x!),
  Rsqrt: (t) => tf.rsqrt(positive(t.x!)),
  Select: (t) => [tf.where(tf.greater(t.x!, 0), t.y!, t.row!), tf.where(tf.equal(t.i!, 2), tf.scalar(9, 'int32'), t.j!)],
  Sigmoid: (t) => tf.sigmoid(t.x!),
  Sign: (t) => tf.sign(t.x!),
  Sin: (t) => tf.sin(t.x!),
  Slice: (t) => [tf.slice(t.x!, [0, 1, 0], [-1, 2, 3]), tf.slice(t.i!, [1])],
  Softmax: (t) => tf.softmax(t.x!),
  Softplus: (t) => tf.softplus(t.x!),
  SplitV: (t) => [...tf.split(t.stack!, [2, 3], 1), ...tf.split(t.x!, 2, -1)],
  Sqrt: (t) => tf.sqrt(positive(t.x!)),
  Square: (t) => tf.square(t.x!),
  SquaredDifference: (t) => tf.squaredDifference(t.x!, t.row!),
  Step: (t) => tf.step(t.x!, 0.5),
  StridedSlice: (t) => [
    tf.stridedSlice(t.stack!, [0, 4, 0], [2, 0, 4], [1, -2, 3]),
    tf.stridedSlice(t.stack!, [1, 0, 0], [2, 5, 4], [1, 1, 1], 0, 0, 0, 0, 1),
  ],
  Sub: (t) => [tf.sub(t.x!, t.pair!), tf.sub(1, t.i!)],
  Sum: (t) => [tf.sum(t.x!, [0, 1]), tf.sum(t.i!, 1, true), tf.sum(t.x!)],
  Tanh: (t) => tf.tanh(t.x!),
  Tile: (t) => tf.tile(t.x!, [1, 2, 3]),
  Transpose: (t) => [tf.transpose(t.x!), tf.transpose(t.x!, [1, 0, 2])],
  Unpack: (t) => tf.unstack(t.x!, 1),
  UnsortedSegmentSum: (t) => tf.unsortedSegmentSum(t.weight!, t.ids! as tf.Tensor1D, 5),
  ZerosLike: (t) => tf.add(t.x!, tf.zerosLike(t.x!)),
  _FusedMatMul: (t) => ops.linear(t.x!, t.weight!, tf.reshape(t.ids!.toFloat(), [6])),
};

test('every kernel has a case', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(kernels).sort()));

const programOf =
  (name: string): Program =>
  (_, t) => {
    const results = [cases[name]!(t)].flat();
    return Object.fromEntries(results.map((result, i) => [`${i}`, result]));
  };

for (const name of Object.keys(cases)) {
  test(`${name} in ${COMPILED} equals ${name} in TensorFlow.js`, async () => {
    const expected = await (await openRuntime('eager', { backend: 'cpu' })).inference(programOf(name), {}).run(inputs);
    const compiled = (await openRuntime(COMPILED, { threads: 1 })).inference(programOf(name), {});
    same(await compiled.run(inputs), expected);
    await compiled.dispose();
  });
}

test('a large segment sum is correct too', async () => {
  const count = 6000;
  const large = { x: floats(count, 2), ids: ints(count, count) };
  const program: Program = (_, t) => ({ y: tf.unsortedSegmentSum(t.x!, tf.sub(t.ids!, tf.scalar(3, 'int32')) as tf.Tensor1D, count) });
  const expected = await (await openRuntime('eager', { backend: 'cpu' })).inference(program, {}).run(large);
  const compiled = (await openRuntime(COMPILED)).inference(program, {});
  same(await compiled.run(large), expected);
  await compiled.dispose();
});

test('values that are known while tracing are not computed at run time', () => {
  const kernelsOf = (f: (t: X) => tf.Tensor) => {
    const { nodes, outputs } = traceInference((_, t) => ({ y: f(t) }), {}, inputs);
    expect(isNode(outputs.get('output:y')!.from)).toBe(nodes.length > 0);
    return nodes.map(({ kernel }) => kernel);
  };
  const { x, y, row } = { x: 'x', y: 'y', row: 'row' } as const;
  expect(kernelsOf((t) => tf.add(tf.mul(t[x]!, tf.ones([2, 3, 4])), tf.zeros([4])))).toEqual([]);
  expect(kernelsOf((t) => tf.add(t[x]!, tf.mul(tf.add(tf.range(0, 4), 1), 2)))).toEqual(['Add']);
  expect(kernelsOf((t) => tf.add(tf.exp(t[x]!), tf.exp(t[x]!)))).toEqual(['Exp', 'Add']);
  expect(kernelsOf((t) => tf.mul(t[x]!, tf.broadcastTo(t[row]!, [2, 3, 4])))).toEqual(['Reshape', 'Multiply']);
  expect(kernelsOf((t) => tf.reshape(tf.expandDims(tf.squeeze(tf.expandDims(t[y]!, 0)), 1), [2, 12]))).toEqual(['Reshape']);
});

/** Programs over two free axes, as `batch` × `length` of ids. */
const free: Record<string, Program> = {
  'positions by range': (w, { ids }) => ({
    y: tf.add(ops.embedding(w.table!, ids!), ops.embedding(w.table!, tf.range(0, ids!.shape[1]!, 1, 'int32'))),
  }),
  'positions by slice': (w, { ids }) => ({ y: tf.add(ops.embedding(w.table!, ids!), tf.slice(w.table!, [0, 0], [ids!.shape[1]!, 4])) }),
  'causal mask': (_, { ids }) => {
    const length = ids!.shape[1]!;
    const [rows, columns] = [tf.expandDims(tf.range(0, length, 1, 'int32'), 1), tf.expandDims(tf.range(0, length, 1, 'int32'), 0)];
    return { y: tf.mul(tf.expandDims(tf.cast(ids!, 'float32'), 1), tf.cast(tf.greaterEqual(rows, columns), 'float32')) };
  },
  'attention and pooling': (w, { ids }) => {
    const x = ops.embedding(w.table!, ids!);
    const y = ops.attention(x, x, x, { heads: 2, dropout: (x) => x, rate: 0 });
    return { y: tf.concat([tf.slice(y, [0, 0, 0], [-1, 1, -1]), tf.mean(y, 1, true)], 1) };
  },
  'a sum of sizes': (_, { ids }) => {
    const [batch, length] = ids!.shape as [number, number];
    return { y: tf.concat([tf.cast(ids!, 'float32'), tf.fill([batch, length + 1], 2)], 1) };
  },
  'tokens summed by id': (w, { ids }) => {
    const [batch, length] = ids!.shape as [number, number];
    const x = tf.reshape(ops.embedding(w.table!, ids!), [-1, 4]);
    return { y: tf.unsortedSegmentSum(x, tf.reshape(ids!, [-1]) as tf.Tensor1D, batch * length) };
  },
  'a size as a number': (w, { ids }) => {
    const [batch, length] = ids!.shape as [number, number];
    const x = tf.reshape(ops.embedding(w.table!, ids!), [batch * length, 4]);
    return {
      y: tf.gather(
        x,
        tf.add(tf.mul(tf.range(0, batch, 1, 'int32'), tf.scalar(length, 'int32')), tf.scalar(length - 1, 'int32')) as tf.Tensor1D,
      ),
    };
  },
  'zeros, tiles and pads': (w, { ids }) => {
    const [batch, length] = ids!.shape as [number, number];
    const x = tf.concat([ops.embedding(w.table!, ids!), tf.zeros([batch, 2, 4])], 1);
    return { y: tf.tile(tf.pad(tf.sum(x, 2), [[0, 0], [length, 1]]), [1, 2]) }; // biome-ignore format: pairs
  },
};

for (const [name, program] of Object.entries(free)) {
  test(`exported with free axes: ${name}`, async () => {
    const weights = { table: floats(40, 4) };
    const export_ = () => exportOnnx(program, weights, { inputs: { ids: ['batch', 'length'] }, outputs: ['y'] });
    if (UNEXPORTABLE.has(name)) return expect(export_).toThrow('computes with the sizes of its inputs');
    const session = await ort.InferenceSession.create(export_());
    const eager = (await openRuntime('eager', { backend: 'cpu' })).inference(program, weights);
    for (const [batch, length] of [
      [1, 1],
      [3, 7],
      [4, 31],
    ]) {
      const ids = ints(40, batch!, length!);
      const { y } = await session.run({ ids: new ort.Tensor('int64', BigInt64Array.from([...ids.data], BigInt), ids.shape) });
      same({ y: { dtype: 'float32', shape: [...y!.dims], data: y!.data as Float32Array } }, await eager.run({ ids }));
    }
    await session.release();
  });
}

for (const [name, program] of Object.entries(free)) {
  test(`one graph for all sizes in ${COMPILED}: ${name}`, async () => {
    const weights = { table: floats(40, 4) };
    const eager = (await openRuntime('eager', { backend: 'cpu' })).inference(program, weights);
    const compiled = (await openRuntime(COMPILED)).inference(program, weights, { ids: ['batch', 'length'] });
    for (const [batch, length] of [
      [1, 1],
      [3, 7],
      [4, 31],
    ]) {
      const ids = ints(Math.min(40, batch! * length!), batch!, length!); // the sizes that a sum over batch · length segments takes
      if (UNEXPORTABLE.has(name) || (COMPILED === 'onnx' && name === SUM_OF_SIZES))
        await expect(compiled.run({ ids })).rejects.toThrow('computes with the sizes of its inputs');
      else same(await compiled.run({ ids }), await eager.run({ ids }));
    }
    await compiled.dispose();
  });
}

/**
 * The runtime onnx allocates outputs before it runs; this one is as long as a sum of sizes, which tensorflow
 * computes.
 */
const SUM_OF_SIZES = 'zeros, tiles and pads';

/**
 * Sizes that are used as numbers, or that are sums, cannot follow the axes: an error is better than a wrong model.
 */
const UNEXPORTABLE = new Set(['a size as a number', 'a sum of sizes']);

function same(ours: HostTensors, reference: HostTensors): void {
  expect(Object.keys(ours)).toEqual(Object.keys(reference));
  for (const [name, { shape, dtype, data }] of Object.entries(reference)) {
    const { shape: ourShape, dtype: ourType, data: ourData } = ours[name]!;
    expect({ shape: ourShape, dtype: ourType }).toEqual({ shape, dtype });
    for (const [i, x] of data.entries())
      expect(Math.abs(ourData[i]! - x), `${name}[${i}]: ${ourData[i]} and ${x}`).toBeLessThan(1e-5 * Math.max(1, Math.abs(x)));
  }
}
