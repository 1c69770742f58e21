/** Writes ONNX's protobuf messages, as far as our models need them. Field numbers are those of onnx.proto. */

import type { DType } from '../graph.ts';
import { FIXED32, LENGTH, type MessageWriter, message, newWriter, tag, VARINT } from '../protobuf.ts';

export type OnnxElementType = DType | 'int64';

/** TensorProto.DataType. */
const ELEMENT_TYPE: Record<OnnxElementType, number> = { float32: 1, int32: 6, int64: 7, bool: 9 };

export type OnnxAttribute = number | { float: number } | number[] | string;

export interface OnnxTensor {
  name?: string;
  dtype: OnnxElementType;
  shape: number[];
  /** Raw little-endian elements. */
  bytes: Uint8Array;
}

export interface OnnxNode {
  op: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, OnnxAttribute>;
}

export interface InterfaceContent {
  name: string;
  dtype: OnnxElementType;
  /** A string is a free axis. */
  shape: (number | string)[];
}

export interface ModelContent {
  nodes: OnnxNode[];
  initializers: OnnxTensor[];
  inputs: InterfaceContent[];
  outputs: InterfaceContent[];
  opsets: Record<string, number>;
}

export function writeModel({ nodes, initializers, inputs, outputs, opsets }: ModelContent): Uint8Array {
  const writer = newWriter();
  writer.uint32(tag(1, VARINT)).int64(8); // ir_version of opset 18
  writer.uint32(tag(2, LENGTH)).string('tunesmith');
  message(writer, 7, (graph) => {
    for (const node of nodes) message(graph, 1, (w) => writeNode(w, node));
    graph.uint32(tag(2, LENGTH)).string('program');
    for (const tensor of initializers) message(graph, 5, (w) => writeTensor(w, tensor));
    for (const value of inputs) message(graph, 11, (w) => writeInterface(w, value));
    for (const value of outputs) message(graph, 12, (w) => writeInterface(w, value));
  });
  for (const [domain, version] of Object.entries(opsets)) {
    message(writer, 8, (w) => w.uint32(tag(1, LENGTH)).string(domain).uint32(tag(2, VARINT)).int64(version));
  }
  return writer.finish();
}

function writeNode(w: MessageWriter, { op, domain, inputs, outputs, attributes }: OnnxNode): void {
  for (const input of inputs) w.uint32(tag(1, LENGTH)).string(input);
  for (const output of outputs) w.uint32(tag(2, LENGTH)).string(output);
  w.uint32(tag(4, LENGTH)).string(op);
  for (const [name, value] of Object.entries(attributes)) {
    message(w, 5, (a) => {
      a.uint32(tag(1, LENGTH)).string(name);
      const type = typeof value === 'number' ? INT : typeof value === 'string' ? STRING : Array.isArray(value) ? INTS : FLOAT;
      a.uint32(tag(20, VARINT)).int32(type);
      if (typeof value === 'number') a.uint32(tag(3, VARINT)).int64(value);
      else if (typeof value === 'string') a.uint32(tag(4, LENGTH)).string(value);
      else if (Array.isArray(value)) for (const n of value) a.uint32(tag(8, VARINT)).int64(n);
      else a.uint32(tag(2, FIXED32)).float(value.float);
    });
  }
  if (domain) w.uint32(tag(7, LENGTH)).string(domain);
}

function writeTensor(w: MessageWriter, { name, dtype, shape, bytes }: OnnxTensor): void {
  for (const n of shape) w.uint32(tag(1, VARINT)).int64(n);
  w.uint32(tag(2, VARINT)).int32(ELEMENT_TYPE[dtype]);
  if (name) w.uint32(tag(8, LENGTH)).string(name);
  w.uint32(tag(9, LENGTH)).bytes(bytes);
}

function writeInterface(w: MessageWriter, { name, dtype, shape }: InterfaceContent): void {
  w.uint32(tag(1, LENGTH)).string(name);
  message(w, 2, (type) =>
    message(type, 1, (tensor) => {
      tensor.uint32(tag(1, VARINT)).int32(ELEMENT_TYPE[dtype]);
      message(tensor, 2, (s) => {
        for (const n of shape) {
          message(s, 1, (dim) => (typeof n === 'number' ? dim.uint32(tag(1, VARINT)).int64(n) : dim.uint32(tag(2, LENGTH)).string(n)));
        }
      });
    }),
  );
}

/** AttributeProto.AttributeType. */
const [FLOAT, INT, STRING, INTS] = [1, 2, 3, 7];

export const elementType = (dtype: OnnxElementType): number => ELEMENT_TYPE[dtype];
