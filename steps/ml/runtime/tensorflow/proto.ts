/**
 * Writes TensorFlow's protobuf messages, as far as our graphs need them. Field numbers are those of its .proto files.
 */

import { FIXED32, LENGTH, type MessageWriter, message, newWriter, tag, VARINT } from '../protobuf.ts';

export type TensorflowElementType = 'float32' | 'int32' | 'bool' | 'bfloat16' | 'resource';

/** types.proto. */
const DATA_TYPE: Record<TensorflowElementType, number> = { float32: 1, int32: 3, bool: 10, bfloat16: 14, resource: 20 };

export type TensorflowAttribute =
  | { type: TensorflowElementType }
  | { int: number }
  | { float: number }
  | { bool: boolean }
  | { text: string }
  /** Undefined is any shape. */
  | { shape: number[] | undefined }
  | { tensor: TensorflowTensor };

export interface TensorflowTensor {
  dtype: TensorflowElementType;
  shape: number[];
  /** Raw little-endian elements. */
  bytes: Uint8Array;
}

export interface TensorflowNode {
  name: string;
  op: string;
  /** `name`, `name:output`, or `^name` of a node that must run before. */
  inputs: string[];
  attributes: Record<string, TensorflowAttribute>;
}

/** A SavedModel of one graph, with the tag `serve`. */
export function writeSavedModel(nodes: TensorflowNode[]): Uint8Array {
  const writer = newWriter();
  writer.uint32(tag(1, VARINT)).int64(1); // saved_model_schema_version
  message(writer, 2, (metaGraph) => {
    message(metaGraph, 1, (info) => info.uint32(tag(4, LENGTH)).string('serve'));
    message(metaGraph, 2, (graph) => {
      for (const node of nodes) message(graph, 1, (w) => writeNode(w, node));
      message(graph, 4, (versions) => versions.uint32(tag(1, VARINT)).int32(GRAPH_VERSION));
    });
  });
  return writer.finish();
}

/**
 * The op versions that the producer of the graph knows: those of TensorFlow 2.13, which is older than any library we
 * run.
 */
const GRAPH_VERSION = 1482;

function writeNode(w: MessageWriter, { name, op, inputs, attributes }: TensorflowNode): void {
  w.uint32(tag(1, LENGTH)).string(name).uint32(tag(2, LENGTH)).string(op);
  for (const input of inputs) w.uint32(tag(3, LENGTH)).string(input);
  for (const [key, value] of Object.entries(attributes)) {
    message(w, 5, (entry) => {
      entry.uint32(tag(1, LENGTH)).string(key);
      message(entry, 2, (a) => writeAttribute(a, value));
    });
  }
}

function writeAttribute(w: MessageWriter, value: TensorflowAttribute): void {
  if ('text' in value) w.uint32(tag(2, LENGTH)).string(value.text);
  else if ('int' in value) w.uint32(tag(3, VARINT)).int64(value.int);
  else if ('float' in value) w.uint32(tag(4, FIXED32)).float(value.float);
  else if ('bool' in value) w.uint32(tag(5, VARINT)).bool(value.bool);
  else if ('type' in value) w.uint32(tag(6, VARINT)).int32(DATA_TYPE[value.type]);
  else if ('shape' in value) message(w, 7, (shape) => writeShape(shape, value.shape));
  else {
    const { dtype, shape, bytes } = value.tensor;
    message(w, 8, (tensor) => {
      tensor.uint32(tag(1, VARINT)).int32(DATA_TYPE[dtype]);
      message(tensor, 2, (s) => writeShape(s, shape));
      tensor.uint32(tag(4, LENGTH)).bytes(bytes);
    });
  }
}

function writeShape(w: MessageWriter, shape: number[] | undefined): void {
  if (!shape) w.uint32(tag(3, VARINT)).bool(true);
  for (const n of shape ?? []) message(w, 2, (dim) => dim.uint32(tag(1, VARINT)).int64(n));
}
