/** The generative tasks with the CLI, from rows to a trained folder and its metrics. */
import { expect, test } from 'vitest';
import { project } from '../rig.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';
import { allRows } from '../table.ts';

const NAMES = ['anna', 'bert', 'carl', 'dora', 'emil', 'fred'];
const CITIES = ['paris', 'london', 'oslo', 'rome', 'bonn', 'graz'];

/** Everyone lives in a different city. */
const homes = Array.from({ length: 120 }, (_, i) => {
  const [name, city] = [NAMES[i % 6]!, CITIES[i % 6]!];
  return { id: `row-${i}`, text: `${name} is in ${city}`, prompt: `${name} is`, completion: ` in ${city}`, target: `${city} ${name}` };
});

const pipeline = (tokenize: string, train: string) => `
steps:
  collect: { uses: collect, with: { files: data.jsonl } }
  split: { uses: split, with: { data: "\${{ steps.collect.data }}", key: [id] } }
  tokenize: { uses: tokenize, with: { data: "\${{ steps.split.data }}", model: model, ${tokenize} } }
  train:
    uses: train
    resources: { cpu: 1 }
    with: { tokens: "\${{ steps.tokenize.tokens }}", model: model, batch_size: 8, learning_rate: 0.003, seed: 1, ${train} }
  test: { uses: evaluate, resources: { cpu: 1 }, with: { model: "\${{ steps.train.model }}", tokens: "\${{ steps.tokenize.tokens }}" } }
`;

function made(tokenize: string, train: string) {
  const p = project({ 'p.yaml': pipeline(tokenize, train), 'data.jsonl': homes.map((row) => `${JSON.stringify(row)}\n`).join('') });
  if (tokenize.includes('seq2seq')) smallT5(p.path('model'), ['home', 'is', 'in', ...NAMES, ...CITIES]);
  else smallGpt2(p.path('model'));
  return p;
}

const outputs = '.tunesmith/outputs/p';

async function trained(tokenize: string, train: string) {
  const p = made(tokenize, train);
  const run = await p.run('run', 'p.yaml', '--plain');
  expect(run.code, run.screen).toBe(0);
  const json = (name: string) => JSON.parse(p.read(`${outputs}/${name}`));
  return {
    p,
    screen: run.screen,
    metrics: json('test/metrics'),
    tokens: json('tokenize/tokens/tokens.json'),
    config: json('train/model/config.json'),
    training: json('train/model/training.json'),
    predictions: await allRows(p.path(`${outputs}/test/predictions`)),
  };
}

test('causal-lm with prompts: only completions are learned and measured', async () => {
  const { p, metrics, tokens, config, predictions, screen } = await trained(
    'task: causal-lm, completion: completion',
    'epochs: 12, label_smoothing_factor: 0.01',
  );
  expect(tokens).toMatchObject({ task: 'causal-lm', max_length: 48, pad_token_id: 0 });
  expect(config.architectures).toEqual(['GPT2LMHeadModel']);
  expect(metrics.metrics.perplexity).toBeLessThan(1.1);
  expect(metrics.metrics.accuracy).toBeGreaterThan(0.97);
  // ` in paris` and the end token, but nothing of `anna is`.
  for (const { tokens } of predictions) expect([8, 9, 10]).toContain(tokens);
  expect(metrics.tokens).toBe(predictions.reduce((sum, one) => sum + one.tokens, 0));
  expect(screen).toMatch(/validation perplexity/);
  // The generation settings of the folder are kept with the model.
  expect(JSON.parse(p.read(`${outputs}/train/model/generation_config.json`))).toMatchObject({ max_new_tokens: 20 });
  p.write('in.jsonl', '{"text":"anna is"}\n');
  const predicted = await p.run('predict', `${outputs}/train/model`, 'in.jsonl');
  expect(predicted.code).toBe(2);
  expect(predicted.screen).toContain('tunesmith generate');
});

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

test('options that do not apply are refused before the run', async () => {
  const p = made('task: causal-lm, block_size: 16, max_length: 16', 'epochs: 1');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(2);
  expect(screen).toContain('`max_length` cannot be combined with `block_size`');
});
