/** Search and logits processors, compared with transformers on a model whose scores are a table. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { adjust } from '../../../../steps/ml/generation/logits-processors.ts';
import { type GenerationOptions, generationConfig } from '../../../../steps/ml/generation/options.ts';
import { completesStop, search } from '../../../../steps/ml/generation/search.ts';
import { openTokenizer } from '../../../../steps/ml/models/tokenizer.ts';
import { tableDecoder, tableRow, VOCABULARY } from './table.ts';

const golden = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, '../../../golden/generation', name), 'utf8'));

const found = golden('search.json') as { prompts: number[][]; cases: { options: GenerationOptions; texts: number[][] }[] };

const configOf = (options: GenerationOptions) => generationConfig({}, options, VOCABULARY);

const textsOf = async (prompts: number[][], options: GenerationOptions) =>
  (await search(tableDecoder(), prompts, { config: configOf(options) })).map(({ tokens }) => tokens);

test.each(found.cases.map(({ options, texts }) => [JSON.stringify(options), options, texts] as const))(
  '%s: the texts of transformers, with all prompts in a batch',
  async (_, options, texts) => {
    expect(await textsOf(found.prompts, options)).toEqual(texts);
  },
);

const narrowed = golden('scores.json') as {
  rows: number[];
  cases: { options: GenerationOptions; least: number; kept: Record<string, number>[] }[];
};

test.each(narrowed.cases.map((one) => [JSON.stringify(one.options), one.least, one] as const))(
  '%s keeps the scores that transformers keeps, at least %i',
  (_, least, { options, kept }) => {
    const ends = least === 1 ? {} : { num_beams: 2, eos_token_id: [1, 2] };
    const config = configOf({ ...options, ...ends, do_sample: true });
    for (const [i, place] of narrowed.rows.entries()) {
      const scores = tableRow(Math.floor(place / VOCABULARY), place % VOCABULARY);
      adjust(scores, [9], 1, config);
      const left = [...scores.entries()].filter(([, score]) => score > Number.NEGATIVE_INFINITY);
      expect(left.map(([token]) => String(token))).toEqual(Object.keys(kept[i]!));
      for (const [token, score] of left) expect(score).toBeCloseTo(kept[i]![token]!, 6);
    }
  },
);

test('samples are a function of seed, prompt and position: not of the other prompts, nor of their order', async () => {
  const options = { do_sample: true, max_new_tokens: 30, seed: 5 };
  const [alone] = await textsOf([[7, 9, 11]], options);
  const together = await textsOf([[5], [7, 9, 11], [1, 2]], options);
  expect(together[1]).toEqual(alone);
  expect((await textsOf([[7, 9, 11]], { ...options, seed: 6 }))[0]).not.toEqual(alone);
  const [first, second] = await textsOf([[7, 9, 11]], { ...options, num_return_sequences: 2 });
  expect(first).toEqual(alone);
  expect(second).not.toEqual(alone);
});

test('tokens are sampled with their probabilities', async () => {
  const prompts = Array.from({ length: 4000 }, (_, i) => [1 + (i % 39), 1 + Math.floor(i / 39), 20, 1]);
  const options = { do_sample: true, max_new_tokens: 1, top_k: 4 };
  const counts = new Map<number, number>();
  for (const [token] of await textsOf(prompts, options)) counts.set(token!, (counts.get(token!) ?? 0) + 1);
  const scores = [...tableRow(20, 1).entries()].sort((a, b) => b[1] - a[1]).slice(0, 4);
  const total = scores.reduce((sum, [, score]) => sum + Math.exp(score), 0);
  expect([...counts.keys()].sort()).toEqual(scores.map(([token]) => token).sort());
  for (const [token, score] of scores) expect(counts.get(token)! / 4000).toBeCloseTo(Math.exp(score) / total, 1);
});

test('sampled beams are a function of the seed, and give different texts', async () => {
  const options = { do_sample: true, num_beams: 4, num_return_sequences: 4, max_new_tokens: 12 };
  const texts = await textsOf([[5], [8, 9]], options);
  expect(texts).toEqual(await textsOf([[5], [8, 9]], options));
  expect(new Set(texts.slice(0, 4).map(String)).size).toBe(4);
});

test('a finished text leaves the batch', async () => {
  const steps: number[] = [];
  const config = configOf({ eos_token_id: [31, 38, 24], max_new_tokens: 20 });
  const texts = await search(tableDecoder({ steps }), found.prompts, { config });
  const lengths = texts.map(({ tokens }) => tokens.length);
  expect(steps).toEqual(Array.from({ length: Math.max(...lengths) - 1 }, (_, i) => lengths.filter((n) => n > i + 1).length));
  expect(texts.every(({ finish }) => finish === 'eos_token' || finish === 'length')).toBe(true);
});

test("a stop string ends a text after the same token as transformers' StopStringCriteria (test/golden/stop-strings.py)", async () => {
  const golden = join(import.meta.dirname, '../../../golden');
  const { decode } = await openTokenizer(join(golden, 'tokenizer/gpt2'), {});
  const rows: [ids: number[], begun: number, stops: string[], ended: number | null][] = JSON.parse(
    readFileSync(join(golden, 'stop-strings.json'), 'utf8'),
  );
  for (const [ids, begun, stops, ended] of rows) {
    let found: number | null = null;
    for (let end = begun + 1; end <= ids.length && found === null; end++)
      if (await completesStop(ids.slice(0, end), stops, decode)) found = end - begun;
    expect([stops, found]).toEqual([stops, ended]);
  }
});

test('stop strings, streamed tokens, the context and a signal end a text', async () => {
  const config = configOf({ max_new_tokens: 20, stop_strings: ['x'] });
  const seen: number[] = [];
  const stops = async (tokens: readonly number[]) => tokens.length === 6;
  const [text] = await search(tableDecoder(), [[5]], { config, stops, onToken: (_, token) => void seen.push(token) });
  expect(text).toMatchObject({ finish: 'stop_string', tokens: seen });
  expect(seen).toHaveLength(5);
  const [cut] = await search(tableDecoder({ context: 8 }), [[1, 2, 3]], { config: configOf({ max_new_tokens: 20 }) });
  expect(cut).toMatchObject({ finish: 'length', tokens: { length: 5 } });
  const limited = { ...configOf({ max_length: 500 }), limit: 4 };
  expect(await search(tableDecoder(), [[1, 2, 3]], { config: limited })).toMatchObject([{ finish: 'length', tokens: { length: 4 } }]);
  const stopping = new AbortController();
  const halted = search(tableDecoder(), [[5]], {
    config: configOf({ max_new_tokens: 500 }),
    onToken: () => stopping.abort(new Error('gone')),
    signal: stopping.signal,
  });
  await expect(halted).rejects.toThrow('gone');
});

test.each([
  [{ max_new_tokens: 0 }, 'max_new_tokens is 0, but must be a whole number of at least 1'],
  [{ num_beams: 41 }, 'num_beams is 41, but the model has only 40 tokens'],
  [{ temperature: 0 }, 'temperature is 0, but must be a number greater than 0'],
  [{ top_p: 1.5 }, 'top_p is 1.5, but must be a number of at least 0 and at most 1'],
  [{ early_stopping: 'sometimes' as never }, 'early_stopping is "sometimes", but must be true, false or "never"'],
  [{ stop_strings: [''] }, 'stop_strings is [""], but must be a list of texts'],
  [{ num_return_sequences: 2 }, 'num_return_sequences is 2, but greedy decoding gives only one text'],
  [{ num_return_sequences: 3, num_beams: 2 }, 'num_return_sequences is 3, but num_beams is only 2'],
  [{ top_q: 1 } as GenerationOptions, 'top_q is not a generation option'],
  [{ max_length: 3 }, 'the prompt has 3 tokens, but max_length is 3, including the prompt'],
])('%j is rejected: %s', async (options, message) => {
  await expect(textsOf([[1, 2, 3]], options).catch((error) => Promise.reject(error))).rejects.toThrow(message);
});

test('a prompt as long as the context is rejected', async () => {
  const config = configOf({});
  await expect(search(tableDecoder({ context: 4 }), [[1, 2, 3, 4]], { config })).rejects.toThrow(
    'the prompt has 4 tokens, but the context of the model holds only 4, including the generated ones',
  );
});
