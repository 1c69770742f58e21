/** The protocols of other servers: requests and answers as their clients send and read them. */
import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { temporary } from '../rig.ts';
import { smallGpt2, smallT5 } from '../writers.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';
import { oddBodies } from './hostile.ts';

const golden = join(import.meta.dirname, '../../golden');
const servers = new Map<string, RunningServer>();
let model: string;
const folders: string[] = [];
let bundle: string;

/** Of a model that all tests use. */
function folder(name: string): string {
  folders.push(mkdtempSync(join(tmpdir(), `tunesmith-${name}-`)));
  return folders.at(-1)!;
}

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  const open = async (name: string, folder: string, api: string[]) =>
    servers.set(name, await startServer(folder, { port: 0, api, limits: { newTokens: 40, texts: 8 } }));
  await open('classify', bundle, ['huggingface', 'kserve']);
  const gpt2 = folder('gpt2');
  smallGpt2(gpt2, { initializer_range: 0.6 });
  await saveModel(gpt2, await startModel(gpt2, { task: 'causal-lm', labels: [], seed: 3, say: () => {} }));
  await open('gpt2', gpt2, ['huggingface', 'kserve', 'openai']);
  const t5 = folder('t5');
  smallT5(t5, ['the', 'cat', 'sat', 'on', 'mat']);
  await saveModel(t5, await startModel(t5, { task: 'seq2seq', labels: [], seed: 3, say: () => {} }));
  await open('t5', t5, ['huggingface']);
});

afterAll(async () => {
  await Promise.all([...servers.values()].map((server) => server.close()));
  remove(model, bundle, ...folders);
});

async function ask(server: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
  const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(servers.get(server)!.url + path, body === undefined ? {} : post);
  return { status: response.status, body: await response.json() };
}

describe("Hugging Face's inference payload", () => {
  const answers = JSON.parse(readFileSync(join(golden, 'pipelines/answers.json'), 'utf8')) as any[];

  test.each(['classify', 'label', 'rate', 'tag', 'tag-roberta', 'fill'])('%s: the answers of the pipeline', async (name) => {
    const own = answers.filter((each) => each.model === name);
    const folder = temporary();
    cpSync(join(golden, 'tokenizer', own[0].tokenizer), folder, { recursive: true });
    cpSync(join(golden, 'pipelines', name), folder, { recursive: true });
    const server = await startServer(folder, { port: 0, api: ['huggingface'] });
    const key = `golden ${name}`;
    servers.set(key, server);
    for (const { text, parameters, answer } of own) {
      const { status, body } = await ask(key, '/', { inputs: text, parameters });
      expect([status, close(body)]).toEqual([200, close(answer[0]?.label === undefined ? answer : [answer])]);
    }
    if (name === 'fill')
      expect(await ask(key, '/', { inputs: '[MASK] '.repeat(60), parameters: { top_k: 10 } })).toMatchObject({
        status: 400,
        body: { error: expect.stringMatching(/^the text has 60 masks, and 10 tokens for each make 600 filled texts, but at most 500/) },
      });
    await server.close();
    servers.delete(key);
  });

  test('answer: the answers of the pipeline of transformers 4, and refused parameters', async () => {
    const folder = temporary();
    for (const part of ['tokenizer/bert-uncased', 'pipelines/answer']) cpSync(join(golden, part), folder, { recursive: true });
    const server = await startServer(folder, { port: 0, api: ['huggingface'] });
    servers.set('answer', server);
    const questions = JSON.parse(readFileSync(join(golden, 'pipelines/questions.json'), 'utf8')) as any[];
    for (const { inputs, parameters, answer } of questions) {
      const { status, body } = await ask('answer', '/', { inputs, parameters });
      expect([inputs.context, parameters, status, close(body)]).toEqual([inputs.context, parameters, 200, close(answer)]);
    }
    const { inputs, answer } = questions[0];
    expect((await ask('answer', '/', { inputs: [inputs, inputs] })).body).toEqual(
      [close(answer), close(answer)].map(() => expect.objectContaining({ start: answer.start })),
    );
    for (const [parameters, message] of [
      [{ top_k: 0 }, '"parameters.top_k" is 0'],
      [{ max_seq_len: 65 }, '"parameters.max_seq_len" is 65, but must be a whole number of at least 4 and at most 64'],
      [{ max_seq_len: 8 }, 'leaves no room for its context'],
      [{ max_seq_len: 20, doc_stride: 20 }, '"parameters.doc_stride" is 20, but must be below "parameters.max_seq_len": 20'],
      [{ max_seq_len: 20, doc_stride: 15 }, '"parameters.doc_stride" is 15, but must be below'],
      [{ padding: 'longest' }, '"parameters.padding" is not supported for question-answering'],
      [{ align_to_words: 'yes' }, '"parameters.align_to_words" is "yes", but must be true or false'],
    ] as const)
      expect(await ask('answer', '/', { inputs, parameters })).toMatchObject({
        status: 400,
        body: { error: expect.stringContaining(message) },
      });
    expect(await ask('answer', '/', { inputs: { ...inputs, context: ' ' } })).toMatchObject({ status: 400 });
    await server.close();
    servers.delete('answer');
  });

  test('one text and several, the name of the model, pairs and unknown parameters', async () => {
    const one = await ask('classify', '/', { inputs: 'hello' });
    expect(one).toMatchObject({ status: 200, body: [[{ label: expect.any(String) }, { label: expect.any(String) }]] });
    const two = await ask('classify', '/models/tiny', { inputs: ['hello', 'hello'], parameters: { top_k: 1 } });
    expect(two.body).toEqual([[one.body[0][0]], [one.body[0][0]]]);
    expect(await ask('classify', '/models/other', { inputs: 'hello' })).toMatchObject({ status: 404, body: { status: 404 } });
    for (const [body, message] of [
      [{ inputs: 'a', parameters: { temperature: 1 } }, '"parameters.temperature" is not supported for text-classification'],
      [{ inputs: 'a', parameters: { function_to_apply: 'exp' } }, 'must be softmax, sigmoid, none'],
      [{ inputs: 'a', parameters: { top_k: 0 } }, '"parameters.top_k" is 0'],
      [{ inputs: ['a', 1] }, '"inputs[1]" must be a string, not a number'],
      [{ inputs: 'a', stream: true }, '"stream" must be false: a model for text-classification writes no text'],
      [{ inputs: 'a', more: true }, 'unknown field "more"'],
    ] as const)
      expect(await ask('classify', '/', body)).toMatchObject({ status: 400, body: { detail: expect.stringContaining(message) } });
    expect(await (await fetch(`${servers.get('classify')!.url}/`)).text()).toContain('<h1>tiny</h1>');
  });

  test('texts are continued with their prompt or without; seq2seq answers in the form of each pipeline', async () => {
    const { body } = await ask('gpt2', '/', { inputs: 'Hello', parameters: { max_new_tokens: 5 } });
    expect(body[0].generated_text).toMatch(/^Hello./s);
    const parameters = { max_new_tokens: 5, return_full_text: false };
    const [[alone], [other]] = (await ask('gpt2', '/', { inputs: ['Hello', 'a'], parameters })).body;
    expect(`Hello${alone.generated_text}`).toBe(body[0].generated_text);
    expect(other.generated_text).toEqual(expect.any(String));
    const summary = await ask('t5', '/pipeline/summarization', { inputs: 'the cat', parameters: { max_new_tokens: 4 } });
    const [text] = (await ask('t5', '/', { inputs: 'the cat', parameters: { max_new_tokens: 4 } })).body;
    expect(summary.body).toEqual([{ summary_text: text.generated_text }]);
    expect((await ask('gpt2', '/', { inputs: 'a', parameters: { max_new_tokens: 41 } })).status).toBe(400);
    expect((await ask('gpt2', '/', { inputs: 'a', parameters: { watermark: true } })).body.detail).toContain('"parameters.watermark"');
  });
});

describe('text-generation-inference', () => {
  const greedy = { max_new_tokens: 6, do_sample: false };
  const stream = async (body: object) => {
    const response = await fetch(`${servers.get('gpt2')!.url}/`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, stream: true }),
    });
    const text = await response.text();
    if (!response.ok) return [response.status, JSON.parse(text)];
    expect([response.headers.get('content-type'), text.endsWith('\n\n')]).toEqual([expect.stringContaining('text/event-stream'), true]);
    return text
      .trimEnd()
      .split('\n\n')
      .map((event) => JSON.parse(event.replace(/^data:/, '')));
  };

  test('details: the tokens with their log probabilities; a stream has the same tokens, and the text with the last', async () => {
    const [{ generated_text, details }] = (
      await ask('gpt2', '/', { inputs: 'Hello', parameters: { ...greedy, details: true, top_n_tokens: 2 } })
    ).body;
    expect(details).toMatchObject({ finish_reason: 'length', generated_tokens: 6, seed: null, prefill: [] });
    expect(details.tokens.map(({ text }: any) => text).join('')).toBe(generated_text);
    for (const [i, { id, logprob, special }] of details.tokens.entries())
      expect([details.top_tokens[i][0].id, details.top_tokens[i][0].logprob, special]).toEqual([id, logprob, false]);
    const events = await stream({ inputs: 'Hello', parameters: greedy });
    expect(events.map(({ token }) => token)).toEqual(details.tokens);
    expect(events.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6]);
    for (const event of events.slice(0, -1)) expect(event).toMatchObject({ generated_text: null, details: null });
    expect(events.at(-1)).toMatchObject({ generated_text, details: { finish_reason: 'length', generated_tokens: 6, seed: null } });
    const whole = await stream({ inputs: 'Hello', parameters: { ...greedy, return_full_text: true, top_n_tokens: 1 } });
    expect([whole.at(-1).generated_text, whole[0].top_tokens]).toEqual([`Hello${generated_text}`, [details.top_tokens[0][0]]]);
  });

  test('a text ends at a stop string, or at an end token, which is special', async () => {
    const [{ details, generated_text }] = (await ask('gpt2', '/', { inputs: 'Hello', parameters: { ...greedy, details: true } })).body;
    const stop = [generated_text.slice(1, 3)];
    expect((await stream({ inputs: 'Hello', parameters: { ...greedy, stop } })).at(-1)).toMatchObject({
      generated_text: generated_text.slice(0, 3),
      details: { finish_reason: 'stop_sequence', generated_tokens: 3 },
    });
    const ended = await stream({ inputs: 'Hello', parameters: { ...greedy, eos_token_id: details.tokens[1].id } });
    expect(ended.at(-1)).toMatchObject({
      details: { finish_reason: 'eos_token', generated_tokens: 1 + details.tokens.findIndex(({ id }: any) => id === details.tokens[1].id) },
    });
    const sampled = await stream({ inputs: 'Hello', parameters: { ...greedy, do_sample: true, seed: 7 } });
    expect(sampled.at(-1).details.seed).toBe(7);
  });

  test.each([
    [{ inputs: ['a'], parameters: {} }, '"inputs" must be one string'],
    [{ inputs: 'a', parameters: { num_beams: 2 } }, '"parameters.num_beams" is 2'],
    [{ inputs: 'a', parameters: { num_return_sequences: 2, do_sample: true } }, '"parameters.num_return_sequences" is 2'],
    [{ inputs: 'a', parameters: { top_n_tokens: 21 } }, '"parameters.top_n_tokens" is 21'],
    [{ inputs: 'a', parameters: { watermark: true } }, '"parameters.watermark" is not supported'],
    [{ inputs: 'a', parameters: { grammar: {} } }, '"parameters.grammar" is not supported'],
    [{ inputs: 'a', parameters: { max_new_tokens: 41 } }, '"parameters.max_new_tokens" is 41'],
  ])('%j is refused', async (body, message) => {
    expect(await stream(body)).toEqual([400, expect.objectContaining({ error: expect.stringContaining(message) })]);
  });
});

/** Scores have seven digits. */
function close(value: any): any {
  if (typeof value === 'number') return Number.isInteger(value) ? value : Number(value.toFixed(4));
  if (Array.isArray(value)) return value.map(close);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, close(each)]));
}

describe("KServe's Open Inference Protocol", () => {
  test('the server, its health and the metadata of the model', async () => {
    expect((await ask('classify', '/v2')).body).toEqual({ name: 'tunesmith', version: '2', extensions: ['binary_tensor_data'] });
    expect((await ask('classify', '/v2/health/live')).body).toEqual({ live: true });
    expect((await ask('classify', '/v2/health/ready')).body).toEqual({ ready: true });
    expect((await ask('classify', '/v2/models/tiny/ready')).body).toEqual({ name: 'tiny', ready: true });
    expect((await ask('classify', '/v2/models/tiny')).body).toEqual({
      name: 'tiny',
      versions: ['1'],
      platform: 'tunesmith',
      inputs: [{ name: 'text', datatype: 'BYTES', shape: [-1] }],
      outputs: [
        { name: 'label', datatype: 'BYTES', shape: [-1] },
        { name: 'scores', datatype: 'FP64', shape: [-1, 2] },
      ],
    });
    expect(await ask('classify', '/v2/models/other')).toEqual({
      status: 404,
      body: { error: expect.stringContaining('there is no model "other"') },
    });
  });

  const tensor = (data: unknown, shape: unknown = [2], more: object = {}) => ({ name: 'text', datatype: 'BYTES', shape, data, ...more });

  test('tensors of texts are answered by named outputs', async () => {
    const own = (await ask('classify', '/predict', { inputs: ['a', 'b'] })).body.predictions;
    const { body } = await ask('classify', '/v2/models/tiny/infer', { id: '7', inputs: [tensor(['a', 'b'])] });
    expect(body).toEqual({
      model_name: 'tiny',
      model_version: '1',
      id: '7',
      parameters: { labels: '["ham","spam"]' },
      outputs: [
        { name: 'label', datatype: 'BYTES', shape: [2], data: own.map((each: any) => each.label) },
        { name: 'scores', datatype: 'FP64', shape: [2, 2], data: own.flatMap((each: any) => [each.scores.ham, each.scores.spam]) },
      ],
    });
    expect((await ask('classify', '/v2/models/tiny/versions/1/infer', { id: '7', inputs: [tensor(['a', 'b'])] })).body).toEqual(body);
    expect((await ask('classify', '/v2/models/tiny/versions/2')).status).toBe(404);
    // Triton's client sends no type, and says that it wants no binary data.
    const outputs = [{ name: 'label', parameters: { binary_data: false } }];
    const bare = await fetch(`${servers.get('classify')!.url}/v2/models/tiny/infer`, {
      method: 'POST',
      body: Buffer.from(JSON.stringify({ inputs: [tensor(['a', 'b'])], outputs })),
    });
    expect(((await bare.json()) as any).outputs).toEqual([body.outputs[0]]);
    const nested = { inputs: [tensor([['a'], ['b']], [2, 1], { parameters: { content_type: 'str' } })], outputs: [{ name: 'label' }] };
    expect((await ask('classify', '/v2/models/tiny/infer', nested)).body.outputs).toEqual([body.outputs[0]]);
    const written = await ask('gpt2', `/v2/models/${servers.get('gpt2')!.name}/infer`, {
      inputs: [tensor(['a', 'b'])],
      parameters: { max_new_tokens: 3 },
    });
    expect(written.body.outputs).toMatchObject([
      { name: 'text', shape: [2] },
      { name: 'finish', data: ['length', 'length'] },
    ]);
  });

  test.each([
    [{ inputs: [tensor(['a'])] }, 'the input "text" has 1 elements, but the shape [2]'],
    [{ inputs: [tensor(['a', 1])] }, 'has a number as element 1'],
    [{ inputs: [tensor(['a', 'b'], [1, 2])] }, 'must have one element per row'],
    [{ inputs: [tensor(['a'], [-1])] }, 'the shape [-1]'],
    [{ inputs: [{ ...tensor(['a'], [1]), datatype: 'FP32' }] }, 'must have BYTES'],
    [{ inputs: [{ ...tensor(['a'], [1]), name: 'x' }] }, '"inputs[0]" has the name "x"'],
    [{ inputs: [tensor(['a'], [1]), tensor(['a'], [1])] }, 'is given twice'],
    [{ inputs: [] }, 'the input "text" is missing'],
    [{ inputs: [tensor(undefined, [1], { parameters: { binary_data_size: 5 } })] }, 'is 5, but 0 bytes are left after the JSON'],
    [{ inputs: [tensor(undefined, [1], { parameters: { binary_data_size: -1 } })] }, 'must be a number of bytes, not -1'],
    [{ inputs: [tensor(['a'], [1], { parameters: { binary_data_size: 0 } })] }, 'must be left out if the input has "data"'],
    [{ inputs: [tensor(['a'], [1])], outputs: [{ name: 'x' }] }, 'there is no output "x"'],
    [{ inputs: [tensor(['a'], [1])], parameters: { binary_data_output: 1 } }, '"parameters.binary_data_output" must be true or false'],
    [{ inputs: [tensor(['a'], [1])], parameters: { priority: 1 } }, '"parameters.priority" is not supported'],
    [{}, 'the field "inputs" is missing'],
    [[], 'the body must be an object'],
  ])('%.60j is refused in the form of the protocol', async (body, message) => {
    expect(await ask('classify', '/v2/models/tiny/infer', body)).toEqual({
      status: 400,
      body: { error: expect.stringContaining(message) },
    });
  });
});

describe("OpenAI's completions", () => {
  const complete = async (body: object) => (await ask('gpt2', '/v1/completions', body)).body;

  test('a prompt, several texts, echo, stop and the count of tokens', async () => {
    const greedy = { prompt: 'Hello', max_tokens: 6, temperature: 0 };
    const answer = await complete(greedy);
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^cmpl-/),
      object: 'text_completion',
      choices: [{ index: 0, logprobs: null, finish_reason: 'length' }],
      usage: { completion_tokens: 6 },
    });
    const { prompt_tokens, total_tokens } = answer.usage;
    expect([prompt_tokens > 0, total_tokens]).toEqual([true, prompt_tokens + 6]);
    const [{ text }] = answer.choices;
    expect((await complete({ ...greedy, echo: true })).choices[0].text).toBe(`Hello${text}`);
    const stop = text.slice(1, 3);
    const stopped = (await complete({ ...greedy, stop })).choices[0];
    expect(stopped).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish_reason: 'stop' });
    const several = await complete({ prompt: ['Hello', 'a'], n: 2, max_tokens: 3, seed: 1 });
    expect(several.choices.map(({ index }: any) => index)).toEqual([0, 1, 2, 3]);
    expect(several.usage.completion_tokens).toBe(12);
    expect((await complete({ prompt: ['Hello', 'a'], n: 2, max_tokens: 3, seed: 1 })).choices).toEqual(several.choices);
  });

  test.each([
    [{ max_length: 4 }, '"max_length" is not supported here; write "max_tokens"'],
    [{ num_return_sequences: 3 }, 'write "n"'],
    [{ stop_strings: ['x'] }, 'write "stop"'],
    [{ max_new_tokens: 3, max_tokens: 4 }, 'write "max_tokens"'],
    [{ do_sample: true, temperature: 0 }, '"do_sample" is true, but must be false with "temperature" 0'],
    [{ stream_options: { include_usage: true } }, '"stream_options" needs "stream": true'],
  ])('%j is refused: nothing is ignored', async (fields, message) => {
    const { status, body } = await ask('gpt2', '/v1/completions', { prompt: 'a', ...fields });
    expect([status, body.error.message]).toEqual([400, expect.stringContaining(message)]);
  });

  test('max_new_tokens is another name of max_tokens', async () => {
    expect((await complete({ prompt: 'a', max_new_tokens: 3 })).usage.completion_tokens).toBe(3);
  });

  test('log probabilities, the best of several texts, and prompts of tokens', async () => {
    const greedy = { prompt: 'Hello', max_tokens: 5, temperature: 0 };
    const { choices } = await complete({ ...greedy, logprobs: 2 });
    const { tokens, token_logprobs, top_logprobs, text_offset } = choices[0].logprobs;
    expect(tokens.join('')).toBe(choices[0].text);
    expect(text_offset).toEqual(tokens.map((_: string, i: number) => tokens.slice(0, i).join('').length));
    for (const [i, token] of tokens.entries()) {
      expect(Object.keys(top_logprobs[i]).length).toBeGreaterThanOrEqual(1);
      expect(top_logprobs[i][token]).toBe(token_logprobs[i]);
      expect(Math.max(...(Object.values(top_logprobs[i]) as number[]))).toBe(token_logprobs[i]);
    }
    const stop = choices[0].text.slice(2, 4);
    const cut = (await complete({ ...greedy, logprobs: 0, stop })).choices[0];
    expect([cut.logprobs.tokens.join(''), cut.text]).toEqual([cut.text, choices[0].text.slice(0, choices[0].text.indexOf(stop))]);
    const sampled = { prompt: 'Hello', max_tokens: 4, seed: 5, n: 4 };
    const all = await complete({ ...sampled, logprobs: 0 });
    const mean = ({ logprobs }: any) => logprobs.token_logprobs.reduce((a: number, b: number) => a + b, 0) / logprobs.tokens.length;
    const best = all.choices.toSorted((a: any, b: any) => mean(b) - mean(a)).slice(0, 2);
    const chosen = await complete({ ...sampled, n: 2, best_of: 4 });
    expect(chosen.choices.map(({ text, index, logprobs }: any) => [text, index, logprobs])).toEqual([
      [best[0].text, 0, null],
      [best[1].text, 1, null],
    ]);
    expect(chosen.usage.completion_tokens).toBe(16);
    const ids = (await ask('gpt2', '/generate', { prompt: 'Hello', max_new_tokens: 3 })).body.texts[0].tokens;
    const [one, several] = [
      await complete({ ...greedy, prompt: ids, echo: true }),
      await complete({ ...greedy, prompt: [ids, 'Hello', ids] }),
    ];
    expect(several.choices.map(({ text }: any) => text)).toEqual([several.choices[2].text, choices[0].text, several.choices[0].text]);
    expect(one.choices[0].text.endsWith(several.choices[0].text)).toBe(true);
    expect(one.usage.prompt_tokens).toBe(3);
  });

  test('a stream has the same text, and ends with the usage and [DONE]', async () => {
    const body = { prompt: 'Hello', max_tokens: 12, temperature: 0 };
    const { choices, usage } = await complete(body);
    const whole = choices[0].text as string;
    for (const stop of [[], [whole.slice(4, 7)]]) {
      const response = await fetch(`${servers.get('gpt2')!.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...body, stop, logprobs: 1, stream: true, stream_options: { include_usage: true } }),
      });
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      const events = (await response.text())
        .trimEnd()
        .split('\n\n')
        .map((event) => event.replace(/^data: /, ''));
      expect(events.pop()).toBe('[DONE]');
      const chunks = events.map((event) => JSON.parse(event));
      expect(chunks.pop()).toMatchObject({ choices: [], usage: stop.length > 0 ? {} : usage });
      const text = chunks.map((chunk) => chunk.choices[0].text).join('');
      expect(text).toBe(stop.length > 0 ? whole.slice(0, whole.indexOf(stop[0]!)) : whole);
      const tokens = chunks.flatMap((chunk) => chunk.choices[0].logprobs.tokens);
      expect(tokens.join('')).toBe(text);
      expect(chunks.flatMap((chunk) => chunk.choices[0].logprobs.text_offset)).toEqual(
        tokens.map((_: string, i: number) => tokens.slice(0, i).join('').length),
      );
      expect(chunks.at(-1).choices[0].finish_reason).toBe(stop.length > 0 ? 'stop' : 'length');
    }
  });

  test.each([
    [{}, 'the field "prompt" is missing', 'prompt'],
    [{ prompt: [1, 'a'] }, '"prompt" must be a string, a list of token ids, or a list of these, but item 1 is a number', 'prompt'],
    [{ prompt: [1, 9999] }, 'the prompt has the token 9999, but the model has the tokens 0 to 95', null],
    [{ prompt: 'a', max_tokens: 41 }, '"max_tokens" is 41, but must be at most 40', 'max_tokens'],
    [{ prompt: 'a', max_tokens: 0 }, '"max_tokens" is 0', 'max_tokens'],
    [{ prompt: 'a', temperature: 3 }, '"temperature" is 3', 'temperature'],
    [{ prompt: 'a', top_p: 2 }, '"top_p" is 2', 'top_p'],
    [{ prompt: 'a', logprobs: 6 }, '"logprobs" is 6, but must be a whole number from 0 to 5', 'logprobs'],
    [{ prompt: 'a', logprobs: 1, echo: true }, '"logprobs" is 1, but must be left out with "echo"', 'logprobs'],
    [{ prompt: 'a', n: 3, best_of: 2 }, '"best_of" is 2', 'best_of'],
    [{ prompt: 'a', best_of: 2, stream: true }, '"best_of" is 2, but must be the same as "n" with "stream"', 'best_of'],
    [{ prompt: 'a', suffix: 'b' }, '"suffix" is not supported', 'suffix'],
    [{ prompt: 'a', presence_penalty: 1 }, '"presence_penalty" is not supported', 'presence_penalty'],
    [{ prompt: 'a', logit_bias: { 5: 1 } }, '"logit_bias" is not supported', 'logit_bias'],
    [{ prompt: 'a', n: 2, temperature: 0 }, '"n" is 2', 'n'],
    [{ prompt: 'a', stop: [''] }, '"stop" must be', 'stop'],
    [{ prompt: 'a', stop: ['a', 'b', 'c', 'd', 'e'] }, '"stop" must be', 'stop'],
    [{ prompt: 'a', stream_options: { more: 1 } }, '"stream_options.more" is not supported', 'stream_options.more'],
    [{ prompt: 'a', top: 1 }, 'unknown field "top"', 'top'],
  ])('%j is refused in the form of the protocol', async (body, message, param) => {
    const { status, body: answer } = await ask('gpt2', '/v1/completions', body);
    expect([status, answer]).toEqual([
      400,
      { error: { message: expect.stringContaining(message), type: 'invalid_request_error', param, code: null } },
    ]);
  });

  test('the model, and another one', async () => {
    const { name } = servers.get('gpt2')!;
    expect((await ask('gpt2', '/v1/models')).body).toMatchObject({ object: 'list', data: [{ id: name, object: 'model' }] });
    expect((await ask('gpt2', `/v1/models/${name}`)).body.id).toBe(name);
    expect(await ask('gpt2', '/v1/models/other')).toMatchObject({
      status: 404,
      body: { error: { type: 'invalid_request_error', param: 'model', code: 'model_not_found' } },
    });
    expect((await ask('gpt2', '/v1/completions', { model: 'other', prompt: 'a' })).status).toBe(404);
  });
});

const short = { max_new_tokens: 2, do_sample: false, top_k: 3, temperature: 0.5, stop_strings: ['x'], eos_token_id: [1] };
const row = { name: 'text', datatype: 'BYTES', shape: [1], data: ['a'] };

test.each<[string, unknown]>([
  ['/generate', { prompt: ['a'], ...short }],
  ['/', { inputs: ['a'], parameters: { max_new_tokens: 2, return_full_text: false, stop: ['x'], do_sample: true }, options: {} }],
  ['/v2/models/NAME/infer', { inputs: [row], parameters: short, outputs: [{ name: 'text' }] }],
  ['/v1/completions', { model: 'NAME', prompt: ['a'], max_tokens: 2, n: 1, stop: ['x'], seed: 1, echo: false }],
])('%s: whatever a value of a request to write is, the answer is a result or a refusal', async (path, valid) => {
  const { name, url } = servers.get('gpt2')!;
  const called = (text: string) => text.replaceAll('NAME', name);
  const send = (body: string) =>
    fetch(url + called(path), { method: 'POST', headers: { 'content-type': 'application/json' }, body: called(body) });
  expect((await send(JSON.stringify(valid))).status).toBe(200);
  for (const { place, text } of oddBodies(valid)) {
    const answer = await send(text);
    const body = (await answer.json()) as any;
    expect([place, answer.status]).toEqual([place, expect.toBeOneOf([200, 400, 404, 413])]);
    if (answer.status === 200) continue;
    if (path.startsWith('/v2')) expect(body).toEqual({ error: expect.any(String) });
    else if (path.startsWith('/v1')) expect(body.error).toMatchObject({ message: expect.any(String), type: 'invalid_request_error' });
    else expect(body).toMatchObject({ type: 'about:blank', detail: expect.any(String) });
  }
});

test('a protocol that cannot express a task is refused', async () => {
  await expect(startServer(bundle, { port: 0, api: ['openai'] })).rejects.toThrow(
    '--api openai: a model for text-classification writes no text',
  );
  await expect(startServer(bundle, { port: 0, api: ['grpc'] })).rejects.toThrow('--api grpc: there is no such protocol');
});
