/** Verifies that the ONNX files of a generating model compute the same as the model that they were made from. */

import { openRuntime } from '../ml/device/open.ts';
import type { Model } from '../ml/models/model-folder.ts';
import { emptyCache } from '../ml/runtime/onnx/decoder-file.ts';
import * as ort from '../ml/runtime/onnx/library.ts';
import type { OnnxFiles } from '../ml/runtime/quantization.ts';
import type { HostTensor } from '../ml/runtime/runtime.ts';
import { compare, feeds, randomBatch, TOLERANCE } from './check-onnx.ts';

/**
 * Compares the files with the model on batches of several shapes. Each row is read in two runs, the second of which gets the keys
 * and values of the first. @throws if the two differ, which is a bug in the export that no user can fix
 */
export async function checkGeneratingOnnx(files: OnnxFiles, model: Model, threads: number, tolerance = TOLERANCE): Promise<void> {
  const inference = (await openRuntime('onnx', { threads })).inference(model.program, model.weights);
  const sessions: ort.InferenceSession[] = [];
  const open = async (onnx: Uint8Array) => {
    const session = await ort.InferenceSession.create(onnx, { intraOpNumThreads: threads, logSeverityLevel: 3 });
    sessions.push(session);
    return session;
  };
  try {
    const decoder = await open((files.model ?? files.decoder_model_merged)!);
    const encoder = files.encoder_model && (await open(files.encoder_model));
    const longest = Math.min(model.family.maxLength(model.config), 40);
    for (const lengths of [[2], [5, 9, 2], [longest, 7]]) {
      const { token_type_ids: _, ...inputs } = randomBatch(
        lengths.map((length) => Math.min(length, longest)),
        model.config.vocab_size,
      );
      const targets = encoder ? randomBatch([6, 6, 6].slice(0, lengths.length), model.config.vocab_size).input_ids! : undefined;
      const { logits } = await inference.run({ ...inputs, ...(targets && { decoder_input_ids: targets }) });
      const read = encoder && (await encoder.run(feeds(inputs, encoder.inputNames))).last_hidden_state!;
      const found = await runTwice(decoder, targets ?? inputs.input_ids!, inputs.attention_mask!, read);
      compare(found, logits!.data as Float32Array, `logits of ${lengths.length} rows`, tolerance);
    }
  } finally {
    await inference.dispose();
    for (const session of sessions) await session.release();
  }
}

/** The logits of all tokens [B, T], which a decoder reads in two runs. `mask`: of the tokens or, with an encoder's states, of those. */
async function runTwice(decoder: ort.InferenceSession, tokens: HostTensor, mask: HostTensor, read?: ort.Tensor): Promise<Float32Array> {
  const [rows, width] = tokens.shape as [number, number];
  const half = Math.ceil(width / 2);
  let cache = emptyCache(decoder, rows);
  const logits: Float32Array[] = [];
  for (const [from, to] of [
    [0, half],
    [half, width],
  ] as const) {
    const positions = Int32Array.from({ length: rows * width }, (_, i) => i % width);
    const given = {
      input_ids: columns(tokens, from, to),
      position_ids: columns({ ...tokens, data: positions }, from, to),
      ...(read ? { encoder_attention_mask: mask } : { attention_mask: columns(mask, 0, to) }),
    };
    const outputs = await decoder.run({
      ...feeds(
        given,
        decoder.inputNames.filter((name) => name in given),
      ),
      ...(read && { encoder_hidden_states: read }),
      ...cache,
    });
    cache = Object.fromEntries(Object.keys(cache).map((name) => [name, outputs[name.replace('past_key_values', 'present')]!]));
    logits.push(outputs.logits!.data as Float32Array);
  }
  const vocabulary = logits[0]!.length / (rows * half);
  const joined = new Float32Array(rows * width * vocabulary);
  for (let row = 0; row < rows; row++) {
    joined.set(logits[0]!.subarray(row * half * vocabulary, (row + 1) * half * vocabulary), row * width * vocabulary);
    const rest = (width - half) * vocabulary;
    joined.set(logits[1]!.subarray(row * rest, (row + 1) * rest), (row * width + half) * vocabulary);
  }
  return joined;
}

function columns({ dtype, shape, data }: HostTensor, from: number, to: number): HostTensor {
  const [rows, width] = shape as [number, number];
  const values = Int32Array.from({ length: rows * (to - from) }, (_, i) => {
    const row = Math.floor(i / (to - from));
    return data[row * width + from + (i % (to - from))]!;
  });
  return { dtype, shape: [rows, to - from], data: values };
}
