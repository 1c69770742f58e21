/** More kinds of models and options for which a raw row gets the same answer from evaluate, predict, generate and the server. */
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  ALL,
  classified,
  cuttingLeft,
  LARGE,
  rowsOf,
  sameAnswers,
  samePairs,
  sameSpans,
  sameWords,
  text,
} from '../../contract/same-answer.ts';
import { root } from '../../rig.ts';
import { temporary } from '../../steps/rig.ts';
import { smallModel } from '../../steps/small.ts';
import { smallGpt2 } from '../../steps/writers.ts';

test.each([
  ['longest_first', 'right'],
  ['only_second', 'right'],
])('a pair with one cleaned text: truncation %s, on the %s', samePairs);

test('multiple labels, and regression; texts truncated on the left', async () => {
  const rows = rowsOf(30, (i) => ({ text: text(i, 2), sad: i % 2, odd: i % 3 === 0 ? 1 : 0, score: (i % 7) / 2 }));
  const model = cuttingLeft(smallModel(LARGE));
  const options = { max_length: 9, problem_type: 'multi_label_classification', label: ['sad', 'odd'] };
  await sameAnswers({ rows, model, tokenize: options, fields: { text: 'text' } }, ({ prediction, scores }) => ({
    labels: prediction,
    scores,
  }));
  const number = { max_length: 9, problem_type: 'regression', label: 'score' };
  await sameAnswers({ rows, model, tokenize: number, fields: { text: 'text' } }, ({ prediction }) => ({ score: prediction }));
});

test('GPT-2 classifies an empty text independently of its batch', async () => {
  const model = temporary();
  smallGpt2(model, { pad_token_id: 0, ...LARGE });
  const { predicted, rows } = await sameAnswers(
    {
      rows: rowsOf(30, (i) => ({ text: text(i), label: i % 2 ? 'good' : 'bad' })),
      model,
      tokenize: { max_length: 20 },
      fields: { text: 'text' },
    },
    classified,
  );
  const empty = rows.filter((row) => row.text === '').map(({ id }) => predicted.get(id).scores.good as number);
  expect(empty.length).toBeGreaterThan(0);
  for (const score of empty) expect(Math.abs(score - empty[0]!)).toBeLessThan(1e-6);
});

const TINY = { vocab_size: 360, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, ...LARGE };

test.each([
  ['roberta', 'roberta', { ...TINY, type_vocab_size: 1, pad_token_id: 1, max_position_embeddings: 40 }],
  [
    'distilbert',
    'bert-cased',
    { ...LARGE, vocab_size: 330, dim: 16, n_layers: 1, n_heads: 2, hidden_dim: 32, max_position_embeddings: 40 },
  ],
  ['albert', 'unigram', { ...TINY, embedding_size: 8, max_position_embeddings: 40 }],
])('%s classifies pairs that were cleaned and are truncated, with its own tokenizer', async (model_type, tokenizer, config) => {
  const model = temporary();
  cpSync(join(root, 'test/golden/tokenizer', tokenizer), model, { recursive: true });
  writeFileSync(join(model, 'config.json'), JSON.stringify({ model_type, ...config }));
  await sameAnswers(
    {
      rows: rowsOf(25, (i) => ({ first: text(i, 3), second: text(i + 5, 2), label: i % 2 ? 'good' : 'bad' })),
      model,
      clean: [{ columns: ['first'], ...ALL }],
      tokenize: { text: 'first', text_pair: 'second', max_length: 20 },
      fields: { text: 'first', text_pair: 'second' },
    },
    classified,
  );
});

test('words, read in windows that start on the left', () => sameWords('left'));

test('a cleaned question with its context in windows with a stride, truncated on the left', () => sameSpans('left'));

test('a pair with one cleaned text: truncation only_first, on the left', () => samePairs('only_first', 'left'));

test('words that the tokenizer splits or drops: a list of words gets the tags that evaluate gives it', async () => {
  const ODD = ['U.S.', 'moon', 'day-spoon', '\u200b', 'LOVELY', "it's", 'was'];
  const rows = rowsOf(30, (i) => {
    const tokens = Array.from({ length: 2 + (i % 9) }, (_, k) => ODD[(i + k * 3) % ODD.length]!);
    return { tokens, tags: tokens.map((_, k) => ['O', 'B-A', 'I-A'][(i + k) % 3]) };
  });
  await sameAnswers(
    { rows, model: smallModel(LARGE), tokenize: { task: 'token-classification', max_length: 8 }, fields: { text: 'tokens' } },
    ({ prediction }) => prediction,
    { said: ({ tags }) => tags },
  );
});
