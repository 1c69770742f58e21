/**
 * Tensors of KServe's protocol, as JSON or binary (Triton's extension `binary_tensor_data`): a header says how many bytes of a body are
 * JSON. The data of binary tensors follow, in the order of the tensors, all numbers with the lowest byte first.
 */
import { isUtf8 } from 'node:buffer';
import type { Json } from '../../engine/contract/step.ts';
import { kindOf, RequestRefusal } from './limits.ts';

export const JSON_LENGTH = 'inference-header-content-length';

/** The type of a body with binary tensors. */
export const BINARY = 'application/octet-stream';

export type Datatype = 'BYTES' | 'FP64' | 'INT64' | 'BOOL';

export interface GivenTensor {
  tensor: Record<string, unknown>;
  /** Its data, if they are binary. */
  binary?: Buffer;
}

export function splitBody(body: Buffer, jsonLength: string | undefined): { json: Buffer; binary: Buffer } {
  if (jsonLength === undefined) return { json: body, binary: Buffer.alloc(0) };
  const length = Number(jsonLength);
  if (!/^\d+$/.test(jsonLength) || length > body.length)
    throw new RequestRefusal(
      400,
      `the header Inference-Header-Content-Length is ${JSON.stringify(jsonLength)}, but must be the number of bytes of the JSON, at most ${body.length}`,
    );
  return { json: body.subarray(0, length), binary: body.subarray(length) };
}

/** The tensors with their binary data. @throws RequestRefusal unless they need all bytes and no more */
export function tensorsIn(tensors: Record<string, unknown>[], binary: Buffer): GivenTensor[] {
  let at = 0;
  const given = tensors.map((tensor, i): GivenTensor => {
    const { binary_data_size: size, ...parameters } = objectOf(`"parameters" of "inputs[${i}]"`, tensor.parameters);
    if (size === undefined) return { tensor: { ...tensor, parameters } };
    const refuse = (problem: string) => new RequestRefusal(400, `"binary_data_size" of "inputs[${i}]" ${problem}`);
    if (!Number.isSafeInteger(size) || (size as number) < 0) throw refuse(`must be a number of bytes, not ${JSON.stringify(size)}`);
    if (tensor.data !== undefined && tensor.data !== null) throw refuse('must be left out if the input has "data"');
    const end = at + (size as number);
    if (end > binary.length) throw refuse(`is ${size}, but ${binary.length - at} bytes are left after the JSON`);
    const data = binary.subarray(at, end);
    at = end;
    return { tensor: { ...tensor, parameters }, binary: data };
  });
  if (at < binary.length) throw new RequestRefusal(400, `${binary.length - at} bytes after the JSON belong to no input`);
  return given;
}

/** The elements of a tensor of texts: of any shape with one element per row. */
export function textsOf(name: string, tensor: Record<string, unknown>, binary: Buffer | undefined): string[] {
  const { name: _, datatype, shape, data, parameters, ...others } = tensor;
  const refuse = (problem: string) => new RequestRefusal(400, `the input "${name}" ${problem}`);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw refuse(`has an unknown field ${JSON.stringify(unknown)}`);
  if (datatype !== 'BYTES') throw refuse(`has the datatype ${JSON.stringify(datatype)}, but must have BYTES`);
  // MLServer's clients say that the bytes are text.
  const { content_type: content, ...more } = parameters as Record<string, unknown>;
  const odd = content !== undefined && content !== 'str' ? 'content_type' : Object.keys(more)[0];
  if (odd !== undefined) throw refuse(`has the parameter ${JSON.stringify(odd)}, which is not supported`);
  if (!Array.isArray(shape) || shape.length === 0 || shape.some((size) => !Number.isSafeInteger(size) || size < 0))
    throw refuse(`has the shape ${JSON.stringify(shape)}, but must have a list of sizes, such as [2]`);
  if (shape.slice(1).some((size) => size !== 1))
    throw refuse(`has the shape ${JSON.stringify(shape)}, but must have one element per row, such as [2] or [2, 1]`);
  if (!binary && !Array.isArray(data)) throw refuse(`needs a list "data", not ${kindOf(data)}`);
  // The JSON is at most 64 levels deep.
  const flat = binary ? binaryTexts(binary, refuse) : (data as unknown[]).flat(Math.min(64, shape.length - 1));
  if (flat.length !== shape[0]) throw refuse(`has ${flat.length} elements, but the shape ${JSON.stringify(shape)}`);
  const place = flat.findIndex((each) => typeof each !== 'string');
  if (place >= 0) throw refuse(`has ${kindOf(flat[place])} as element ${place}, but must have strings`);
  return flat as string[];
}

/** Each text after its number of bytes, which has four bytes itself. */
function binaryTexts(bytes: Buffer, refuse: (problem: string) => Error): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const begin = at + 4;
    const end = begin > bytes.length ? Number.POSITIVE_INFINITY : begin + bytes.readUInt32LE(at);
    if (end > bytes.length) throw refuse(`ends within its element ${texts.length}: each text must have its length, four bytes, before it`);
    const text = bytes.subarray(begin, end);
    if (!isUtf8(text)) throw refuse(`has an element ${texts.length} that is not UTF-8`);
    texts.push(text.toString());
    at = end;
  }
  return texts;
}

export function binaryOf(datatype: Datatype, data: readonly Json[]): Buffer {
  return Buffer.concat(data.map((value) => WRITERS[datatype](value as never)));
}

const WRITERS: Record<Datatype, (value: never) => Buffer> = {
  BYTES(value: string) {
    const text = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return Buffer.concat([length, text]);
  },
  FP64(value: number) {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return bytes;
  },
  INT64(value: number) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  BOOL: (value: boolean) => Buffer.from([value ? 1 : 0]),
};

export function objectOf(name: string, value: unknown): Record<string, unknown> {
  if (value === undefined || value === null) return {};
  if (kindOf(value) !== 'an object') throw new RequestRefusal(400, `${name} must be an object, not ${kindOf(value)}`);
  return value as Record<string, unknown>;
}

export function objectsOf(field: string, value: unknown): Record<string, unknown>[] {
  if (value === undefined) throw new RequestRefusal(400, `the field "${field}" is missing; it is a list of tensors`);
  if (!Array.isArray(value)) throw new RequestRefusal(400, `"${field}" must be a list of tensors, not ${kindOf(value)}`);
  const odd = value.findIndex((each) => kindOf(each) !== 'an object');
  if (odd >= 0) throw new RequestRefusal(400, `"${field}[${odd}]" must be an object, not ${kindOf(value[odd])}`);
  return value;
}
