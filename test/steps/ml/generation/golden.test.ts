/**
 * 200 prompts to each tiny generating model: token for token as in transformers, greedy and with beams, alone and in
 * batches.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { openDecoder } from '../../../../steps/ml/generation/kv-cache.ts';
import { type GenerationOptions, generationConfig, readGeneration } from '../../../../steps/ml/generation/options.ts';
import { search } from '../../../../steps/ml/generation/search.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';

const golden = join(import.meta.dirname, '../../../golden');

interface Golden {
  max_new_tokens: number;
  searches: Record<string, GenerationOptions>;
  texts: ({ prompt: number[] } & Record<string, number[][]>)[];
}

const models: [string, string][] = [
  ['gpt2', 'gpt2/causal-lm'],
  ['gpt2-varied', 'gpt2/varied'],
  ['t5', 't5/seq2seq'],
  ['t5-gated', 't5/gated'],
  ['t5-varied', 't5/varied'],
];

const runtime = await openRuntime('onnx', { threads: 1 });

test.each(models)('%s', async (name, checkpoint) => {
  const folder = join(golden, checkpoint, 'checkpoint');
  const { max_new_tokens, searches, texts } = JSON.parse(readFileSync(join(golden, 'generation', `${name}.json`), 'utf8')) as Golden;
  const model = await loadModel(folder);
  const { options: own, startToken } = await readGeneration(folder, model);
  // Both layouts of the weights.
  const decoder = openDecoder(model, runtime, { startToken, packed: name !== 't5' });
  expect(texts).toHaveLength(200);
  for (const [kind, options] of Object.entries(searches)) {
    const config = generationConfig(own, { ...options, max_new_tokens }, decoder.vocabulary);
    // Batches of prompts with different lengths, and every tenth prompt alone.
    const batches = [
      ...Array.from({ length: 10 }, (_, i) => texts.slice(20 * i, 20 * (i + 1))),
      ...texts.filter((_, i) => i % 10 === 0).map((one) => [one]),
    ];
    for (const batch of batches) {
      const found = await search(
        decoder,
        batch.map(({ prompt }) => prompt),
        { config },
      );
      expect({ kind, texts: found.map(({ tokens }) => tokens) }).toEqual({ kind, texts: batch.flatMap((one) => one[kind]!) });
    }
  }
  await decoder.close();
});

test('sampled tokens are the same in any batch, up to the logits’ last digits', async () => {
  const folder = join(golden, 'gpt2/causal-lm/checkpoint');
  const decoder = openDecoder(await loadModel(folder), runtime, { startToken: 0 });
  const config = generationConfig({}, { do_sample: true, seed: 11, max_new_tokens: 20, eos_token_id: [0] }, decoder.vocabulary);
  const prompts = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8]];
  const together = await search(decoder, prompts, { config });
  for (const [i, prompt] of prompts.entries()) expect(await search(decoder, [prompt], { config })).toEqual([together[i]]);
  await decoder.close();
});
