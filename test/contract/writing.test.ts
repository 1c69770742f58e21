/** The generative tasks with the CLI, from rows to a trained folder and its metrics. */
import { expect, test } from 'vitest';
import { made, outputs, trained } from './writing-steps.ts';

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

test('options that do not apply are refused before the run', async () => {
  const p = made('task: causal-lm, block_size: 16, max_length: 16', 'epochs: 1');
  const { code, screen } = await p.run('run', 'p.yaml', '--plain');
  expect(code).toBe(2);
  expect(screen).toContain('`max_length` cannot be combined with `block_size`');
});
