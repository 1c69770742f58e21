/** Quantized ONNX models against the model itself and, with real weights, against onnxruntime's quantize_dynamic. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { modelOnnx } from '../../../../steps/ml/models/family.ts';
import { loadModel, type Model } from '../../../../steps/ml/models/model-folder.ts';
import { random } from '../../../../steps/ml/models/random.ts';
import { exportOnnx } from '../../../../steps/ml/runtime/onnx/export.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';
import * as ops from '../../../../steps/ml/runtime/ops.ts';
import type { HostTensor, Program } from '../../../../steps/ml/runtime/runtime.ts';
import { tf } from '../../../../steps/ml/runtime/tfjs.ts';
import { outputsOf } from '../../../onnx.ts';
import { temporary } from '../../rig.ts';

const root = join(import.meta.dirname, '../../../..');

/** Made by test/golden/quantize.py. */
const golden: { first: number; rows: { ids: number[]; mask: number; float32: number[]; quantized: number[] }[] } = JSON.parse(
  readFileSync(join(root, 'test/golden/quantize.json'), 'utf8'),
);

describe('the pre-trained model of the package', () => {
  let model: Model;
  let bytes: number;
  beforeAll(async () => {
    model = await loadModel(join(root, 'pipelines/models/tunesmith-small'), 'masked-lm');
    bytes = Object.values(model.weights).reduce((sum, { data }) => sum + data.byteLength, 0);
  });

  test('in int8 is a quarter as large, differs from float32 no more than with quantize_dynamic, and runs on the fused ops', async () => {
    const onnx = modelOnnx(model, 'int8');
    expect(onnx.byteLength / bytes).toBeLessThan(0.26);
    const optimized = join(temporary(), 'optimized.onnx');
    const session = await ort.InferenceSession.create(onnx, { optimizedModelFilePath: optimized, logSeverityLevel: 3 });
    for (const { ids, mask, float32, quantized } of golden.rows) {
      const ours = await logits(session, ids, mask, float32.length);
      expect(relative(ours, float32)).toBeLessThan(1.2 * relative(quantized, float32));
      expect(relative(ours, quantized)).toBeLessThan(2 * relative(quantized, float32));
    }
    await session.release();
    const text = readFileSync(optimized, 'latin1');
    expect(text.match(/DynamicQuantizeMatMul|MatMulIntegerToFloat/g)).toHaveLength(6 * 4 + 2);
    expect(text).not.toMatch(/MatMulInteger(?!ToFloat)/);
    rmSync(optimized);
  });
});

async function logits(session: ort.InferenceSession, ids: number[], mask: number, count: number): Promise<number[]> {
  const tensor = (values: number[]) => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, ids.length]);
  const all = { input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)), token_type_ids: tensor(ids.map(() => 0)) };
  const { logits } = await session.run(Object.fromEntries(session.inputNames.map((name) => [name, all[name as keyof typeof all]])));
  const start = ids.indexOf(mask) * logits!.dims[2]! + golden.first;
  return [...(logits!.data as Float32Array).slice(start, start + count)];
}

function relative(a: number[], b: number[]): number {
  return Math.hypot(...a.map((x, i) => x - b[i]!)) / Math.hypot(...b);
}

test('fp16 differs only by the rounding of the weights; other constants keep their type', async () => {
  const model = await loadModel(join(root, 'test/golden/modernbert/checkpoint'));
  const [plain, halves] = [modelOnnx(model), modelOnnx(model, 'fp16')];
  expect(halves.byteLength / plain.byteLength).toBeLessThan(0.75); // most of such a small model is its graph
  const [before, after] = await Promise.all(
    [plain, halves].map((onnx) => outputsOf(onnx, { input_ids: [5, 6, 7, 8], attention_mask: [1, 1, 1, 1] })),
  );
  expect(relative(after!, before!)).toBeGreaterThan(0);
  expect(relative(after!, before!)).toBeLessThan(2e-3);
});

/** Numbers that are the same each time, evenly between two bounds. */
function uniform(count: number, low: number, high: number, seed = 'quantize'): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => low + (high - low) * next());
}

const weight = (shape: number[], low: number, high: number): HostTensor => ({
  dtype: 'float32',
  shape,
  data: uniform(
    shape.reduce((a, b) => a * b),
    low,
    high,
    shape.join(),
  ),
});

describe('products', () => {
  const ids = Array.from({ length: 12 }, (_, i) => (i * 7) % 20);
  const weights = {
    table: weight([20, 63], 0.2, 1),
    types: weight([2, 63], -1, 1),
    out: weight([30, 63], 0.5, 1), // [out, in], all of one sign
    bias: weight([30], -1, 1),
    back: weight([30, 63], -1, -0.5), // [in, out]
    zeros: { dtype: 'float32' as const, shape: [4, 63], data: new Float32Array(4 * 63) },
    wide: weight([63, 8], -1, 1),
  };
  const programs: Record<string, Program> = {
    // CPUs without VNNI add the products of two neighbours in 16 bits. Both factors are large here.
    'of large numbers of one sign do not overflow': (w, { ids }) => ({ y: ops.linear(ops.embedding(w.table!, ids!), w.out!, w.bias!) }),
    'of a weight [in, out], which is read twice': (w, { ids }) => {
      const x = ops.linear(ops.embedding(w.table!, ids!), w.out!, w.bias!);
      return {
        y: tf.add(
          tf.matMul(tf.reshape(x, [-1, 30]), w.back! as tf.Tensor2D),
          tf.matMul(tf.reshape(tf.neg(x), [-1, 30]), w.back! as tf.Tensor2D).square(),
        ),
      };
    },
    'of tensors of rank 3': (w, { ids }) => ({ y: tf.matMul(ops.embedding(w.table!, ids!), tf.expandDims(w.wide!, 0)) }),
    'with a table that is looked up, too': (w, { ids }) => ({ y: ops.linear(ops.embedding(w.table!, ids!), w.table!) }),
    'with zeros': (w, { ids }) => ({ y: tf.add(ops.linear(ops.embedding(w.table!, ids!), w.zeros!), 1) }),
    'and a small table, which stays as it is': (w, { ids }) => ({
      y: ops.linear(tf.add(ops.embedding(w.table!, ids!), ops.embedding(w.types!, tf.cast(tf.greater(ids!, 9), 'int32'))), w.out!),
    }),
  };

  test.each(Object.entries(programs))('%s', async (_, program) => {
    const files = (['int8', undefined] as const).map((quantize) =>
      exportOnnx(program, weights, { inputs: { ids: ['batch', 'length'] }, outputs: ['y'], quantize }),
    );
    const [after, before] = await Promise.all(files.map((onnx) => outputsOf(onnx, { ids })));
    expect(after).toHaveLength(before!.length);
    expect(relative(after!, before!)).toBeLessThan(0.01);
  });
});
