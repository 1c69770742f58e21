/** Runs ONNX models. */
import * as ort from '../steps/ml/runtime/onnx/library.ts';

/** The first output for one sequence. Inputs that are not given are 0. */
export async function outputsOf(onnx: Uint8Array, inputs: Record<string, number[]>): Promise<number[]> {
  const session = await ort.InferenceSession.create(onnx, { logSeverityLevel: 3 });
  const { length } = Object.values(inputs)[0]!;
  const feeds = session.inputNames.map((name) => [
    name,
    new ort.Tensor(
      'int64',
      BigInt64Array.from({ length }, (_, i) => BigInt(inputs[name]?.[i] ?? 0)),
      [1, length],
    ),
  ]);
  const outputs = await session.run(Object.fromEntries(feeds));
  await session.release();
  return [...(outputs[session.outputNames[0]!]!.data as Float32Array)];
}
