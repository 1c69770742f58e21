/** Exports a program's forward pass as a standalone ONNX model: with weights, free axes, and int64 ids, as ONNX tools expect. */

import { traceTwins } from '../dynamic-axes.ts';
import type { Graph, Value } from '../graph.ts';
import type { Quantization } from '../quantization.ts';
import type { Axes, HostTensors, Program } from '../runtime.ts';
import { named, type Specs, traceInference } from '../trace.ts';
import { emitOnnx } from './emit.ts';

export interface ExportOptions {
  /** The axes of each input: a string names a free axis. Inputs that the program does not read are left out. */
  inputs?: Axes;
  /** The inputs that are float32; the others are ids. */
  floats?: ReadonlySet<string>;
  /** Sums and differences of axes with which the program computes, such as `past + sequence`, beside the axes of its inputs. */
  derived?: readonly string[];
  /** Outputs to keep. */
  outputs?: readonly string[];
  /** Store the weights in fewer bits. */
  quantize?: Quantization | undefined;
}

export function exportOnnx(
  program: Program,
  weights: HostTensors,
  { inputs = ENCODER_INPUTS, floats, derived, outputs = ['logits'], quantize }: ExportOptions = {},
): Uint8Array {
  if (!fitsOnnx(weights)) throw new Error('The weights take more than 2 GB, to which an ONNX file is limited.');
  const specs = Object.fromEntries(
    Object.entries(inputs).map(([name, axes]) => [
      name,
      { dtype: floats?.has(name) ? ('float32' as const) : ('int32' as const), shape: axes.map(() => 0) },
    ]),
  );
  const trace = (sized: Specs) => ({ graph: traceInference(program, weights, sized, { free: true, outputs }) });
  const twins = traceTwins(specs, inputs, trace, derived);
  const { graph } = twins.traced;
  const initializers = new Map<Value, Float32Array>();
  for (const [name, { data }] of Object.entries(weights)) {
    const value = graph.inputs.get(named.weight(name));
    if (value) initializers.set(value, data as Float32Array);
  }
  return emitOnnx(plainlyNamed(graph), {
    dialect: 'standard',
    initializers,
    free: { twin: plainlyNamed(twins.twin.graph), axes: twins.axes },
    quantize,
  });
}

/** The inputs of a text encoder, by the names that ONNX tools know. */
const ENCODER_INPUTS = {
  input_ids: ['batch', 'sequence'],
  attention_mask: ['batch', 'sequence'],
  token_type_ids: ['batch', 'sequence'],
};

/** Whether an ONNX file can contain the weights. */
export const fitsOnnx = (weights: HostTensors): boolean =>
  Object.values(weights).reduce((sum, { data }) => sum + data.byteLength, 0) <= LARGEST;

const LARGEST = 2 ** 31 - 2 ** 20;

/** Names inside an exported model are the program's own. */
function plainlyNamed(graph: Graph): Graph {
  const plain = (values: Map<string, Value>) => new Map([...values].map(([name, value]) => [name.slice(name.indexOf(':') + 1), value]));
  return { ...graph, inputs: plain(graph.inputs), outputs: plain(graph.outputs) };
}
