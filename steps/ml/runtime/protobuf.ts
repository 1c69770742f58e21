/** Writes protobuf messages field by field (https://protobuf.dev/programming-guides/encoding/). */

import protobuf from 'protobufjs/minimal.js';

export type MessageWriter = protobuf.Writer;

export const newWriter = (): MessageWriter => protobuf.Writer.create();

/** Wire types. LENGTH: a message, a text or bytes, after their length. */
export const VARINT = 0;
export const FIXED64 = 1;
export const LENGTH = 2;
export const FIXED32 = 5;

/** What stands before a field. */
export const tag = (field: number, wire: number): number => (field << 3) | wire;

/** Writes a field that is a message. */
export function message(writer: MessageWriter, field: number, write: (writer: MessageWriter) => void): void {
  writer.uint32(tag(field, LENGTH)).fork();
  write(writer);
  writer.ldelim();
}
