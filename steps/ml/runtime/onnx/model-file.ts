/**
 * Runs a quantized ONNX model as `serve` does, for evaluations: each sequence by itself and without padding, because
 * dynamic quantization takes the scale of all numbers of a run, so that other sequences would change its outputs.
 */

import { sizeOf } from '../graph.ts';
import type { HostTensor, HostTensors, Inference } from '../runtime.ts';
import * as ort from './library.ts';

/** `model`: the path of the file or its bytes. It takes the inputs of a program, and returns outputs of the same shapes. */
export async function openModelFile(model: string | Uint8Array, threads: number): Promise<Inference> {
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, enableMemPattern: false, logSeverityLevel: 3 } as const;
  const session = await (typeof model === 'string'
    ? ort.InferenceSession.create(model, options)
    : ort.InferenceSession.create(model, options));
  return {
    async run(inputs) {
      const [rows, width] = inputs.input_ids!.shape as [number, number];
      const gathered = new Map(session.outputNames.map((name) => [name, new Output(session, name)]));
      for (let row = 0; row < rows; row++) {
        const length = realTokens(inputs.attention_mask!, row, width);
        const outputs = await session.run(feeds(session, inputs, { row, width, length }));
        const wanted = inputs.label_positions && within(inputs.label_positions, row, width);
        for (const [name, output] of gathered) output.add(outputs[name]!, wanted);
      }
      const padded = inputs.label_positions ? undefined : width;
      return Object.fromEntries([...gathered].map(([name, output]) => [name, output.tensor(padded)]));
    },
    dispose: () => session.release(),
  };
}

/** An output of all rows of a batch. */
class Output {
  /** Whether it has values for each token. */
  readonly #perToken: boolean;
  readonly #parts: { data: Float32Array; shape: number[] }[] = [];

  constructor(session: ort.InferenceSession, name: string) {
    const metadata = session.outputMetadata.find((one) => one.name === name);
    this.#perToken = metadata?.isTensor === true && typeof metadata.shape[1] === 'string';
  }

  /** `positions`: the tokens to keep; by default all. */
  add({ data, dims }: ort.Tensor, positions?: number[]): void {
    const values = data as Float32Array;
    if (!positions) {
      this.#parts.push({ data: values, shape: dims.slice(1) });
      return;
    }
    const size = sizeOf(dims.slice(2));
    for (const i of positions) this.#parts.push({ data: values.slice(i * size, (i + 1) * size), shape: dims.slice(2) });
  }

  /** `width`: the tokens of a padded row; undefined if positions were kept. */
  tensor(width: number | undefined): HostTensor {
    const [first] = this.#parts;
    const own = first?.shape ?? [];
    const shape = this.#perToken && width !== undefined ? [width, ...own.slice(1)] : own;
    const data = new Float32Array(this.#parts.length * sizeOf(shape));
    for (const [row, part] of this.#parts.entries()) data.set(part.data, row * sizeOf(shape));
    return { dtype: 'float32', shape: [this.#parts.length, ...shape], data };
  }
}

function realTokens({ data }: HostTensor, row: number, width: number): number {
  let length = width;
  while (length > 1 && data[row * width + length - 1] === 0) length--;
  return length;
}

/** The positions of the flat batch that are in a row, counted from its first token. */
const within = ({ data }: HostTensor, row: number, width: number): number[] =>
  Array.from(data as Int32Array, (position) => position - row * width).filter((i) => i >= 0 && i < width);

function feeds(
  session: ort.InferenceSession,
  inputs: HostTensors,
  { row, width, length }: { row: number; width: number; length: number },
): Record<string, ort.Tensor> {
  const shape = [1, length];
  const valuesOf = (name: string) => inputs[name]?.data.slice(row * width, row * width + length) ?? new Int32Array(length);
  return Object.fromEntries(
    session.inputNames.map((name) => [name, new ort.Tensor('int64', BigInt64Array.from(valuesOf(name) as Int32Array, BigInt), shape)]),
  );
}
