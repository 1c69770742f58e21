/**
 * Runs the ONNX files of a generating model, each sequence by itself and without padding: dynamic quantization takes the scale of
 * all numbers of a run, so that other sequences would change its outputs.
 */

import type { OnnxFile } from '../quantization.ts';
import { type HostTensor, type HostTensors, IGNORE_INDEX, type Inference } from '../runtime.ts';
import * as ort from './library.ts';

/** The paths of the files or their bytes. */
export type DecoderFiles = Partial<Record<OnnxFile, string | Uint8Array>>;

type Tensors = Record<string, ort.Tensor>;

/** The inputs for keys and values, without tokens. */
export function emptyCache(decoder: ort.InferenceSession, rows: number): Tensors {
  return Object.fromEntries(
    decoder.inputMetadata
      .filter(({ name }) => name.startsWith(PAST))
      .map(({ name, ...input }) => {
        const [, heads, , width] = (input as ort.InferenceSession.TensorValueMetadata).shape as number[];
        return [name, new ort.Tensor('float32', new Float32Array(0), [rows, heads!, 0, width!])];
      }),
  );
}

const PAST = 'past_key_values.';

/** The programs of `decodingOf`, computed by the files. */
export async function decodingFromFiles(files: DecoderFiles, threads: number): Promise<{ decode: Inference; encode?: Inference }> {
  const sessions = await openSessions(files, threads);
  const decode: Inference = { run: (inputs) => decodeRows(sessions, inputs), dispose: sessions.release };
  if (!sessions.encoder) return { decode };
  return { decode, encode: { run: (inputs) => encodeRows(sessions, inputs), dispose: async () => {} } };
}

/** The program of a generating task with labels, computed by the files: the loss of each label, and the most likely tokens. */
export async function evaluationFromFiles(files: DecoderFiles, threads: number): Promise<Inference> {
  const sessions = await openSessions(files, threads);
  return { run: (inputs) => evaluateRows(sessions, inputs), dispose: sessions.release };
}

interface Sessions {
  decoder: ort.InferenceSession;
  encoder: ort.InferenceSession | undefined;
  release(): Promise<void>;
}

async function openSessions(files: DecoderFiles, threads: number): Promise<Sessions> {
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, enableMemPattern: false, logSeverityLevel: 3 } as const;
  const open = (file: string | Uint8Array) =>
    typeof file === 'string' ? ort.InferenceSession.create(file, options) : ort.InferenceSession.create(file, options);
  const decoder = await open((files.model ?? files.decoder_model_merged)!);
  const encoder = files.encoder_model === undefined ? undefined : await open(files.encoder_model);
  return {
    decoder,
    encoder,
    async release() {
      await decoder.release();
      await encoder?.release();
    },
  };
}

async function evaluateRows(sessions: Sessions, inputs: HostTensors): Promise<HostTensors> {
  const { input_ids, attention_mask, decoder_input_ids, label_positions, labels } = inputs as Record<string, HostTensor>;
  const [rows, width] = (decoder_input_ids ?? input_ids)!.shape as [number, number];
  const count = labels!.data.length;
  const [losses, predictions] = [new Float32Array(count), new Int32Array(count)];
  for (let row = 0; row < rows; row++) {
    const given = realIds(input_ids!, attention_mask!, row);
    const states = await read(sessions, given);
    const places = [...label_positions!.data.entries()].filter(([, place]) => Math.floor(place / width) === row);
    // A target is padded after its last label.
    const length = Math.max(0, ...places.map(([, place]) => place - row * width)) + 1;
    const ids = decoder_input_ids ? decoder_input_ids.data.slice(row * width, row * width + length) : given;
    const { logits } = await append(sessions, ids as Int32Array, emptyCache(sessions.decoder, 1), states);
    const vocabulary = logits!.dims[2]!;
    for (const [label, place] of places) {
      const own = (logits!.data as Float32Array).subarray((place - row * width) * vocabulary).subarray(0, vocabulary);
      const { loss, best } = scoreOf(own, labels!.data[label]!);
      losses[label] = loss;
      predictions[label] = best;
    }
  }
  return {
    losses: { dtype: 'float32', shape: [count], data: losses },
    predictions: { dtype: 'int32', shape: [count], data: predictions },
  };
}

function scoreOf(logits: Float32Array, label: number): { loss: number; best: number } {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  if (label === IGNORE_INDEX) return { loss: 0, best };
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - logits[best]!);
  return { loss: logits[best]! + Math.log(sum) - logits[label]!, best };
}

/** For an encoder-decoder: keys and values of the prompts, as the decoder computes them with its first token. */
async function encodeRows(sessions: Sessions, { input_ids, attention_mask }: HostTensors): Promise<HostTensors> {
  const [rows, width] = input_ids!.shape as [number, number];
  const gathered = new Padded(rows, width);
  for (let row = 0; row < rows; row++) {
    const states = await read(sessions, realIds(input_ids!, attention_mask!, row));
    const outputs = await append(sessions, Int32Array.of(0), emptyCache(sessions.decoder, 1), states);
    for (const { layer, kind } of layersOf(sessions.decoder))
      gathered.add(`cross_${kind}.${layer}`, row, outputs[`present.${layer}.encoder.${kind}`]!);
  }
  return gathered.tensors;
}

async function decodeRows(sessions: Sessions, inputs: HostTensors): Promise<HostTensors> {
  const { input_ids, attention_mask, past_mask, encoder_attention_mask } = inputs as Record<string, HostTensor>;
  const [rows, width] = input_ids!.shape as [number, number];
  const gathered = new Padded(rows, width);
  const of = sessions.encoder ? '.decoder' : '';
  let logits: Float32Array | undefined;
  for (let row = 0; row < rows; row++) {
    const ids = realIds(input_ids!, attention_mask!, row);
    if (ids.length === 0) continue;
    const past = filled(past_mask!, row);
    const source = encoder_attention_mask && filled(encoder_attention_mask, row);
    const cache: Tensors = {};
    for (const { layer, kind } of layersOf(sessions.decoder)) {
      cache[`${PAST}${layer}${of}.${kind}`] = rowOf(inputs[`past_${kind}.${layer}`]!, row, past);
      if (source !== undefined) cache[`${PAST}${layer}.encoder.${kind}`] = rowOf(inputs[`cross_${kind}.${layer}`]!, row, source);
    }
    const outputs = await append(sessions, ids, cache, source === undefined ? undefined : unread(sessions.decoder, source));
    const vocabulary = outputs.logits!.dims[2]!;
    logits ??= new Float32Array(rows * vocabulary);
    logits.set((outputs.logits!.data as Float32Array).subarray(-vocabulary), row * vocabulary);
    for (const { layer, kind } of layersOf(sessions.decoder))
      gathered.add(`${kind}.${layer}`, row, outputs[`present.${layer}${of}.${kind}`]!, past);
  }
  return { logits: { dtype: 'float32', shape: [rows, logits!.length / rows], data: logits! }, ...gathered.tensors };
}

/** Keys and values of all rows, padded to the same number of tokens. */
class Padded {
  readonly tensors: HostTensors = {};

  constructor(
    private readonly rows: number,
    private readonly tokens: number,
  ) {}

  /** `from`: the first token of the tensor to keep. */
  add(name: string, row: number, { data, dims }: ort.Tensor, from = 0): void {
    const [, heads, tokens, width] = dims as [number, number, number, number];
    const shape = [this.rows, heads, this.tokens, width];
    this.tensors[name] ??= { dtype: 'float32', shape, data: new Float32Array(this.rows * heads * this.tokens * width) };
    const target = this.tensors[name].data as Float32Array;
    for (let head = 0; head < heads; head++)
      target.set(
        (data as Float32Array).subarray((head * tokens + from) * width, (head + 1) * tokens * width),
        (row * heads + head) * this.tokens * width,
      );
  }
}

/** The encoder's states of a sequence; undefined if there is no encoder. */
async function read({ encoder }: Sessions, ids: Int32Array): Promise<ort.Tensor | undefined> {
  return encoder && (await encoder.run({ input_ids: int64(ids), attention_mask: ones(ids.length) })).last_hidden_state;
}

/** Reads the next tokens of a sequence. */
async function append({ decoder }: Sessions, ids: Int32Array, cache: Tensors, states: ort.Tensor | undefined): Promise<Tensors> {
  const past = Object.values(cache)[0]!.dims[2]!;
  const given: Tensors = states
    ? { encoder_hidden_states: states, encoder_attention_mask: ones(states.dims[1]!) }
    : { attention_mask: ones(past + ids.length), position_ids: int64(ids.map((_, i) => past + i)) };
  return decoder.run({ input_ids: int64(ids), ...given, ...cache });
}

/** States whose keys and values are in the cache, so that their numbers do not matter. */
function unread(decoder: ort.InferenceSession, length: number): ort.Tensor {
  const input = decoder.inputMetadata.find(({ name }) => name === 'encoder_hidden_states') as ort.InferenceSession.TensorValueMetadata;
  const width = input.shape[2] as number;
  return new ort.Tensor('float32', new Float32Array(length * width), [1, length, width]);
}

function layersOf({ inputNames }: ort.InferenceSession): { layer: number; kind: 'key' | 'value' }[] {
  const layers = new Set(inputNames.filter((name) => name.startsWith(PAST)).map((name) => Number(name.split('.')[1])));
  return [...layers].flatMap((layer) => (['key', 'value'] as const).map((kind) => ({ layer, kind })));
}

/** The filled slots of a row, which are the first ones. */
function filled({ shape, data }: HostTensor, row: number): number {
  const slots = shape[1]!;
  let count = 0;
  while (count < slots && data[row * slots + count] === 1) count++;
  return count;
}

function rowOf({ shape, data }: HostTensor, row: number, length: number): ort.Tensor {
  const [, heads, slots, width] = shape as [number, number, number, number];
  const own = new Float32Array(heads * length * width);
  for (let head = 0; head < heads; head++) {
    const start = (row * heads + head) * slots * width;
    own.set((data as Float32Array).subarray(start, start + length * width), head * length * width);
  }
  return new ort.Tensor('float32', own, [1, heads, length, width]);
}

/** The ids of a row without the padding at its end. */
function realIds(ids: HostTensor, mask: HostTensor, row: number): Int32Array {
  const width = ids.shape[1]!;
  return (ids.data as Int32Array).slice(row * width, row * width + filled(mask, row));
}

const int64 = (values: Int32Array): ort.Tensor => new ort.Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);

const ones = (length: number): ort.Tensor => int64(new Int32Array(length).fill(1));
