/** The texts that transformers generates for 200 prompts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openRuntime } from '../../../../steps/ml/device/open.ts';
import { openDecoder } from '../../../../steps/ml/generation/decoder.ts';
import { type GenerationOptions, generationConfig, readGeneration } from '../../../../steps/ml/generation/options.ts';
import { search } from '../../../../steps/ml/generation/search.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';

export const golden = join(import.meta.dirname, '../../../golden');

export interface Golden {
  max_new_tokens: number;
  searches: Record<string, GenerationOptions>;
  texts: ({ prompt: number[] } & Record<string, number[][]>)[];
}

export const runtime = await openRuntime('onnx', { threads: 1 });

export async function sameTexts(name: string, checkpoint: string): Promise<void> {
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
}
