/** Exports a program's forward pass as a standalone ONNX model: with weights, free axes, and int64 ids, as ONNX tools expect. */

import { traceTwins } from '../dynamic-axes.ts';
import type { Graph, Value } from '../graph.ts';
import type { Quantization } from '../quantization.ts';
import type { Axes, HostTensors, Program } from '../runtime.ts';
import { named, traceInference } from '../trace.ts';
import { emitOnnx } from './emit.ts';

export interface ExportOptions {
  /** Axes of each input, all of which are ids: a string names a free axis. Inputs that the program does not read are left out. */
  inputs?: Axes;
  /** Outputs to keep. */
  outputs?: readonly string[];
  /** Store the weights in fewer bits. */
  quantize?: Quantization | undefined;
}

export function exportOnnx(
  program: Program,
  weights: HostTensors,
  { inputs = ENCODER_INPUTS, outputs = ['logits'], quantize }: ExportOptions = {},
): Uint8Array {
  const bytes = Object.values(weights).reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes > LARGEST) {
    throw new Error(
      `The weights take ${(bytes / 2 ** 30).toFixed(1)} GB, but an ONNX file is limited to 2 GB. Leave the ONNX export out for this model.`,
    );
  }
  const specs = Object.fromEntries(
    Object.entries(inputs).map(([name, axes]) => [name, { dtype: 'int32' as const, shape: axes.map(() => 0) }]),
  );
  const twins = traceTwins(specs, inputs, (sized) => ({ graph: traceInference(program, weights, sized, { free: true, outputs }) }));
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

const LARGEST = 2 ** 31 - 2 ** 20;

/** Names inside an exported model are the program's own. */
function plainlyNamed(graph: Graph): Graph {
  const plain = (values: Map<string, Value>) => new Map([...values].map(([name, value]) => [name.slice(name.indexOf(':') + 1), value]));
  return { ...graph, inputs: plain(graph.inputs), outputs: plain(graph.outputs) };
}
