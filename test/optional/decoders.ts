/** Bundles of generating models in Python: transformers, onnxruntime, and its quantize_dynamic. python.test.ts runs these tests. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import deploy from '../../steps/deploy/step.ts';
import { saveModel, startModel } from '../../steps/ml/models/model-folder.ts';
import { ranStep, temporary } from '../steps/rig.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';

const wide = { num_layers: 2, num_decoder_layers: 2, d_model: 128, num_heads: 8, d_ff: 256 };

/** Random weights, wide enough that rounding errors average out. */
const MODELS = {
  gpt2: ['causal-lm', (folder: string) => smallGpt2(folder, { n_embd: 128, n_layer: 4, n_head: 4 })],
  'gpt2, untied': ['causal-lm', (folder: string) => smallGpt2(folder, { n_embd: 96, n_layer: 2, n_head: 3, tie_word_embeddings: false })],
  t5: ['seq2seq', (folder: string) => smallT5(folder, ['cat'], { ...wide, tie_word_embeddings: false })],
  't5, tied, not gated': ['seq2seq', (folder: string) => smallT5(folder, ['cat'], { ...wide, feed_forward_proj: 'relu' })],
} as const;

interface Row {
  torch: number[];
  onnx: number[];
  quantize_dynamic: number[];
  generate: number[];
  greedy: number[];
}

/** @param runPython runs a script of Python, and returns what it prints */
export function testDecoders(runPython: (...args: string[]) => string): void {
  test.each(Object.entries(MODELS))('%s: logits, greedy tokens and sizes', async (_, [task, write]) => {
    const model = temporary();
    write(model);
    await saveModel(model, await startModel(model, { task, labels: [], seed: 4, say: () => {} }));
    const bundles: string[] = [];
    for (const quantize of [undefined, 'int8', 'fp16'] as const)
      bundles.push((await ranStep(deploy, { quantize }, { model })).outputs.bundle!);
    const opened = JSON.parse(runPython(join(import.meta.dirname, 'decoders.py'), ...bundles));
    const [float32, int8, fp16] = opened as { loading: Record<string, string[]>; rows: Row[]; size?: number }[];
    for (const { loading } of opened) for (const names of Object.values(loading)) expect(names).toEqual([]);
    for (const { torch, onnx, generate, greedy } of float32!.rows) {
      expect(Math.max(...onnx.map((value, i) => Math.abs(value - torch[i]!)))).toBeLessThan(1e-4);
      expect(greedy).toEqual(generate);
    }
    for (const { torch, onnx } of fp16!.rows) expect(relative(onnx, torch)).toBeLessThan(1e-4);
    const [ours, theirs] = [int8!.rows.flatMap(({ onnx }) => onnx), float32!.rows.flatMap((row) => row.quantize_dynamic)];
    const exact = float32!.rows.flatMap(({ onnx }) => onnx);
    expect(relative(ours, exact)).toBeLessThan(1.3 * relative(theirs, exact));
    expect(relative(ours, theirs)).toBeLessThan(2 * relative(theirs, exact));
    expect(bytesOf(bundles[1]!) / float32!.size!).toBeLessThan(1.1);
  });
}

const bytesOf = (bundle: string): number =>
  readdirSync(join(bundle, 'onnx')).reduce((sum, name) => sum + statSync(join(bundle, 'onnx', name)).size, 0);

const relative = (a: number[], b: number[]): number => Math.hypot(...a.map((x, i) => x - b[i]!)) / Math.hypot(...b);
