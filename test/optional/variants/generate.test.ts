/** `tunesmith generate`: sampling, T5, and every impossible request. */
import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import { lines, randomModel } from '../../contract/writer.ts';
import { project } from '../../rig.ts';

test('sampled texts depend only on the seed; stop strings and several texts', async () => {
  const p = project();
  await randomModel(p, 'causal-lm');
  const draw = async (...flags: string[]) => (await p.run('generate', 'model', 'Hello', '--do-sample', ...flags)).stdout;
  const first = await draw('--seed', '7', '--temperature', '1.5');
  expect(first).toHaveLength(21);
  expect(await draw('--seed', '7', '--temperature', '1.5')).toBe(first);
  expect(await draw('--seed', '8', '--temperature', '1.5')).not.toBe(first);
  const [a, b] = [first[4]!, first[9]!];
  const stopped = await draw('--seed', '7', '--temperature', '1.5', '--stop', a, '--stop', b);
  expect(stopped).toBe(`${first.slice(0, 1 + Math.min(first.indexOf(a), first.indexOf(b)))}\n`);
  const two = (await draw('--num-return-sequences', '2', '--seed', '7', '--temperature', '1.5')).split('\n');
  expect([two.length, two[0]]).toEqual([3, first.trimEnd()]);
});

test('T5 generates a text from a text', async () => {
  const p = project({ 'in.jsonl': '{"prompt": "the cat"}\n{"prompt": "a longer text than that", "id": 2}\n{"prompt": "on"}\n' });
  await randomModel(p, 'seq2seq');
  const { code, stdout } = await p.run('generate', 'model', '--file', 'in.jsonl', '--num-beams', '2', '--max-new-tokens', '5');
  expect(code).toBe(0);
  expect(lines(stdout)).toHaveLength(3);

  // Rows of the training data are valid inputs.
  p.write('model/training.json', '{"fields": {"text": "body"}, "files": {"text": "doc"}, "max_length": 20}');
  p.write(
    'rows.jsonl',
    '{"body": "the cat", "id": 7}\n{"prompt": "a longer text than that", "body": "no", "doc": "no"}\n{"doc": "on", "body": "no"}\n',
  );
  const rows = await p.run('generate', 'model', '--file', 'rows.jsonl', '--num-beams', '2', '--max-new-tokens', '5');
  expect(rows.stdout, rows.stderr).toBe(stdout);
  rmSync(p.path('model/training.json'));
  // An empty text is valid: it has only the end token.
  expect((await p.run('generate', 'model', '')).code).toBe(0);

  // generation_config.json takes precedence over config.json for the decoder's start token.
  const first = lines((await p.run('generate', 'model', '--file', 'in.jsonl')).stdout)[0]!.tokens;
  p.write('model/generation_config.json', '{"decoder_start_token_id": 9, "eos_token_id": 1}');
  const other = lines((await p.run('generate', 'model', '--file', 'in.jsonl')).stdout)[0]!.tokens;
  p.write('model/config.json', JSON.stringify({ ...JSON.parse(p.read('model/config.json')), decoder_start_token_id: 9 }));
  rmSync(p.path('model/generation_config.json'));
  const same = lines((await p.run('generate', 'model', '--file', 'in.jsonl')).stdout)[0]!.tokens;
  expect([other, same]).toEqual([same, expect.not.arrayContaining(first)]);
  p.write('model/generation_config.json', '{"decoder_start_token_id": 900}');
  expect((await p.run('generate', 'model', 'the cat')).stderr).toContain(
    'decoder_start_token_id is 900, but must be the id of one of the model',
  );
});

test('impossible requests are refused with a message', async () => {
  const p = project({
    'bad.jsonl': '{"prompt": "ab"}\n{"prompt": ""}\n',
    'odd.jsonl': '{"prompt": "ab"}\n{"text": "ab"}\n',
    'none.jsonl': '',
  });
  await randomModel(p, 'causal-lm');
  const say = async (...args: string[]) => {
    const { code, stderr } = await p.run('generate', ...args);
    return `${code} ${stderr.split('\n')[0]}`;
  };
  expect(await say('model', '')).toBe('1 error: the prompt is empty');
  expect(await say('model', 'a'.repeat(48))).toBe(
    '1 error: the prompt has 48 tokens, but the context of the model holds only 48, including the generated ones',
  );
  expect(await say('model', 'a', '--max-new-tokens', '0')).toBe('2 error: --max-new-tokens is 0, but must be a whole number of at least 1');
  expect(await say('model', 'a', '--num-beams', '97')).toBe('1 error: num_beams is 97, but the model has only 96 tokens');
  expect(await say('model')).toBe('2 error: generate needs a prompt or a file of prompts');
  expect(await say('model', 'Once', 'upon')).toBe('2 error: the prompt consists of several arguments');
  expect(await say('nowhere', 'a')).toBe('2 error: the folder nowhere does not exist');

  const bad = await p.run('generate', 'model', '--file', 'bad.jsonl');
  expect([bad.code, lines(bad.stdout).length, bad.stderr.split('\n')[0]]).toEqual([1, 1, 'error: bad.jsonl:2: the prompt is empty']);
  expect(await say('model', '--file', 'odd.jsonl')).toBe('1 error: odd.jsonl:2: no field "prompt": it has text');
  expect(await p.run('generate', 'model', '--file', 'none.jsonl')).toMatchObject({ code: 0, stdout: '' });

  const own = p.read('model/generation_config.json');
  p.write('model/generation_config.json', '{"typical_p": 0.5}');
  expect(await say('model', 'a')).toBe('2 error: generation_config.json: typical_p 0.5 is not supported');
  // Old folders have it in config.json, where transformers also reads it.
  rmSync(p.path('model/generation_config.json'));
  const config = JSON.parse(p.read('model/config.json'));
  p.write('model/config.json', JSON.stringify({ ...config, bad_words_ids: [[5]] }));
  expect(await say('model', 'a')).toBe('2 error: config.json: bad_words_ids [[5]] is not supported');
  p.write('model/config.json', JSON.stringify({ ...config, max_length: 5 }));
  expect((await p.run('generate', 'model', 'ab')).stdout).toHaveLength(4);
  p.write('model/config.json', JSON.stringify(config));
  p.write('model/generation_config.json', own);
  const tokenizer = JSON.parse(p.read('model/tokenizer.json'));
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 200, content: '<more>' });
  p.write('model/tokenizer.json', JSON.stringify(tokenizer));
  expect(await say('model', 'a')).toMatch(/^2 error: the tokenizer has \d+ tokens, but the model's embedding table has only 96 rows$/);
});
