/** Pipelines that train models that write: blocks of texts, and texts from texts. */
import { expect, test } from 'vitest';
import { trained } from '../../contract/writing-steps.ts';

test('causal-lm in blocks: texts are joined without padding', async () => {
  const { metrics, tokens, screen } = await trained('task: causal-lm, block_size: 32', 'epochs: 20');
  const { sequences, tokens: count, rows } = tokens.splits.train;
  expect(sequences).toBe(Math.ceil(count / 32));
  expect(rows).toBe(sequences);
  expect(screen).toMatch(/train: \d+ blocks, \d+ tokens/);
  // The unigram baseline has 13.
  expect(metrics.metrics.perplexity).toBeLessThan(5);
});

test('seq2seq: the target has its own maximum length, and the prefix is stored with the model', async () => {
  const { metrics, tokens, config, training, screen } = await trained("task: seq2seq, prefix: 'home ', max_target_length: 8", 'epochs: 25');
  expect(tokens).toMatchObject({ task: 'seq2seq', prefix: 'home ', max_target_length: 8, decoder_start_token_id: 0 });
  expect(tokens.splits.train).toMatchObject({ target_tokens: 3 * tokens.splits.train.rows, tokens: 6 * tokens.splits.train.rows });
  expect(config).toMatchObject({ architectures: ['T5ForConditionalGeneration'], prefix: 'home ', decoder_start_token_id: 0 });
  expect(training).toMatchObject({ max_target_length: 8 });
  expect(metrics.metrics.perplexity).toBeLessThan(1.2);
  expect(screen).toMatch(/memory: about .*8 × 6 \+ 3 tokens/);
});
