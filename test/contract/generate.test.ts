/** `tunesmith generate` with the real command line. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { deploy } from '../../steps/deploy/deploy.ts';
import { type Project, project } from '../rig.ts';
import { silent } from '../steps/rig.ts';
import { lines, randomModel } from './writer.ts';

const golden = join(import.meta.dirname, '../golden');

/** A golden checkpoint whose tokens are named 0, 1, 2 …, so that prompts and texts are ids. */
function goldenModel(p: Project): void {
  cpSync(join(golden, 'gpt2/causal-lm/checkpoint'), p.path('model'), { recursive: true });
  const { vocab_size } = JSON.parse(p.read('model/config.json'));
  const vocab = Object.fromEntries(Array.from({ length: vocab_size }, (_, id) => [String(id), id]));
  p.write(
    'model/tokenizer.json',
    JSON.stringify({
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: null,
      decoder: null,
      model: { type: 'WordLevel', vocab, unk_token: '0' },
    }),
  );
}

test('200 prompts of a file: the same tokens as transformers, greedy and with beams', async () => {
  const p = project();
  goldenModel(p);
  const { texts, max_new_tokens, searches } = JSON.parse(readFileSync(join(golden, 'generation/gpt2.json'), 'utf8'));
  p.write('prompts.jsonl', texts.map(({ prompt }: { prompt: number[] }) => `${JSON.stringify({ prompt: prompt.join(' ') })}\n`).join(''));
  const flags = ['--file', 'prompts.jsonl', '--max-new-tokens', String(max_new_tokens)];
  const greedy = await p.run('generate', 'model', ...flags);
  expect(greedy.code, greedy.screen).toBe(0);
  const found = lines(greedy.stdout);
  expect(found.map(({ tokens }) => [tokens])).toEqual(texts.map((one: any) => one.greedy));
  expect(found[0]!.text).toBe(found[0]!.tokens.join(' '));
  const { num_beams, early_stopping, length_penalty, no_repeat_ngram_size } = searches.early;
  const beams = await p.run(
    ...['generate', 'model', ...flags, '--num-beams', num_beams, '--early-stopping', early_stopping].map(String),
    ...['--length-penalty', length_penalty, '--no-repeat-ngram-size', no_repeat_ngram_size, '--batch-size', 32].map(String),
  );
  expect(lines(beams.stdout).map(({ tokens }) => [tokens])).toEqual(texts.map((one: any) => one.early));
});

test('one prompt: only the text, with the defaults of the model folder, from the folder or its bundle', async () => {
  const p = project({ 'in.jsonl': '{"prompt": "Hello there"}\n' });
  await randomModel(p, 'causal-lm');
  const [fromFile] = lines((await p.run('generate', 'model', '--file', 'in.jsonl')).stdout);
  expect(fromFile!.tokens).toHaveLength(20); // generation_config.json of the folder
  const shown = await p.run('generate', 'model', 'Hello there');
  expect(shown).toMatchObject({ code: 0, stdout: `${fromFile!.text}\n`, stderr: '' });

  const options = { target: 'bundle', name: 'writer', license: 'apache-2.0' } as const;
  await deploy({ options, inputs: { model: p.path('model') }, outputs: { bundle: p.path('bundle') }, threads: 1, ...silent });
  expect(p.exists('bundle/onnx/model.onnx')).toBe(true);
  expect(p.read('bundle/README.md')).toContain('npx tunesmith generate .');
  expect((await p.run('generate', 'bundle', 'Hello there')).stdout).toBe(shown.stdout);
  const predicted = await p.run('predict', 'bundle', 'in.jsonl');
  expect(predicted.code).toBe(2);
  expect(predicted.stderr).toContain('tunesmith generate');
});

test('the text is streamed', async () => {
  const p = project();
  await randomModel(p, 'causal-lm', { n_positions: 20_000 });
  const started = p.start('generate', 'model', 'Hello', '--max-new-tokens', '15000');
  await p.until(() => started.output().length > 0, 60);
  started.kill('SIGINT');
  const { code, stdout } = await started.done;
  expect([code, stdout.length > 0, stdout.length < 15000]).toEqual([130, true, true]);
});

test('a request that is impossible is refused with a message', async () => {
  const p = project({ 'odd.jsonl': '{"prompt": "ab"}\n{"text": "ab"}\n' });
  await randomModel(p, 'causal-lm');
  const empty = await p.run('generate', 'model', '');
  expect([empty.code, empty.stderr.split('\n')[0]]).toEqual([1, 'error: the prompt is empty']);
  const none = await p.run('generate', 'model', 'a', '--max-new-tokens', '0');
  expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('--max-new-tokens is 0')]);
  const odd = await p.run('generate', 'model', '--file', 'odd.jsonl');
  expect([odd.code, odd.stderr]).toEqual([1, expect.stringContaining('odd.jsonl:2: no field "prompt": it has text')]);
});
