/** The ONNX files of generating models, run as other programs do: compared with transformers, token by token and with its `generate`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { generatingOnnx } from '../../../../steps/ml/models/generating-onnx.ts';
import { loadModel, type Model } from '../../../../steps/ml/models/model-folder.ts';
import { emptyCache } from '../../../../steps/ml/runtime/onnx/decoder-file.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';

const golden = join(import.meta.dirname, '../../../golden');
const json = (file: string) => JSON.parse(readFileSync(join(golden, file), 'utf8'));

const MODELS = ['gpt2/causal-lm', 'gpt2/varied', 't5/seq2seq', 't5/gated', 't5/tied', 't5/varied'];

test.each(MODELS)('%s: the logits equal those of transformers with past_key_values', async (name) => {
  const files = await open(await loadModel(join(golden, name, 'checkpoint')));
  const { decode, ...values } = json(`${name}/inputs.json`);
  const rows: number[][] = decode.decoder_input_ids ?? decode.input_ids;
  const source = await files.read(values.input_ids, values.attention_mask);
  let cache = emptyCache(files.decoder, rows.length);
  let at = 0;
  for (const { tokens, logits } of decode.calls as { tokens: number; logits: number[][] }[]) {
    const end = at + tokens;
    const outputs = await files.decoder.run({
      input_ids: int64(rows.map((row) => row.slice(at, end))),
      ...(source ?? {
        attention_mask: int64(decode.attention_mask.map((row: number[]) => row.slice(0, end))),
        position_ids: int64(decode.position_ids.map((row: number[]) => row.slice(at, end))),
      }),
      ...cache,
    });
    cache = after(outputs, cache);
    const [batch, length, vocabulary] = outputs.logits!.dims as [number, number, number];
    expect([batch, length]).toEqual([rows.length, tokens]);
    for (const [row, expected] of logits.entries()) {
      const last = (outputs.logits!.data as Float32Array).slice(((row + 1) * length - 1) * vocabulary, (row + 1) * length * vocabulary);
      for (const [i, value] of expected.entries()) expect(Math.abs(last[i]! - value)).toBeLessThan(1e-4);
    }
    at = end;
  }
  await files.close();
});

test.each([
  ['gpt2', 'gpt2/causal-lm'],
  ['t5-gated', 't5/gated'],
])('%s: greedy tokens equal those of transformers', async (generated, name) => {
  const model = await loadModel(join(golden, name, 'checkpoint'));
  const files = await open(model);
  const { texts, max_new_tokens } = json(`generation/${generated}.json`);
  const first = (model.config.decoder_start_token_id ?? 0) as number;
  for (const { prompt, greedy } of texts.slice(0, 5) as { prompt: number[]; greedy: number[][] }[]) {
    const source = await files.read([prompt], [prompt.map(() => 1)]);
    let cache = emptyCache(files.decoder, 1);
    let next = source ? [first] : prompt;
    let length = 0;
    const tokens: number[] = [];
    while (tokens.length < Math.min(max_new_tokens, greedy[0]!.length)) {
      length += next.length;
      const positions = Array.from(next, (_, i) => length - next.length + i);
      const outputs = await files.decoder.run({
        input_ids: int64([next]),
        ...(source ?? { attention_mask: int64([Array(length).fill(1)]), position_ids: int64([positions]) }),
        ...cache,
      });
      cache = after(outputs, cache);
      const logits = (outputs.logits!.data as Float32Array).slice(-outputs.logits!.dims[2]!);
      next = [logits.indexOf(Math.max(...logits))];
      tokens.push(next[0]!);
    }
    expect(tokens).toEqual(greedy[0]);
  }
  await files.close();
});

/** Sessions of a model's files. `read`: the inputs of the decoder that the encoder gives, if there is one. */
async function open(model: Model) {
  const { model: alone, encoder_model, decoder_model_merged } = generatingOnnx(model);
  const create = (onnx: Uint8Array) => ort.InferenceSession.create(onnx, { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const decoder = await create((alone ?? decoder_model_merged)!);
  const encoder = encoder_model && (await create(encoder_model));
  return {
    decoder,
    async read(ids: number[][], mask: number[][]): Promise<Record<string, ort.Tensor> | undefined> {
      if (!encoder) return undefined;
      const attention_mask = int64(mask);
      const { last_hidden_state } = await encoder.run({ input_ids: int64(ids), attention_mask });
      return { encoder_hidden_states: last_hidden_state!, encoder_attention_mask: attention_mask };
    },
    async close() {
      await decoder.release();
      await encoder?.release();
    },
  };
}

const after = (outputs: Record<string, ort.Tensor>, cache: Record<string, ort.Tensor>) =>
  Object.fromEntries(Object.keys(cache).map((name) => [name, outputs[name.replace('past_key_values', 'present')]!]));

const int64 = (rows: number[][]): ort.Tensor =>
  new ort.Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);
