/**
 * 200 prompts to each tiny generating model: token for token as in transformers, greedy and with beams, alone and in
 * batches.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDecoder } from '../../../../steps/ml/generation/decoder.ts';
import { generationConfig } from '../../../../steps/ml/generation/options.ts';
import { search, type TokenPrediction } from '../../../../steps/ml/generation/search.ts';
import { loadModel } from '../../../../steps/ml/models/model-folder.ts';
import { golden, runtime, sameTexts } from './golden.ts';

test.each([
  ['gpt2', 'gpt2/causal-lm'],
  ['t5', 't5/seq2seq'],
])('%s', sameTexts);

test('sampled tokens are the same in any batch, up to the logits’ last digits', async () => {
  const folder = join(golden, 'gpt2/causal-lm/checkpoint');
  const decoder = openDecoder(await loadModel(folder), runtime, { startToken: 0 });
  const config = generationConfig({}, { do_sample: true, seed: 11, max_new_tokens: 20, eos_token_id: [0] }, decoder.vocabulary);
  const prompts = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8]];
  const together = await search(decoder, prompts, { config });
  for (const [i, prompt] of prompts.entries()) expect(await search(decoder, [prompt], { config })).toEqual([together[i]]);
  await decoder.close();
});

test('what the model predicted for each token is as transformers’ logits say, whatever the options are', async () => {
  const cases = JSON.parse(readFileSync(join(golden, 'token-predictions.json'), 'utf8')) as any[];
  const decoder = openDecoder(await loadModel(join(golden, 'gpt2/causal-lm/checkpoint')), runtime, { startToken: 0 });
  const config = generationConfig({}, { max_new_tokens: 8, repetition_penalty: 1.3, eos_token_id: [] }, decoder.vocabulary);
  for (const { prompt, tokens, logprobs, top } of cases) {
    const predictions: TokenPrediction[] = [];
    const [text] = await search(decoder, [prompt], {
      config,
      predictions: 3,
      onToken: (_, __, prediction) => void predictions.push(prediction!),
    });
    expect(text!.tokens).toEqual(tokens);
    expect(predictions.map(({ top }) => top.map(({ id }) => id))).toEqual(top.map((of: any[]) => of.map(({ id }) => id)));
    for (const [i, { logprob, top: own }] of predictions.entries()) {
      expect(logprob).toBeCloseTo(logprobs[i], 4);
      for (const [k, { logprob }] of own.entries()) expect(logprob).toBeCloseTo(top[i][k].logprob, 4);
    }
  }
  await decoder.close();
});

test.each(['gpt2/causal-lm', 't5/seq2seq'])(
  '%s: packed weights are copies, so that nothing needs the others after the first run',
  async (name) => {
    const model = await loadModel(join(golden, name, 'checkpoint'));
    const decoder = openDecoder(model, runtime, { startToken: 0, packed: true });
    const config = generationConfig({}, { max_new_tokens: 12 }, decoder.vocabulary);
    const first = await search(decoder, [[5, 6, 7]], { config });
    for (const { data } of Object.values(model.weights)) data.fill(0);
    expect(await search(decoder, [[5, 6, 7]], { config })).toEqual(first);
    await decoder.close();
  },
);
