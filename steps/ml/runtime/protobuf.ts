/**
 * Writes the protobuf messages of ONNX and TensorFlow, field by field, as far as our graphs need them, with the numbers of their
 * .proto files.
 */

import protobuf from 'protobufjs/minimal.js';
import type { DType } from './graph.ts';

export type MessageWriter = protobuf.Writer;

export const newWriter = (): MessageWriter => protobuf.Writer.create();

/** Wire types. LENGTH: a message, a text or bytes, after their length. */
export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const FIXED32 = 5;

/** The key of a field. */
export const tag = (field: number, wire: number): number => (field << 3) | wire;

/** Writes a field that is a message. */
export function message(writer: MessageWriter, field: number, write: (writer: MessageWriter) => void): void {
  writer.uint32(tag(field, LENGTH)).fork();
  write(writer);
  writer.ldelim();
}

export type OnnxElementType = DType | 'int64';

/** The types of weights, beside those of programs. */
export type OnnxStoredType = OnnxElementType | 'int8' | 'float16';

/** TensorProto.DataType. */
const ELEMENT_TYPE: Record<OnnxStoredType, number> = { float32: 1, int8: 3, int32: 6, int64: 7, bool: 9, float16: 10 };

export const elementType = (dtype: OnnxStoredType): number => ELEMENT_TYPE[dtype];

export type OnnxAttribute = number | { float: number } | number[] | string;

export interface OnnxTensor extends RawTensor<OnnxStoredType> {
  name: string;
  /** Only a reference is written, to a file of this name. */
  external?: boolean | undefined;
}

interface RawTensor<T> {
  dtype: T;
  shape: number[];
  /** Little-endian elements. */
  bytes: Uint8Array;
}

export interface OnnxNode {
  op: string;
  domain: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, OnnxAttribute>;
}

interface InterfaceContent {
  name: string;
  dtype: OnnxElementType;
  /** A string is a free axis. */
  shape: (number | string)[];
}

export interface OnnxModel {
  nodes: OnnxNode[];
  initializers: OnnxTensor[];
  inputs: InterfaceContent[];
  outputs: InterfaceContent[];
  opsets: Record<string, number>;
}

export function writeOnnxModel({ nodes, initializers, inputs, outputs, opsets }: OnnxModel): Uint8Array {
  const writer = newWriter();
  writer.uint32(tag(1, VARINT)).int64(8); // ir_version of opset 18
  writer.uint32(tag(2, LENGTH)).string('tunesmith');
  message(writer, 7, (graph) => {
    for (const node of nodes) message(graph, 1, (w) => writeOnnxNode(w, node));
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

function writeOnnxNode(w: MessageWriter, { op, domain, inputs, outputs, attributes }: OnnxNode): void {
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

function writeTensor(w: MessageWriter, { name, dtype, shape, bytes, external }: OnnxTensor): void {
  for (const n of shape) w.uint32(tag(1, VARINT)).int64(n);
  w.uint32(tag(2, VARINT)).int32(ELEMENT_TYPE[dtype]);
  w.uint32(tag(8, LENGTH)).string(name);
  if (!external) {
    w.uint32(tag(9, LENGTH)).bytes(bytes);
    return;
  }
  for (const [key, value] of Object.entries({ location: name, offset: '0', length: `${bytes.byteLength}` }))
    message(w, 13, (entry) => entry.uint32(tag(1, LENGTH)).string(key).uint32(tag(2, LENGTH)).string(value));
  w.uint32(tag(14, VARINT)).int32(EXTERNAL);
}

/** TensorProto.DataLocation. */
const EXTERNAL = 1;

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
  | { tensor: RawTensor<TensorflowElementType> };

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
      for (const node of nodes) message(graph, 1, (w) => writeTensorflowNode(w, node));
      message(graph, 4, (versions) => versions.uint32(tag(1, VARINT)).int32(GRAPH_VERSION));
    });
  });
  return writer.finish();
}

/** The op versions that the producer of the graph knows: those of TensorFlow 2.13, which is older than any library we run. */
const GRAPH_VERSION = 1482;

function writeTensorflowNode(w: MessageWriter, { name, op, inputs, attributes }: TensorflowNode): void {
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
  if (!shape) w.uint32(tag(3, VARINT)).bool(true); // unknown rank
  for (const n of shape ?? []) message(w, 2, (dim) => dim.uint32(tag(1, VARINT)).int64(n));
}
