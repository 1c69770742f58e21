/**
 * A program's forward pass as a standalone ONNX model: weights inside, batch and sequence axes free, ids int64, as the tools
 * around ONNX expect it.
 *
 * The program is traced twice, with other sizes of the free axes: where the two graphs differ, a size is made of free axes.
 */

import { filling, type Graph, type Node, type Value } from './graph.ts';
import { emitOnnx } from './onnx/emit.ts';
import type { HostTensors, Program } from './runtime.ts';
import { named, traceInference } from './trace.ts';

export interface ExportOptions {
  /** Axes of each input, which are all of ids: a text names a free axis. Those that the program does not read are left out. */
  inputs?: Record<string, (string | number)[]>;
  /** Outputs to keep. */
  outputs?: string[];
}

export function exportOnnx(
  program: Program,
  weights: HostTensors,
  { inputs = ENCODER_INPUTS, outputs = ['logits'] }: ExportOptions = {},
): Uint8Array {
  const bytes = Object.values(weights).reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes > LARGEST) {
    throw new Error(
      `The weights take ${(bytes / 2 ** 30).toFixed(1)} GB; an ONNX file holds at most 2 GB. Leave the ONNX export out for this model.`,
    );
  }
  const names = [...new Set(Object.values(inputs).flat())].filter((axis) => typeof axis === 'string');
  const trace = (sizes: Record<string, number>) => {
    const specs = Object.entries(inputs).map(([name, axes]) => {
      return [name, { dtype: 'int32' as const, shape: axes.map((axis) => (typeof axis === 'string' ? sizes[axis]! : axis)) }];
    });
    return traceInference(program, weights, Object.fromEntries(specs), { free: true, outputs });
  };
  for (const [sizes, twinSizes] of PROBES) {
    const sizesOf = (list: number[]) => Object.fromEntries(names.map((name, i) => [name, list[i % list.length]!]));
    const [graph, twin] = [trace(sizesOf(sizes)), trace(sizesOf(twinSizes))];
    if (!areTwins(graph, twin)) continue; // a size of the program happens to be a probe's
    const axes = names.map((name) => ({ name, size: sizesOf(sizes)[name]!, twinSize: sizesOf(twinSizes)[name]! }));
    const initializers = new Map<Value, Float32Array>();
    for (const [name, { data }] of Object.entries(weights)) {
      const value = graph.inputs.get(named.weight(name));
      if (value) initializers.set(value, data as Float32Array);
    }
    return emitOnnx(plainlyNamed(graph), { dialect: 'standard', initializers, free: { twin: plainlyNamed(twin), axes } });
  }
  throw new Error('The program computes with the sizes of its inputs in a way that cannot be exported with free axes.');
}

/** What an encoder of text takes, by the names that the tools around ONNX know. */
const ENCODER_INPUTS = {
  input_ids: ['batch', 'sequence'],
  attention_mask: ['batch', 'sequence'],
  token_type_ids: ['batch', 'sequence'],
};

const LARGEST = 2 ** 31 - 2 ** 20;

/** Sizes of the free axes in the two traces. Small, since a model may know few positions. */
const PROBES: [number[], number[]][] = [
  [
    [17, 11],
    [19, 13],
  ],
  [
    [23, 7],
    [29, 5],
  ],
  [
    [31, 3],
    [37, 2],
  ],
];

/** Names inside an exported model are the program's own. */
function plainlyNamed(graph: Graph): Graph {
  const plain = (values: Map<string, Value>) => new Map([...values].map(([name, value]) => [name.slice(name.indexOf(':') + 1), value]));
  return { ...graph, inputs: plain(graph.inputs), outputs: plain(graph.outputs) };
}

/** Whether two graphs are the same but for sizes. */
function areTwins(graph: Graph, twin: Graph): boolean {
  const partner = new Map<Value, Value>();
  const match = (a: Value | undefined, b: Value | undefined): boolean => {
    if (!a || !b || a.dtype !== b.dtype || a.shape.length !== b.shape.length) return false;
    const known = partner.get(a);
    if (known) return known === b;
    partner.set(a, b);
    if (typeof a.from !== 'object' || !('data' in a.from)) return true;
    if (filling(a) !== undefined) return filling(a) === filling(b);
    return String(a.from.data) === String((b.from as typeof a.from).data);
  };
  const sameNode = (a: Node, b: Node | undefined) =>
    b?.kernel === a.kernel &&
    a.inputs.length === b.inputs.length &&
    a.outputs.length === b.outputs.length &&
    a.inputs.every((input, i) => match(input, b.inputs[i])) &&
    a.outputs.every((output, i) => match(output, b.outputs[i])) &&
    Object.keys(a.attributes).every((key) => SIZES.has(key) || JSON.stringify(a.attributes[key]) === JSON.stringify(b.attributes[key]));
  return (
    graph.nodes.length === twin.nodes.length &&
    [...graph.inputs].every(([name, value]) => match(value, twin.inputs.get(name))) &&
    graph.nodes.every((node, i) => sameNode(node, twin.nodes[i])) &&
    [...graph.outputs].every(([name, value]) => match(value, twin.outputs.get(name)))
  );
}

/** Attributes that emitOnnx computes from the free axes. */
const SIZES = new Set(['shape', 'reps', 'begin', 'size', 'sizes', 'end', 'paddings', 'stop', 'depth', 'numSegments']);
