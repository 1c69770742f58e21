/** Verifies that an ONNX model computes the same as the model that it was made from. */

import { openRuntime } from '../ml/device/open.ts';
import type { Model } from '../ml/models/model-folder.ts';
import { random } from '../ml/models/random.ts';
import * as ort from '../ml/runtime/onnx/library.ts';
import type { HostTensors } from '../ml/runtime/runtime.ts';

/**
 * Compares an exported ONNX model with the original on batches of several shapes: an error in the derived shapes would
 * silently give wrong answers. @throws if the two differ, which is a bug in the export that no user can fix
 */
export async function checkOnnx(onnx: Uint8Array, model: Model, threads: number, tolerance = TOLERANCE): Promise<void> {
  const session = await ort.InferenceSession.create(onnx, { intraOpNumThreads: threads, logSeverityLevel: 3 });
  const inference = (await openRuntime('onnx', { threads })).inference(model.program, model.weights);
  try {
    const longest = model.family.maxLength(model.config);
    for (const lengths of [[1], [5, 9, 2], [Math.min(longest, 128), 40]]) {
      const inputs = randomBatch(
        lengths.map((length) => Math.min(length, longest)),
        model.config.vocab_size,
      );
      const expected = await inference.run(inputs);
      const outputs = await session.run(feeds(inputs, session.inputNames));
      for (const name of session.outputNames)
        compare(outputs[name]!.data as Float32Array, expected[name]!.data as Float32Array, `${name} of ${lengths.length} rows`, tolerance);
    }
  } finally {
    await inference.dispose();
    await session.release();
  }
}

/** @throws Error if two outputs differ by more than `tolerance`, as a share of their norm */
export function compare(exported: Float32Array, own: Float32Array, what: string, tolerance: number): void {
  const difference = norm(own.map((value, i) => value - exported[i]!)) / norm(own);
  // Not `>`: NaN must count as a difference too.
  if (!(difference <= tolerance)) throw new Error(`the ONNX export differs from the model: ${what} differ by ${difference}`);
}

/** Float32 sums in another order differ by less; a wrong shape or axis differs by far more. */
export const TOLERANCE = 1e-4;

/** Rows of random ids, padded to the longest. */
export function randomBatch(lengths: number[], vocabulary: number): HostTensors {
  const width = Math.max(...lengths);
  const shape = [lengths.length, width];
  const uniform = random('check', ...lengths);
  const fill = (valueAt: (row: number, i: number) => number) => ({
    dtype: 'int32' as const,
    shape,
    data: Int32Array.from({ length: lengths.length * width }, (_, at) => valueAt(Math.floor(at / width), at % width)),
  });
  return {
    input_ids: fill((row, i) => (i < lengths[row]! ? Math.floor(uniform() * vocabulary) : 0)),
    attention_mask: fill((row, i) => (i < lengths[row]! ? 1 : 0)),
    token_type_ids: fill(() => 0),
  };
}

export function feeds(inputs: HostTensors, names: readonly string[]): Record<string, ort.Tensor> {
  return Object.fromEntries(
    names.map((name) => [name, new ort.Tensor('int64', BigInt64Array.from(inputs[name]!.data as Int32Array, BigInt), inputs[name]!.shape)]),
  );
}

function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
