/** The exact ids that tokenize makes of rows for generating models. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { inputsOf, largestBatch } from '../../../steps/ml/models/batches.ts';
import { openSplit, readTokensInfo } from '../../../steps/ml/models/token-dataset.ts';
import { nextTokens } from '../../../steps/ml/tasks/predicted-tokens.ts';
import tokenize from '../../../steps/tokenize/step.ts';
import { ranStep, table, temporary } from '../rig.ts';
import { smallGpt2, smallT5 } from '../writers.ts';

const rows = [
  { id: 'a', prompt: 'ab', text: 'abc', completion: ' c', target: 'is', split: 'train' },
  { id: 'b', prompt: '', text: 'de', completion: 'def', target: 'in is in', split: 'train' },
];

async function tokenized(options: object, { row = {}, last = {}, change = {} }: { row?: object; last?: object; change?: object } = {}) {
  const model = temporary();
  if ((options as { task?: string }).task === 'seq2seq') smallT5(model, ['is', 'in'], change);
  else smallGpt2(model, change);
  const { outputs, log, warnings } = await ranStep(tokenize, options, {
    data: await table(rows.map((one, i) => ({ ...one, ...row, ...(i > 0 && last) }))),
    model,
  });
  const info = await readTokensInfo(outputs.tokens!);
  const split = await openSplit(outputs.tokens!, info, 'train');
  const whole = { sequences: Int32Array.from({ length: split.sequences }, (_, i) => i) };
  const { length, targetLength } = largestBatch(split, split.sequences);
  const inputs = inputsOf(split, { ...whole, length, targetLength }, info);
  split.close();
  const lines = readFileSync(join(outputs.tokens!, 'train-examples.jsonl'), 'utf8').trim().split('\n');
  return { info, inputs, log, warnings, next: nextTokens(inputs, info), examples: lines.map((line) => JSON.parse(line)) };
}

const matrix = ({ data, shape }: { data: ArrayLike<number>; shape: number[] }) =>
  Array.from({ length: shape[0]! }, (_, i) => Array.from({ length: shape[1]! }, (_, j) => data[i * shape[1]! + j]!));

/** In the small GPT-2: 0 ends a text, 1 is the space, then comes ASCII from "!" on. */
const id = (letter: string) => (letter === ' ' ? 1 : letter.charCodeAt(0) - 31);

test('whole texts end with the end-of-text token, and each token is learned from those before it', async () => {
  const { inputs, next } = await tokenized({ task: 'causal-lm' });
  const abc = [id('a'), id('b'), id('c'), 0];
  const de = [id('d'), id('e'), 0];
  expect(matrix(inputs.input_ids!)).toEqual([abc, [...de, 0]]);
  expect(matrix(inputs.attention_mask!)).toEqual([
    [1, 1, 1, 1],
    [1, 1, 1, 0],
  ]);
  expect([...next.label_positions!.data]).toEqual([0, 1, 2, 4, 5]);
  expect([...next.labels!.data]).toEqual([...abc.slice(1), ...de.slice(1)]);
});

test('prompts are not learned, unless the option says so; an empty one is valid', async () => {
  const { inputs, next } = await tokenized({ task: 'causal-lm', completion: 'completion' });
  expect(matrix(inputs.input_ids!)).toEqual([
    [id('a'), id('b'), id(' '), id('c'), 0],
    [id('d'), id('e'), id('f'), 0, 0],
  ]);
  expect([...next.label_positions!.data]).toEqual([1, 2, 3, 5, 6, 7]);
  expect([...next.labels!.data]).toEqual([id(' '), id('c'), 0, id('e'), id('f'), 0]);
  const all = await tokenized({ task: 'causal-lm', completion: 'completion', completion_only_loss: false });
  expect([...all.next.label_positions!.data]).toEqual([0, 1, 2, 3, 5, 6, 7]);
});

test('long texts are split into windows, completions are truncated, blocks ignore the borders of texts', async () => {
  const row = { text: 'abcdefghij', completion: 'abcdefghij' };
  const windows = await tokenized({ task: 'causal-lm', max_length: 8 }, { row });
  expect(matrix(windows.inputs.attention_mask!).map((mask) => mask.reduce((a, b) => a + b))).toEqual([8, 3, 8, 3]);
  expect(windows.examples).toEqual([
    { id: 'a', sequences: 2 },
    { id: 'b', sequences: 2 },
  ]);
  const cut = await tokenized({ task: 'causal-lm', completion: 'completion', max_length: 8 }, { row });
  expect(matrix(cut.inputs.input_ids!)[0]).toEqual([...'ababcdef'].map(id));
  expect(cut.info.splits.train).toMatchObject({ truncated: 2, rows: 2 });
  const blocks = await tokenized({ task: 'causal-lm', block_size: 8 }, { row });
  expect(matrix(blocks.inputs.input_ids!)).toEqual([
    [...'abcdefgh'].map(id),
    [...[...'ij'].map(id), 0, ...[...'abcde'].map(id)],
    [...[...'fghij'].map(id), 0, 0, 0],
  ]);
  expect(blocks.examples.map(({ id }) => id)).toEqual(['block 0', 'block 1', 'block 2']);
});

test('a text that fills its windows exactly keeps its end-of-text token, learned from all tokens before it', async () => {
  const row = { text: 'abcdefgh', completion: 'abcdef' };
  const { inputs, next, log, warnings } = await tokenized({ task: 'causal-lm', max_length: 8 }, { row });
  const end = [...[...'bcdefgh'].map(id), 0];
  expect(matrix(inputs.input_ids!)).toEqual([[...'abcdefgh'].map(id), end, [...'abcdefgh'].map(id), end]);
  const learned = [...[...'bcdefgh'].map(id), 0];
  expect([...next.labels!.data]).toEqual([...learned, ...learned]);
  expect(log).toContain('2 texts fill their windows exactly: each gets one more window, from which only the end-of-text token is learned');
  expect(warnings).toEqual([]);
  // The last block keeps its end too: three and four letters with their ends are nine tokens.
  const blocks = await tokenized({ task: 'causal-lm', block_size: 8 }, { row: { text: 'abc' }, last: { text: 'defg' } });
  const joined = [...'abc'].map(id).concat(0, [...'defg'].map(id), 0);
  expect(matrix(blocks.inputs.input_ids!)).toEqual([joined.slice(0, 8), joined.slice(1)]);
  expect([...blocks.next.labels!.data]).toEqual(joined.slice(1));
});

test('completions that are truncated before their end are counted', async () => {
  const row = { prompt: 'ab', completion: 'cdefgh' };
  const { warnings } = await tokenized({ task: 'causal-lm', completion: 'completion', max_length: 8 }, { row });
  expect(warnings).toEqual(['2 completions are truncated at max_length 8: the model does not learn where they end']);
});

test('targets have their own length limit, and are shifted by one in the decoder', async () => {
  const { info, inputs, next, examples } = await tokenized({ task: 'seq2seq', prefix: 'is ', max_target_length: 3 });
  const [end, is, inn] = [1, 4, 5];
  expect(matrix(inputs.input_ids!)[0]!.slice(0, 2)).toEqual([is, 3]);
  expect(matrix(inputs.input_ids!)[0]!.at(-1)).toBe(end);
  expect(matrix(inputs.labels!)).toEqual([
    [is, end, -100],
    [inn, is, end],
  ]);
  expect(info.splits.train).toMatchObject({ target_tokens: 5, truncated: 1 });
  expect(matrix(next.decoder_input_ids!)).toEqual([
    [0, is, end],
    [0, inn, is],
  ]);
  expect([...next.label_positions!.data]).toEqual([0, 1, 3, 4, 5]);
  expect([...next.labels!.data]).toEqual([is, end, inn, is, end]);
  expect(examples).toEqual([
    { id: 'a', target: 'is' },
    { id: 'b', target: 'in is in' },
  ]);
});

test('targets that the tokenizer cannot represent exactly are counted, and stored beside what it can represent', async () => {
  const { examples, warnings } = await tokenized({ task: 'seq2seq' }, { row: { target: 'is  Ä in' } });
  expect(examples[0]).toEqual({ id: 'a', target: 'is  Ä in', writable: 'is   in' });
  expect(warnings).toEqual([
    'the tokenizer cannot represent 2 of 2 targets exactly: row a "is  Ä in" becomes "is   in"; evaluation compares with what it can represent',
  ]);
});

const long = 'x'.repeat(60);

test.each<[string, object, { row?: object; change?: object }, string]>([
  [
    'a prompt that fills the context',
    { task: 'causal-lm', completion: 'completion' },
    { row: { prompt: long } },
    'row a: the prompt has 60 tokens, so max_length 48 leaves no room',
  ],
  ['an empty target', { task: 'seq2seq' }, { row: { target: '' } }, 'row a: the target "" has no tokens'],
  ['a target of padding', { task: 'seq2seq' }, { row: { target: '<pad><pad>' } }, 'has no tokens except padding'],
  ['a block longer than the context', { task: 'causal-lm', block_size: 64 }, {}, "block_size 64 exceeds the model's limit of 48 tokens"],
  ['a small vocabulary', { task: 'causal-lm' }, { change: { vocab_size: 50 } }, 'the tokenizer has 96 tokens'],
  [
    'another end',
    { task: 'causal-lm' },
    { change: { eos_token_id: 3 } },
    "eos_token_id 3, but the id of the tokenizer's <|endoftext|> is 0",
  ],
  ['no padding token', { label: 'target' }, {}, 'config.json has no pad_token_id'],
  ['a task of other families', { task: 'masked-lm' }, {}, 'a gpt2 model cannot be trained for masked-lm'],
])('%s is reported', async (_, options, given, message) => {
  await expect(tokenized(options, given)).rejects.toMatchObject({ name: 'StepError', message: expect.stringContaining(message) });
});
