/** `tunesmith models`: what it lists, estimates and recommends. */
import { expect, test } from 'vitest';
import { listed, named, p } from './model-list.ts';

p.env.XDG_CACHE_HOME = p.path('caches');

test('it lists the models of the package and of the hub with all facts, and uses the speed that is kept', async () => {
  const { code, stdout, stderr } = await p.run('models', '--json');
  expect([code, stderr]).toEqual([0, '']);
  const found = JSON.parse(stdout);
  for (const one of found.models) {
    const words = { family: expect.stringMatching(/./), languages: expect.stringMatching(/./), licence: expect.stringMatching(/./) };
    expect(one).toMatchObject(words);
    expect(one.tasks).toContain(one.task);
    for (const figure of ['parameters', 'memory_bytes', 'seconds', 'max_length']) expect(one[figure], figure).toBeGreaterThan(0);
  }
  expect(named(found, 'bert-tiny')).toMatchObject({ source: 'package', task: 'text-classification' });
  expect(named(found, 'google-t5/t5-small')).toMatchObject({ source: 'hub', tasks: ['seq2seq'] });
  const [bert, half] = ['google-bert/bert-base-uncased', 'distilbert/distilbert-base-uncased'].map((name) => named(found, name));
  expect(bert!.memory_bytes).toBeGreaterThan(half!.memory_bytes);
  expect(bert!.seconds).toBeGreaterThan(1.5 * half!.seconds);
});

test('the table fits into 80 columns, explains its notes and ends with a recommendation', async () => {
  const { stdout } = await p.run('models', '--task', 'causal-lm', '--max-length', '64', '--max-time', '100h');
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  expect(stdout).toMatch(/^gpt2-tiny +[\d.]+ MB +\S.* +yes +1/m);
  expect(stdout).toMatch(/^openai-community\/gpt2 +[\d.]+ GB +\S.* +(yes|no)/m);
  expect(stdout).not.toContain('t5-');
  expect(stdout).toMatch(/^note 1: has no weights: its training starts from random ones$/m);
  expect(stdout).toMatch(/^Estimates for causal-lm: 3 epochs over 1,000 texts of 64 tokens/m);
  expect(stdout).toMatch(/^recommended: openai-community\/gpt2: it is the largest of the 2/m);
});

test('with --data, the rows are those of the data', async () => {
  const { rows, notes } = await listed('--task', 'causal-lm', '--data', 'reviews.csv');
  expect(rows).toEqual({ train: 320, validation: 40 });
  expect(notes).toEqual(['tokens of models of the hub, such as openai-community/gpt2, were counted with the tokenizer of bert-tiny']);
});

test('a model folder of the user is listed too; if no model trains in time, the fastest is recommended', async () => {
  const found = await listed('mine', '--task', 'seq2seq', '--max-time', '1s');
  expect(named(found, 'mine')).toMatchObject({ source: 'folder', family: 't5', note: expect.stringContaining('no weights') });
  expect(found.recommended.reason).toContain('it is the fastest');
});

test.each([
  [['--task', 'translation'], 'unknown task "translation"'],
  [['--data', 'missing.csv'], 'missing.csv does not exist'],
  [['--column', 'body'], '--column needs --data'],
  [['--data', 'other.csv', '--task', 'seq2seq'], 'the data have no column `text`'],
  [['--max-time', 'soon'], 'It must be a time such as 90s, 20m or 2h'],
  [['mine', '--task', 'text-classification'], 'a t5 model cannot be trained for text-classification'],
])('models %j is an error', async (args, message) => {
  const { code, stderr } = await p.run('models', ...args);
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(message);
});
