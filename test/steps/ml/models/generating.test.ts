/**
 * The generating model families against transformers: test/golden/make-generating.py made the checkpoints and the
 * values.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { decodingOf, modelOnnx } from '../../../../steps/ml/models/family.ts';
import { loadModel, type Model, saveModel, startModel } from '../../../../steps/ml/models/model-folder.ts';
import { float32, readSafetensors, toFloat32, writeSafetensors } from '../../../../steps/ml/models/safetensors.ts';
import { bucketsOf } from '../../../../steps/ml/models/t5.ts';
import * as ort from '../../../../steps/ml/runtime/onnx/library.ts';
import type { HostTensor, HostTensors, Inference } from '../../../../steps/ml/runtime/runtime.ts';
import { temporary } from '../../rig.ts';
import { COMPILED } from '../runtime/options.ts';
import { golden, learnedOf, MODELS, trainingTests, valuesOf } from './generating-golden.ts';
import { difference, int32 } from './golden.ts';

describe.each(MODELS)('%s', (name) => {
  trainingTests(name, [['eager'], [COMPILED]]);
  const values = valuesOf(name);
  const inputs: HostTensors = { input_ids: int32(values.input_ids), attention_mask: int32(values.attention_mask) };
  const learned = learnedOf(name, inputs, values);
  if (!name.endsWith('classification'))
    test.each(['eager', COMPILED] as const)('%s: the outputs for evaluation follow from the logits and the labels', async (runtimeName) => {
      const model = await loadModel(join(golden(name), 'checkpoint'));
      const inference = (await openRuntime(runtimeName, { threads: 1 })).inference(model.program, model.weights, model.axes);
      const { loss, losses, predictions } = await inference.run(learned);
      await inference.dispose();
      const rows: number[][] = values.logits.flat();
      const places = [...learned.label_positions!.data];
      expect([...predictions!.data]).toEqual(places.map((place) => rows[place]!.indexOf(Math.max(...rows[place]!))));
      expect(losses!.data.length).toBe(places.length);
      expect(difference([Array.from(losses!.data).reduce((sum, one) => sum + one, 0) / places.length], [values.loss])).toBeLessThan(1e-5);
      expect(difference(loss!.data, [values.loss])).toBeLessThan(1e-5);
    });
});

describe.each(MODELS.filter((name) => !name.endsWith('classification')))('%s, token by token', (name) => {
  const values = valuesOf(name);
  test.each(['eager', COMPILED] as const)('%s: the logits equal those of transformers with past_key_values', async (runtimeName) => {
    const model = await loadModel(join(golden(name), 'checkpoint'));
    const decoding = decodingOf(model)!;
    const runtime = await openRuntime(runtimeName, { threads: 1 });
    const cross = await crossOf(model, values, (program, axes) => runtime.inference(program, model.weights, axes));
    const inference = runtime.inference(decoding.decode.program, model.weights, decoding.decode.axes);
    const rows: number[][] = values.decode.decoder_input_ids ?? values.decode.input_ids;
    const mask: number[][] = values.decode.attention_mask ?? rows.map((row) => row.map(() => 1));
    const positions: number[][] = values.decode.position_ids ?? rows.map((row) => [...row.keys()]);
    // More slots than are filled, as in a cache that grows by steps.
    const cache = new Cache(decoding.cache, rows.length, rows[0]!.length + 3);
    let at = 0;
    for (const { tokens, logits } of values.decode.calls as { tokens: number; logits: number[][] }[]) {
      const cut = (all: number[][]) => int32(all.map((row) => row.slice(at, at + tokens)));
      const given = { input_ids: cut(rows), attention_mask: cut(mask), position_ids: cut(positions), ...cross };
      const outputs = await inference.run({ ...given, ...(at > 0 ? cache.inputs(at, mask) : {}) });
      expect(outputs.logits!.shape).toEqual([rows.length, model.config.vocab_size]);
      expect(difference(outputs.logits!.data, logits.flat())).toBeLessThan(1e-5);
      cache.write(outputs, at);
      at += tokens;
    }
    await inference.dispose();
  });
});

test("T5's distances are in the same buckets as in transformers", () => {
  const { bidirectional, causal } = JSON.parse(readFileSync(join(golden('t5'), 'buckets.json'), 'utf8'));
  const both = bucketsOf(16, 128);
  const before = bucketsOf(32, 128);
  const bucket = (table: Int32Array, away: number) => table[Math.min(away, 128)]!;
  for (let i = 0; i <= 1200; i++) {
    const distance = i - 600;
    expect(bucket(both, Math.abs(distance)) + (distance > 0 ? 16 : 0), `${distance}`).toBe(bidirectional[i]);
    expect(bucket(before, Math.max(0, -distance)), `${distance}`).toBe(causal[i]);
  }
  expect([1, -1, 8, 12, -16, 64, -500].map((distance) => bidirectional[distance + 600])).toEqual([17, 1, 24, 25, 10, 30, 15]);
  expect([-16, -20, -64, -128].map((distance) => causal[distance + 600])).toEqual([16, 17, 26, 31]);
});

test("GPT-2 loads by the hub's names: without the base prefix, with masks among the weights and a copy of the embeddings", async () => {
  const folder = join(golden('gpt2/causal-lm'), 'checkpoint');
  const hub = temporary();
  const stored = await readSafetensors(join(folder, 'model.safetensors'));
  const renamed = Object.fromEntries(Object.entries(stored).map(([name, tensor]) => [name.replace('transformer.', ''), tensor]));
  const constants = Object.fromEntries(
    ['h.0.attn.bias', 'h.0.attn.masked_bias', 'h.1.attn.bias'].map((name) => [name, float32(new Float32Array(4), [1, 1, 2, 2])]),
  );
  const tied = { 'lm_head.weight': stored['transformer.wte.weight']! };
  await writeSafetensors(join(hub, 'model.safetensors'), { ...renamed, ...constants, ...tied }, { format: 'pt' });
  copyFileSync(join(folder, 'config.json'), join(hub, 'config.json'));
  expect((await loadModel(hub)).weights).toEqual((await loadModel(folder)).weights);
  const said: string[] = [];
  await startModel(hub, { task: 'causal-lm', labels: [], seed: 0, say: (message) => void said.push(message) });
  expect(said).toEqual([`${Object.keys(stored).length} weights read from model.safetensors`]);
  const other = { 'lm_head.weight': float32(toFloat32(stored['transformer.wte.weight']!)!.toReversed(), [43, 16]) };
  await writeSafetensors(join(hub, 'model.safetensors'), { ...renamed, ...other }, { format: 'pt' });
  await expect(loadModel(hub)).rejects.toThrow('model.safetensors: lm_head.weight differs from transformer.wte.weight');
  const deeper = { ...renamed, 'h.2.ln_1.bias': stored['transformer.h.1.ln_1.bias']! };
  await writeSafetensors(join(hub, 'model.safetensors'), deeper, { format: 'pt' });
  await expect(loadModel(hub)).rejects.toThrow('it has unexpected weights: h.2.ln_1.bias');
});

test('a T5 v1.1 that was saved with tied embeddings predicts with them, and stays tied when it is trained and saved', async () => {
  const folder = join(golden('t5/tied'), 'checkpoint');
  const model = await loadModel(folder);
  expect(model.weights).not.toHaveProperty(['lm_head.weight']);
  const said: string[] = [];
  const started = await startModel(folder, { task: 'seq2seq', labels: [], seed: 0, say: (message) => void said.push(message) });
  expect(said).toEqual([`${Object.keys(model.weights).length} weights read from model.safetensors`]);
  expect(started.fresh).toEqual([]);
  const saved = temporary();
  await saveModel(saved, started);
  expect((await loadModel(saved)).weights).toEqual(model.weights);
});

test('GPT-2 as a classifier: its ONNX export computes the same', async () => {
  const values = valuesOf('gpt2/text-classification');
  const session = await ort.InferenceSession.create(modelOnnx(await loadModel(join(golden('gpt2/text-classification'), 'checkpoint'))));
  const feeds = ['input_ids', 'attention_mask'].map((input) => {
    const { data, shape } = int32(values[input]);
    return [input, new ort.Tensor('int64', BigInt64Array.from(data as Int32Array, BigInt), shape)] as const;
  });
  expect([...session.inputNames].sort()).toEqual(['attention_mask', 'input_ids']);
  const { logits } = await session.run(Object.fromEntries(feeds));
  expect(difference(logits!.data as Float32Array, values.logits.flat())).toBeLessThan(1e-5);
  await session.release();
});

test('GPT-2 is initialized as in transformers: what blocks add is smaller, the more of them there are; T5 by the widths of the layers', async () => {
  const deviation = ({ data }: HostTensor) => Math.sqrt(Array.from(data).reduce((sum, x) => sum + x * x, 0) / data.length);
  const folder = temporary();
  const started = async (config: object, task: 'causal-lm' | 'seq2seq') => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    return (await startModel(folder, { task, labels: [], seed: 0, say: () => {} })).weights;
  };
  const gpt2 = await started({ model_type: 'gpt2', vocab_size: 300, n_embd: 64, n_layer: 8, n_head: 4, eos_token_id: 0 }, 'causal-lm');
  expect(deviation(gpt2['transformer.h.3.attn.c_attn.weight']!)).toBeCloseTo(0.02, 3);
  expect(deviation(gpt2['transformer.h.3.attn.c_proj.weight']!)).toBeCloseTo(0.005, 3);
  expect(deviation(gpt2['transformer.h.3.mlp.c_proj.weight']!)).toBeCloseTo(0.005, 3);
  const t5 = await started(
    {
      model_type: 't5',
      vocab_size: 300,
      d_model: 64,
      d_kv: 16,
      d_ff: 256,
      num_layers: 1,
      num_heads: 4,
      feed_forward_proj: 'gated-gelu',
      tie_word_embeddings: false,
    },
    'seq2seq',
  );
  const of = (name: string) => deviation(t5[name]!);
  expect(of('shared.weight')).toBeCloseTo(1, 1);
  expect(of('lm_head.weight')).toBeCloseTo(1, 1);
  expect(of('decoder.block.0.layer.1.EncDecAttention.q.weight')).toBeCloseTo(1 / 32, 2);
  expect(of('decoder.block.0.layer.1.EncDecAttention.k.weight')).toBeCloseTo(1 / 8, 2);
  expect(of('encoder.block.0.layer.1.DenseReluDense.wo.weight')).toBeCloseTo(1 / 16, 2);
});

test('a saved T5 writes floats with a decimal point, as transformers requires', async () => {
  const saved = temporary();
  await saveModel(saved, await loadModel(join(golden('t5/gated'), 'checkpoint')));
  const config = readFileSync(join(saved, 'config.json'), 'utf8');
  expect(config).toContain('"initializer_factor": 1.0');
  expect(config).toContain('"decoder_start_token_id": 0');
});

/** Keys and values as a caller of the decoder stores them. */
class Cache {
  readonly #tensors: HostTensors = {};
  readonly #slots: number;

  constructor({ layers, heads, width }: { layers: number; heads: number; width: number }, batch: number, slots: number) {
    this.#slots = slots;
    for (let layer = 0; layer < layers; layer++)
      for (const kind of ['key', 'value'])
        this.#tensors[`${kind}.${layer}`] = {
          dtype: 'float32',
          shape: [batch, heads, slots, width],
          data: new Float32Array(batch * heads * slots * width).fill(7), // nobody may read what was not written
        };
  }

  inputs(filled: number, mask: number[][]): HostTensors {
    const past = mask.map((row) => Array.from({ length: this.#slots }, (_, slot) => (slot < filled ? row[slot]! : 0)));
    return {
      past_mask: int32(past),
      ...Object.fromEntries(Object.entries(this.#tensors).map(([name, tensor]) => [`past_${name}`, tensor])),
    };
  }

  write(outputs: HostTensors, at: number): void {
    for (const [name, { data, shape }] of Object.entries(this.#tensors)) {
      const [batch, heads, slots, width] = shape as [number, number, number, number];
      const fresh = outputs[name]!;
      const tokens = fresh.shape[2]!;
      for (let row = 0; row < batch * heads; row++)
        data.set(fresh.data.subarray(row * tokens * width, (row + 1) * tokens * width), (row * slots + at) * width);
    }
  }
}

async function crossOf(
  model: Model,
  values: any,
  open: (program: Model['program'], axes: Model['axes']) => Inference,
): Promise<HostTensors> {
  const { encode } = decodingOf(model)!;
  if (!encode) return {};
  const inference = open(encode.program, encode.axes);
  const outputs = await inference.run({ input_ids: int32(values.input_ids), attention_mask: int32(values.attention_mask) });
  await inference.dispose();
  return { ...outputs, encoder_attention_mask: int32(values.attention_mask) };
}
