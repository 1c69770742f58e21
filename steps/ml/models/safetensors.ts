/**
 * The safetensors format (https://github.com/huggingface/safetensors#format): 8 bytes of header length, a JSON header,
 * then the tensors' bytes; and the weights of a model folder, in model.safetensors or in an index and its shards.
 */

import type { Hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { listed, readJson, shown } from './json.ts';

type Dtype = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL';

export interface StoredTensor {
  dtype: Dtype;
  shape: number[];
  /** Little-endian, as in the file. */
  bytes: Uint8Array;
}

/** An open file: its header is checked on opening, and its tensors are read one by one on request. */
interface Safetensors {
  /** `position`: the offset of a tensor's bytes in the file. */
  readonly tensors: ReadonlyMap<string, { dtype: Dtype; shape: number[]; position: number }>;
  read(name: string): Promise<StoredTensor>;
  close(): Promise<void>;
}

/**
 * @throws StepError if the header is inconsistent, overlaps, or declares more bytes than the file has; no value in it
 * is trusted unchecked
 */
export async function openSafetensors(file: string): Promise<Safetensors> {
  const handle = await open(file).catch((error: Error) => {
    throw new StepError(`${path.basename(file)} cannot be read: ${error.message}`);
  });
  try {
    const entries = await readHeader(handle, path.basename(file));
    return {
      tensors: entries,
      async read(name) {
        const entry = entries.get(name)!;
        const bytes = new Uint8Array(entry.end - entry.begin);
        await readFully(handle, bytes, entry.position, path.basename(file));
        return { dtype: entry.dtype, shape: entry.shape, bytes };
      },
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** All tensors of a file. */
export async function readSafetensors(file: string): Promise<Record<string, StoredTensor>> {
  const stored = await openSafetensors(file);
  try {
    const tensors: Record<string, StoredTensor> = Object.create(null);
    for (const name of stored.tensors.keys()) tensors[name] = await stored.read(name);
    return tensors;
  } finally {
    await stored.close();
  }
}

/** The same tensors always give the same bytes: they are ordered by width, widest first (which aligns all of them), then by name. */
export async function writeSafetensors(
  file: string,
  tensors: Record<string, StoredTensor>,
  metadata?: Record<string, string>,
  /** Receives the bytes of the file as they are written. */
  hash?: Hash,
): Promise<void> {
  const names = Object.keys(tensors).sort((a, b) => SIZE[tensors[b]!.dtype] - SIZE[tensors[a]!.dtype] || (a < b ? -1 : 1));
  // Without a prototype, because a tensor may be called `__proto__`.
  const header: Record<string, unknown> = Object.create(null);
  if (metadata) header.__metadata__ = metadata;
  let end = 0;
  for (const name of names) {
    const { dtype, shape, bytes } = tensors[name]!;
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  let text = Buffer.from(JSON.stringify(header));
  text = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));

  const handle = await open(file, 'w');
  try {
    for (const part of [length, text, ...names.map((name) => tensors[name]!.bytes)]) {
      hash?.update(part);
      await handle.writeFile(part);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export const float32 = (data: Float32Array, shape: number[]): StoredTensor => ({ dtype: 'F32', shape, bytes: bytesOf(data) });
export const int32 = (data: Int32Array, shape: number[]): StoredTensor => ({ dtype: 'I32', shape, bytes: bytesOf(data) });
export const int64 = (data: BigInt64Array, shape: number[]): StoredTensor => ({ dtype: 'I64', shape, bytes: bytesOf(data) });

/** Any floating-point type as float32; undefined for other types. */
export function toFloat32({ dtype, bytes }: StoredTensor): Float32Array | undefined {
  const { buffer, byteOffset: at, byteLength: length } = bytes;
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, at, length / 4);
    case 'F64':
      return Float32Array.from(new Float64Array(buffer, at, length / 8));
    case 'BF16': {
      // bfloat16 is the upper half of a float32.
      const halves = new Uint16Array(buffer, at, length / 2);
      const words = new Uint32Array(halves.length);
      for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
      return new Float32Array(words.buffer);
    }
    case 'F16': {
      const halves = new Uint16Array(buffer, at, length / 2);
      const out = new Float32Array(halves.length);
      for (let i = 0; i < halves.length; i++) out[i] = float16(halves[i]!);
      return out;
    }
    default:
      return undefined;
  }
}

export const toInt32 = ({ bytes }: StoredTensor): Int32Array => new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
export const toInt64 = ({ bytes }: StoredTensor): BigInt64Array => new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);

const SIZE: Record<Dtype, number> = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, I16: 2, I8: 1, U8: 1, BOOL: 1 };

/** The reference implementation's limit: a longer header is damaged or malicious. */
const LONGEST_HEADER = 100_000_000;

interface Entry {
  dtype: Dtype;
  shape: number[];
  /** Offsets within the tensors' bytes. */
  begin: number;
  end: number;
  /** Offset within the file. */
  position: number;
}

async function readHeader(handle: FileHandle, file: string): Promise<Map<string, Entry>> {
  const stat = await handle.stat();
  const broken = (why: string) =>
    new StepError(
      `${file} is not a complete safetensors file: ${why}`,
      'Download or save it again. Git LFS pointers and interrupted downloads cause this error.',
    );
  if (!stat.isFile()) throw broken('it is not a file');
  const { size } = stat;
  if (size < 8) throw broken(`it has ${size} bytes`);
  const prefix = new Uint8Array(8);
  await readFully(handle, prefix, 0, file);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > LONGEST_HEADER || 8 + length > size) throw broken(`its header claims ${length} bytes, but the file has ${size}`);

  const text = new Uint8Array(length);
  await readFully(handle, text, 8, file);
  let header: Record<string, any>;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch {
    throw broken('its header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) throw broken('its header is not a JSON object');

  const entries = new Map<string, Entry>();
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, data_offsets: offsets } = value ?? {};
    const counts = (list: unknown): list is number[] => Array.isArray(list) && list.every((n) => Number.isSafeInteger(n) && n >= 0);
    if (!counts(shape) || !counts(offsets) || offsets.length !== 2) throw broken(`its entry "${name}" has no valid shape or data_offsets`);
    if (typeof dtype !== 'string' || !Object.hasOwn(SIZE, dtype))
      throw new StepError(
        `${file}: "${name}" has the type ${JSON.stringify(dtype)}, which is not supported`,
        `Supported: ${Object.keys(SIZE).join(', ')}. Save the model without quantization.`,
      );
    const [begin, end] = offsets as [number, number];
    const bytes = shape.reduce((product, n) => product * n, SIZE[dtype as Dtype]);
    if (end - begin !== bytes) throw broken(`"${name}" is ${dtype} [${shape}], ${bytes} bytes, but its data_offsets span ${end - begin}`);
    if (8 + length + end > size) throw broken(`"${name}" should end at byte ${8 + length + end}, but the file ends at ${size}`);
    entries.set(name, { dtype: dtype as Dtype, shape, begin, end, position: 8 + length + begin });
  }
  // Every byte belongs to exactly one tensor: overlaps and gaps are how a malicious header hides data.
  let at = 0;
  for (const [name, entry] of [...entries].sort((a, b) => a[1].begin - b[1].begin || a[1].end - b[1].end)) {
    if (entry.begin !== at) throw broken(`"${name}" begins at ${entry.begin}, but ${at} was expected`);
    at = entry.end;
  }
  if (8 + length + at !== size) throw broken(`its tensors end at byte ${8 + length + at}, but the file ends at ${size}`);
  return entries;
}

/** A single read is limited to 2 GiB. */
async function readFully(handle: FileHandle, into: Uint8Array, position: number, file: string): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, Math.min(into.length - done, 1 << 30), position + done);
    if (bytesRead === 0) throw new StepError(`${file} ended while it was being read`);
    done += bytesRead;
  }
}

const bytesOf = (data: ArrayBufferView): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

function float16(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/* The weights of a model folder. */

export interface WeightFiles {
  /** Its name in messages. */
  source: string;
  /** By their names in the files. */
  tensors: ReadonlyMap<string, Tensor>;
  close(): Promise<void>;
}

interface Tensor {
  file: string;
  dtype: Dtype;
  shape: number[];
  read(): Promise<StoredTensor>;
}

/** Undefined if the folder contains no weights. */
export async function openWeights(folder: string): Promise<WeightFiles | undefined> {
  const source = WEIGHT_FILES.find((name) => existsSync(path.join(folder, name)));
  if (!source) {
    const foreign = FOREIGN_FILES.find((name) => existsSync(path.join(folder, name)));
    if (!foreign) return undefined;
    const pickle = foreign === 'pytorch_model.bin';
    throw new StepError(
      `${shown(folder)} has its weights in ${foreign}, which is not supported${pickle ? ': opening a pickle can run any code' : ''}`,
      pickle ? UNPICKLE : "Convert it once with Python's transformers: save_pretrained(folder) writes model.safetensors.",
    );
  }
  const index = source.endsWith('.json') ? await indexOf(folder, source) : undefined;
  const files = index ? [...new Set(Object.values(index))].sort() : [source];
  const opened = new Map<string, Safetensors>();
  const close = async () => void (await Promise.all([...opened.values()].map((file) => file.close())));
  try {
    for (const file of files) opened.set(file, await openSafetensors(path.join(folder, file)));
    const tensors: Map<string, Tensor> = new Map();
    for (const [file, stored] of opened) {
      for (const [name, { dtype, shape }] of stored.tensors) {
        if (tensors.has(name))
          throw new StepError(`${file}: there are two tensors for ${name}`, 'Save the model again, with each weight once.');
        tensors.set(name, { file, dtype, shape, read: () => stored.read(name) });
      }
    }
    if (index) refuseDisplaced(source, index, opened);
    return { source, tensors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Copies, because tied weights share memory, which safetensors does not write. */
const UNPICKLE = `Convert it once with Python:
  import torch; from safetensors.torch import save_file
  weights = torch.load("pytorch_model.bin", weights_only=True)
  save_file({name: w.clone() for name, w in weights.items()}, "model.safetensors", {"format": "pt"})`;

const WEIGHT_FILES = ['model.safetensors', 'model.safetensors.index.json'];
const FOREIGN_FILES = ['pytorch_model.bin', 'pytorch_model.bin.index.json', 'tf_model.h5', 'flax_model.msgpack', 'model.ckpt.index'];

/** The file of the folder that contains each tensor. */
async function indexOf(folder: string, index: string): Promise<Record<string, string>> {
  const { weight_map } = (await readJson(path.join(folder, index))) as { weight_map?: Record<string, string> };
  const places = Object.entries(weight_map ?? {});
  if (places.length === 0) throw new StepError(`${index} of ${shown(folder)} lists no shards in "weight_map"`);
  const outside = places.find(([, file]) => typeof file !== 'string' || file !== path.basename(file));
  if (outside) throw new StepError(`${index} of ${shown(folder)} lists ${outside[1]}, which is not a file of the folder`);
  const missing = [...new Set(places.map(([, file]) => file))].filter((file) => !existsSync(path.join(folder, file))).sort();
  if (missing.length > 0) {
    const [name] = places.find(([, file]) => file === missing[0])!;
    throw new StepError(
      `${shown(folder)} lacks ${listed(missing)}, which ${index} lists for ${name} and others`,
      'Download the missing shards.',
    );
  }
  return weight_map!;
}

/** Otherwise a shard from another save than the index would mix two models. */
function refuseDisplaced(source: string, index: Record<string, string>, shards: Map<string, Safetensors>): void {
  for (const [name, file] of Object.entries(index)) {
    if (shards.get(file)!.tensors.has(name)) continue;
    const [elsewhere] = [...shards].find(([, { tensors }]) => tensors.has(name)) ?? [];
    throw new StepError(
      `${source} lists ${name} in ${file}, but ${elsewhere === undefined ? 'no shard contains it' : `it is in ${elsewhere}`}`,
      OTHER_SAVES,
    );
  }
  for (const [file, { tensors }] of shards) {
    const unnamed = [...tensors.keys()].filter((name) => !Object.hasOwn(index, name));
    if (unnamed.length > 0) throw new StepError(`${file} contains ${listed(unnamed)}, which ${source} does not list`, OTHER_SAVES);
  }
}

const OTHER_SAVES = 'The index and the shards are from different saves: download all of them again.';
