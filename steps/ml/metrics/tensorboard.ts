/**
 * The history of a training: JSON lines that are points of its curves, or evaluations; and TensorBoard's event files of
 * the same curves. These are TFRecord records (length, its checksum, data, its checksum), each an Event of
 * tensorflow/core/util/event.proto with scalars. The wall time is the step in seconds: with the time of day no two
 * runs would write the same bytes, and a lockfile could not match.
 */

import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { FIXED32, FIXED64, LENGTH, type MessageWriter, message, newWriter, tag, VARINT } from '../runtime/protobuf.ts';

export type HistoryLine = { step: number; epoch: number } & Record<string, number>;

/** An evaluation at the end of an epoch or, by steps, within one: the mean training loss since the last one, and the validation metrics. */
export const isMeasurement = (line: HistoryLine): boolean => line.train_loss !== undefined;

/** The values of a line that belong to the curves: not the mean loss and padding of an evaluation. */
export function pointsOf({ step, epoch, train_loss, padding, ...values }: HistoryLine): Scalars {
  return train_loss === undefined && padding !== undefined ? { ...values, padding } : values;
}

/** Undefined if the file is not a history. In JSON, null stands for values that are not numbers. */
export async function readHistory(file: string): Promise<HistoryLine[] | undefined> {
  const lines: HistoryLine[] = [];
  for (const text of (await readFile(file, 'utf8')).split('\n')) {
    if (text === '') continue;
    const line = parsed(text);
    if (!line) return undefined;
    lines.push(line);
  }
  return lines.length > 0 ? lines : undefined;
}

function parsed(text: string): HistoryLine | undefined {
  try {
    const values = Object.entries(JSON.parse(text) as Record<string, unknown>).map(([name, value]) => [name, value ?? Number.NaN]);
    const line = Object.fromEntries(values);
    const numbers = values.every(([, value]) => typeof value === 'number');
    return numbers && Number.isInteger(line.step) && Number.isInteger(line.epoch) ? line : undefined;
  } catch {
    return undefined;
  }
}

/** Writes the curves as an event file for TensorBoard, in a folder of its own, and returns its path. */
export function exportCurves(lines: HistoryLine[], folder: string): string {
  return writeEventFile(
    folder,
    lines.map((line) => [line.step, { epoch: line.epoch, ...pointsOf(line) }] as const),
  );
}

/** Values by the names of their curves. */
export type Scalars = Record<string, number>;

/** A file that grows while TensorBoard reads it. */
export class EventFile {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = writeEventFile(folder, []);
  }

  /** The data are on the disk when it returns. */
  scalars(step: number, values: Scalars): void {
    appendFileSync(this.#file, eventRecord(step, values));
  }
}

/** Writes points of curves into a folder of their own, and returns the file's path. */
function writeEventFile(folder: string, points: Iterable<readonly [step: number, values: Scalars]>): string {
  mkdirSync(folder, { recursive: true });
  // TensorBoard reads any file whose name contains `tfevents`.
  const file = path.join(folder, 'events.out.tfevents.0.tunesmith');
  const records = Array.from(points, ([step, values]) => eventRecord(step, values));
  writeFileSync(file, Buffer.concat([record(event(0, (writer) => writer.uint32(tag(3, LENGTH)).string('brain.Event:2'))), ...records]));
  return file;
}

function eventRecord(step: number, values: Scalars): Buffer {
  return record(
    event(step, (writer) => {
      writer.uint32(tag(2, VARINT)).int64(step);
      message(writer, 5, (summary) => {
        for (const [name, value] of Object.entries(values))
          message(summary, 1, (field) => field.uint32(tag(1, LENGTH)).string(name).uint32(tag(2, FIXED32)).float(value));
      });
    }),
  );
}

function event(seconds: number, fill: (writer: MessageWriter) => void): Uint8Array {
  const writer = newWriter();
  writer.uint32(tag(1, FIXED64)).double(seconds); // wall_time
  fill(writer);
  return writer.finish();
}

function record(data: Uint8Array): Buffer {
  const made = Buffer.alloc(8 + 4 + data.length + 4);
  made.writeBigUInt64LE(BigInt(data.length), 0);
  made.writeUInt32LE(masked(made.subarray(0, 8)), 8);
  made.set(data, 12);
  made.writeUInt32LE(masked(data), 12 + data.length);
  return made;
}

/** TFRecord masks its checksums, because a checksum of data that contain checksums would be weak. */
function masked(data: Uint8Array): number {
  const crc = crc32c(data);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Castagnoli's polynomial, reflected. */
export function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});
