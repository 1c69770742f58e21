/**
 * The server's protocols through the clients of their owners, installed into an empty folder: @huggingface/inference and openai, and in
 * Python tritonclient and huggingface_hub. Needs the npm registry and PyPI; TUNESMITH_TEST_PYTHON may name a Python.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { saveModel, startModel } from '../../steps/ml/models/model-folder.ts';
import { type RunningServer, startServer } from '../../steps/serving/serve.ts';
import { makeBundle, makeModel } from '../steps/serving/bundle.ts';
import { smallGpt2, smallT5 } from '../steps/writers.ts';

const folder = mkdtempSync(join(tmpdir(), 'tunesmith-clients-'));
const golden = join(import.meta.dirname, '../golden');
const servers: Record<string, RunningServer> = {};
const KEY = 'a-key-of-the-test';
let hub: any;
let OpenAI: any;
let Validator: any;

beforeAll(async () => {
  writeFileSync(join(folder, 'package.json'), '{"private": true, "type": "module"}');
  const packages = ['@huggingface/inference@4.13.30', 'openai@7.59.0', '@seriousme/openapi-schema-validator@2.11.0'];
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...packages], { cwd: folder, stdio: 'pipe' });
  // Not resolved from this file: the packages are there and nowhere else.
  writeFileSync(
    join(folder, 'load.js'),
    "export { InferenceClient } from '@huggingface/inference';\nexport { default as OpenAI } from 'openai';\nexport { Validator } from '@seriousme/openapi-schema-validator';\n",
  );
  const clients = await import(/* @vite-ignore */ pathToFileURL(join(folder, 'load.js')).href);
  hub = new clients.InferenceClient(KEY, { retry_on_error: false });
  OpenAI = clients.OpenAI;
  Validator = clients.Validator;
  writeFileSync(join(folder, 'keys'), `test:${KEY}\n`);
  const model = (name: string) => join(folder, name);
  const pipeline = (name: string) => {
    cpSync(join(golden, 'tokenizer/bert-uncased'), model(name), { recursive: true });
    cpSync(join(golden, 'pipelines', name), model(name), { recursive: true });
    return model(name);
  };
  cpSync(await makeBundle(await makeModel()), model('classify'), { recursive: true });
  const write = async (name: string, task: 'causal-lm' | 'seq2seq', make: (folder: string) => void) => {
    make(model(name));
    await saveModel(model(name), await startModel(model(name), { task, labels: [], seed: 3, say: () => {} }));
    return model(name);
  };
  const start = async (name: string, given: string, api: string[]) => {
    servers[name] = await startServer(given, { port: 0, api, apiKeyFile: join(folder, 'keys') });
  };
  await start('classify', model('classify'), ['huggingface', 'kserve']);
  await start('tag', pipeline('tag'), ['huggingface']);
  await start('fill', pipeline('fill'), ['huggingface']);
  await start('gpt2', await write('gpt2', 'causal-lm', (at) => smallGpt2(at, { initializer_range: 0.6 })), ['huggingface', 'openai']);
  await start('t5', await write('t5', 'seq2seq', (at) => smallT5(at, ['the', 'cat'])), ['huggingface']);
});

afterAll(async () => {
  await Promise.all(Object.values(servers).map((server) => server.close()));
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string, path = '') => `${servers[name]!.url}${path}`;

describe('@huggingface/inference', () => {
  test('classifies, tags and fills in', async () => {
    const labels = await hub.textClassification({ endpointUrl: at('classify'), inputs: 'hello' });
    expect(labels.map(({ label }: any) => label).sort()).toEqual(['ham', 'spam']);
    expect(labels[0].score).toBeGreaterThanOrEqual(labels[1].score);
    const one = await hub.textClassification({
      endpointUrl: at('classify'),
      inputs: 'hello',
      parameters: { top_k: 1, function_to_apply: 'none' },
    });
    expect(one).toHaveLength(1);
    const entities = await hub.tokenClassification({
      endpointUrl: at('tag'),
      inputs: 'the cat sat',
      parameters: { aggregation_strategy: 'first' },
    });
    expect(entities[0]).toMatchObject({ entity_group: expect.any(String), word: expect.any(String), start: expect.any(Number) });
    const filled = await hub.fillMask({ endpointUrl: at('fill'), inputs: 'the [MASK] sat' });
    expect(filled).toHaveLength(5);
  });

  test('writes, whole and streamed, and summarizes', async () => {
    const parameters = { max_new_tokens: 6, do_sample: false };
    const { generated_text } = await hub.textGeneration({ endpointUrl: at('gpt2'), inputs: 'Hello', parameters });
    expect(generated_text).toEqual(expect.any(String));
    let text = '';
    for await (const chunk of hub.textGenerationStream({ endpointUrl: at('gpt2'), inputs: 'Hello', parameters }))
      text += chunk.choices[0].text;
    expect(text).toBe(generated_text);
    const { summary_text } = await hub.summarization({ endpointUrl: at('t5', '/pipeline/summarization'), inputs: 'the cat' });
    expect(summary_text).toEqual(expect.any(String));
  });

  test('shows the reason of an error', async () => {
    const wrong = hub.textClassification({ endpointUrl: at('classify'), inputs: 'a', parameters: { top_k: 0 } });
    await expect(wrong).rejects.toThrow('"parameters.top_k" is 0');
  });
});

describe('openai', () => {
  const open = (apiKey = KEY) => new OpenAI({ baseURL: at('gpt2', '/v1'), apiKey, maxRetries: 0 });

  test('lists the model, completes, and streams the same text', async () => {
    const client = open();
    const models = await client.models.list();
    expect(models.data.map(({ id }: any) => id)).toEqual(['gpt2']);
    const request = { model: 'gpt2', prompt: 'Hello', max_tokens: 12, temperature: 0 };
    const { choices, usage } = await client.completions.create(request);
    expect([choices[0].finish_reason, usage.completion_tokens]).toEqual(['length', 12]);
    let text = '';
    for await (const chunk of await client.completions.create({ ...request, stream: true })) text += chunk.choices[0].text;
    expect(text).toBe(choices[0].text);
    const several = await client.completions.create({ ...request, temperature: 1, n: 2, best_of: 3, seed: 1, logprobs: 2 });
    expect(several.choices.map(({ logprobs }: any) => logprobs.tokens.length)).toEqual([12, 12]);
    expect((await client.models.retrieve('gpt2')).id).toBe('gpt2');
    const stream = await client.completions.create({ ...request, stream: true, stream_options: { include_usage: true } });
    let last: any;
    for await (const chunk of stream) last = chunk;
    expect(last.usage).toEqual(usage);
  });

  test('maps refusals to its own errors', async () => {
    await expect(open('another').models.list()).rejects.toMatchObject({ status: 401, type: 'authentication_error' });
    await expect(open().completions.create({ model: 'other', prompt: 'a' })).rejects.toMatchObject({ status: 404 });
    const wrong = open().completions.create({ model: 'gpt2', prompt: 'a', suffix: 'b' });
    await expect(wrong).rejects.toMatchObject({
      status: 400,
      param: 'suffix',
      message: expect.stringContaining('"suffix" is not supported'),
    });
  });
});

test('the OpenAPI documents are valid by the schema of OpenAPI 3.1', async () => {
  for (const name of Object.keys(servers)) {
    const document = await (await fetch(at(name, '/openapi.json'), { headers: { authorization: `Bearer ${KEY}` } })).json();
    expect([name, await new Validator().validate(document)]).toEqual([name, { valid: true }]);
  }
  const { security, components } = (await (await fetch(at('gpt2', '/openapi.json'), { headers: { 'x-api-key': KEY } })).json()) as any;
  expect(security.flatMap(Object.keys)).toEqual(Object.keys(components.securitySchemes));
});

test("Python's tritonclient, with binary tensors, and huggingface_hub, which streams", async () => {
  const packages = join(folder, 'python');
  const python = process.env.TUNESMITH_TEST_PYTHON ?? 'python3';
  const install = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', packages];
  execFileSync(python, [...install, 'tritonclient[http]==2.73.0', 'huggingface_hub==2.4.0'], { stdio: 'pipe' });
  const script = join(import.meta.dirname, 'protocol-clients.py');
  // The server runs in this process, which must answer meanwhile.
  const { stdout } = await promisify(execFile)(python, [script, at('classify'), at('gpt2'), KEY], {
    env: { ...process.env, PYTHONPATH: packages, NO_PROXY: '*' },
  });
  const said = JSON.parse(stdout);
  const response = await fetch(at('classify', '/predict'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ inputs: said.texts }),
  });
  const { predictions } = (await response.json()) as { predictions: { label: string; scores: Record<string, number> }[] };
  expect(said.labels).toEqual(predictions.map(({ label }) => label));
  expect(said.scores).toEqual(predictions.map(({ scores }) => Object.values(scores)));
  expect(said).toMatchObject({ live: true, ready: true, same: true, compressed: expect.stringContaining('must not be compressed') });
  const [text, reason, logprobs] = said.whole;
  expect([said.streamed, said.last, said.logprobs]).toEqual([text, [text, reason, 6], logprobs]);
});
