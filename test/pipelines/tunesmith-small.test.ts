/** The pre-trained model in pipelines/models/tunesmith-small: its files agree, it predicts words, and training carries none of its papers. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readSafetensors, toFloat32 } from '../../steps/ml/models/safetensors.ts';
import { openTokenizer } from '../../steps/ml/models/tokenizer.ts';

const folder = join(import.meta.dirname, '../../pipelines/models/tunesmith-small');

const read = (name: string) => readFileSync(join(folder, name), 'utf8');

const card = read('README.md');

test('the folder has at most 24 MB', () => {
  const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(24e6);
});

test('config, tokenizer, weights and card have the same vocabulary, and the weights are finite and float16', async () => {
  const config = JSON.parse(read('config.json'));
  const tokenizer = await openTokenizer(folder, { maxLength: 512 });
  expect(config.vocab_size).toBe(10_634);
  expect(tokenizer.size).toBe(10_634);
  const tensors = Object.entries(await readSafetensors(join(folder, 'model.safetensors')));
  expect(Object.fromEntries(tensors)['bert.embeddings.word_embeddings.weight']!.shape).toEqual([10_634, config.hidden_size]);
  expect(new Set(tensors.map(([, { dtype }]) => dtype))).toEqual(new Set(['F16']));
  for (const [name, tensor] of tensors) expect(toFloat32(tensor)!.every(Number.isFinite), name).toBe(true);
  const parameters = tensors.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  expect(card).toContain(`| parameters | ${parameters.toLocaleString('en-US')} |`);
});

test('the card has the results of the last lines of the training histories', () => {
  for (const [history, before] of Object.entries({
    'history.jsonl': 'before the short part of its training | at most 128',
    'history-short.jsonl': 'tunesmith-small | at most 40',
  })) {
    const last = JSON.parse(read(history).trimEnd().split('\n').at(-1)!);
    expect(card).toContain(`${before} | ${last.validation_perplexity.toFixed(1)} | ${last.validation_accuracy.toFixed(3)} |`);
    expect(card).toMatch(new RegExp(`^\\| steps \\| 250 .*\\| ${last.step} \\|`, 'm'));
  }
});
