/** The estimates of `tunesmith models` for data. */
import { expect, test } from 'vitest';
import { listed, named } from '../../contract/model-list.ts';

test('with --data, the time is that of the data', async () => {
  const lm = (...args: string[]) => listed('--task', 'causal-lm', ...args);
  const [few, more] = [await lm('--data', 'reviews.csv'), await lm('--data', 'more.csv')];
  const note = 'tokens of models of the hub, such as openai-community/gpt2, were counted with the tokenizer of bert-tiny';
  expect(few).toMatchObject({ rows: { train: 320, validation: 40 }, notes: [note] });
  expect(more.rows).toEqual({ train: 3200, validation: 400 });
  const [before, after] = [few, more].map((found) => named(found, 'openai-community/gpt2'));
  // Loading and compiling take the same time for both.
  expect(after!.seconds / before!.seconds).toBeGreaterThan(3);
  expect(after!.seconds / before!.seconds).toBeLessThan(10.5);
  const once = await lm('--data', 'more.csv', '--epochs', '1', '--batch-size', '8');
  expect(once).toMatchObject({ epochs: 1, batch_size: 8 });
  expect(named(once, 'openai-community/gpt2').memory_bytes).toBeLessThan(after!.memory_bytes);
});
