/** POST /generate: whole and streamed texts, limits, and clients that disconnect. */
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { saveModel, startModel } from '../../../steps/ml/models/model-folder.ts';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { smallGpt2 } from '../writers.ts';
import { receivedBytes } from './bundle.ts';

let folder: string;

let server: RunningServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tunesmith-writer-'));
  smallGpt2(folder, { initializer_range: 0.6, n_positions: 4000 });
  await saveModel(folder, await startModel(folder, { task: 'causal-lm', labels: [], seed: 3, say: () => {} }));
  server = await startServer(folder, { port: 0, limits: { texts: 4, newTokens: 3000, seconds: 600, waiting: 100_000 } });
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

const headers = { 'content-type': 'application/json' };

async function post(body: unknown) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${server.url}/generate`, { method: 'POST', headers, body: text });
  return { status: response.status, headers: response.headers, ...((await response.json()) as any) };
}

/** The events of a stream, in their order. */
async function streamed(body: object): Promise<[name: string, data: any][]> {
  const response = await fetch(`${server.url}/generate`, { method: 'POST', headers, body: JSON.stringify({ ...body, stream: true }) });
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const events = (await response.text()).split('\n\n').filter((event) => event !== '');
  return events.map((event) => {
    const [, name, data] = /^event: (.*)\ndata: (.*)$/.exec(event)!;
    return [name!, JSON.parse(data!)];
  });
}

test('one prompt or several, whole or streamed: the same texts', async () => {
  const { status, texts } = await post({ prompt: ['Hello', 'a longer prompt'], max_new_tokens: 12 });
  expect(status).toBe(200);
  expect(texts).toHaveLength(2);
  expect(texts[0]).toMatchObject({ tokens: { length: 12 }, finish: 'length', text: expect.any(String) });
  expect((await post({ prompt: 'Hello', max_new_tokens: 12 })).texts).toEqual([texts[0]]);
  const events = await streamed({ prompt: ['Hello', 'a longer prompt'], max_new_tokens: 12 });
  expect(events.at(-1)).toEqual(['end', { texts }]);
  const pieces = events.slice(0, -1);
  expect(pieces.length).toBeGreaterThan(12);
  for (const [i, { text }] of texts.entries())
    expect(
      pieces
        .filter(([name, data]) => name === 'piece' && data.text === i)
        .map(([, data]) => data.piece)
        .join(''),
    ).toBe(text);
  const beams = await streamed({ prompt: 'Hello', num_beams: 3, max_new_tokens: 12 });
  expect(beams.map(([name]) => name)).toEqual(['piece', 'end']);
  expect(beams[0]![1].piece).toBe(beams[1]![1].texts[0].text);
});

test('errors of a request are reported with their place', async () => {
  for (const [body, message] of [
    ['', 'the body is not JSON: it is empty'],
    ['[]', 'the body must be an object such as {"prompt": "…"}, not a list'],
    ['{}', 'the field "prompt" is missing'],
    ['{"prompt":1}', '"prompt" must be a string or a list of strings, not a number'],
    ['{"prompt":["a",null]}', '"prompt[1]" must be a string, not null'],
    ['{"prompt":"a","stream":1}', '"stream" must be true or false, not a number'],
    ['{"prompt":"a","max_new_tokens":0}', '"max_new_tokens" is 0, but must be a whole number of at least 1'],
    ['{"prompt":"a","max_new_tokens":3001}', '"max_new_tokens" is 3001, but must be at most 3000 on this server'],
    ['{"prompt":"a","top":1}', '"top" is not a generation option'],
    ['{"prompt":"a","constructor":1}', '"constructor" is not a generation option'],
    ['{"prompt":"a","__proto__":1}', '"__proto__" is not a generation option'],
    ['{"prompt":""}', 'the prompt is empty'],
    [JSON.stringify({ prompt: 'a'.repeat(4001) }), 'the prompt has 4001 tokens, but the context of the model holds only 4000'],
  ]) {
    const { status, error } = await post(body);
    expect({ body: body!.slice(0, 60), status }).toEqual({ body: body!.slice(0, 60), status: 400 });
    expect(error.message).toContain(message);
  }
  expect(await post({ prompt: ['a', 'b', 'c'], num_beams: 2 })).toMatchObject({
    status: 413,
    error: { message: 'prompts times beams or texts makes 6 texts at once, but at most 4 are allowed' },
  });
  expect(await streamed({ prompt: '' })).toEqual([['error', { error: { message: 'the prompt is empty' } }]]);
});

test('requests at the same time have the texts that they have alone, and a short one does not wait for a long one', async () => {
  const bodies = Array.from({ length: 6 }, (_, i) => ({
    prompt: 'Hello '.repeat(1 + 5 * i),
    max_new_tokens: 4 + i,
    ...(i % 2 === 1 && { do_sample: true, seed: i }),
  }));
  const alone = [];
  for (const body of bodies) alone.push((await post(body)).texts);
  const gone = new AbortController();
  const long = fetch(`${server.url}/generate`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ prompt: 'Hello', max_new_tokens: 3000 }),
    signal: gone.signal,
  });
  const ended = expect(long).rejects.toThrow();
  expect(await Promise.all(bodies.slice(0, 4).map(async (body) => (await post(body)).texts))).toEqual(alone.slice(0, 4));
  expect(await Promise.all(bodies.slice(4).map(async (body) => (await post(body)).texts))).toEqual(alone.slice(4));
  gone.abort();
  await ended;
});

test('max_time ends a text', async () => {
  const start = performance.now();
  const { texts } = await post({ prompt: 'Hello', max_new_tokens: 3000, max_time: 0.3 });
  expect(texts[0].finish).toBe('time');
  expect(performance.now() - start).toBeLessThan(20_000);
});

test('a client that disconnects stops the work, whether it waits or streams', async () => {
  for (const stream of [false, true]) {
    const gone = request(`${server.url}/generate`, { method: 'POST', headers });
    gone.on('error', () => {});
    const body = JSON.stringify({ prompt: ['Hello', 'there', 'you', 'all'], max_new_tokens: 3000, stream });
    gone.end(body);
    await receivedBytes(server.url, body.length);
    const metrics = async () => (await fetch(`${server.url}/metrics`)).text();
    // It runs, and does not wait.
    await expect.poll(metrics, { timeout: 20_000 }).toMatch(/^tunesmith_queue_length 0$(.|\n)*^tunesmith_generations_running 1$/m);
    gone.destroy();
    const next = await post({ prompt: 'Hello', max_new_tokens: 2 });
    expect(next.status).toBe(200);
    await expect.poll(metrics, { timeout: 20_000 }).toMatch(/^tunesmith_generations_running 0$/m);
  }
});

test('too many requests at once are rejected', async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => post({ prompt: `${i}`, max_new_tokens: 40 })));
  const refused = answers.filter(({ status }) => status === 503);
  expect(refused.length).toBeGreaterThan(0);
  expect(refused[0]!.headers.get('retry-after')).toBe('1');
  expect(answers.filter(({ status }) => status === 200).length).toBe(8 - refused.length);
});

test('health, the OpenAPI document and the page describe it; /predict does not exist', async () => {
  const get = async (route: string) => (await fetch(server.url + route)).text();
  expect(JSON.parse(await get('/health'))).toMatchObject({ status: 'ok', task: 'causal-lm' });
  const document = JSON.parse(await get('/openapi.json'));
  expect(Object.keys(document.paths)).toEqual(['/generate', '/health', '/metrics']);
  expect(document.components.schemas.Request.properties).toMatchObject({
    max_new_tokens: { maximum: 3000 },
    temperature: { type: 'number' },
  });
  expect(await get('/')).toContain("fetch('generate'");
  expect((await fetch(`${server.url}/predict`, { method: 'POST', body: '{}' })).status).toBe(404);
});

test('an invalid or aborted request does not wait for other texts; one that needs too much memory is rejected', async () => {
  const long = new AbortController();
  const writing = fetch(`${server.url}/generate`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ prompt: 'Hello', max_new_tokens: 3000 }),
    signal: long.signal,
  });
  const order: string[] = [];
  const note = (name: string) => () => void order.push(name);
  const first = writing.then(note('long'), note('long'));
  const second = post({ prompt: '' }).then(({ status }) => note(`mistake ${status}`)());
  await second;
  long.abort();
  await first;
  expect(order).toEqual(['mistake 400', 'long']);
  const large = await startServer(folder, { port: 0, limits: { texts: 1000 } });
  const body = JSON.stringify({ prompt: 'a'.repeat(3999), do_sample: true, num_return_sequences: 250 });
  const refused = await fetch(`${large.url}/generate`, { method: 'POST', headers, body });
  expect([refused.status, await refused.text()]).toEqual([
    400,
    expect.stringMatching(/texts would take up to \d+ MB of memory, but at most 512 MB are allowed/),
  ]);
  await large.close();
});
