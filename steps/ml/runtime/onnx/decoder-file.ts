/** Runs the ONNX files of a generating model, as any program does that reads optimum's layout. */

import * as ort from './library.ts';

/** The inputs for keys and values, without tokens. */
export function emptyCache(decoder: ort.InferenceSession, rows: number): Record<string, ort.Tensor> {
  return Object.fromEntries(
    decoder.inputMetadata
      .filter(({ name }) => name.startsWith('past_key_values.'))
      .map((input) => {
        const [, heads, , width] = (input as ort.InferenceSession.TensorValueMetadata).shape as number[];
        return [input.name, new ort.Tensor('float32', new Float32Array(0), [rows, heads!, 0, width!])];
      }),
  );
}
