/** Careless and hostile clients: refusals with a reason, nothing about the machine, and the next request is answered. The long form is in test/optional. */
import { connect, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { root } from '../../rig.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';
import { checkAnswer, exchange, hostileRequest, oddBodies, randomOf } from './hostile.ts';

let model: string;
let bundle: string;
let server: RunningServer;
const said: string[] = [];

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  const say = (line: string) => said.push(line);
  const api = ['huggingface', 'kserve', 'sagemaker', 'vertex', 'azureml'];
  server = await startServer(bundle, { port: 0, api, limits: { waiting: 2 ** 24 }, say });
});

afterAll(async () => {
  await server.close();
  remove(model, bundle);
});

const json = (body: string | Buffer, path = '/predict') =>
  fetch(server.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: body as BodyInit });

const metric = async (name: string) =>
  Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(await (await fetch(`${server.url}/metrics`)).text())![1]);

test('300 random requests: each is answered or refused with a reason, and nothing fails inside', async () => {
  const random = randomOf(19);
  const secrets = [root, bundle, model, homedir(), 'node_modules', '.ts:', 'file://'].filter((secret) => secret.length > 2);
  const statuses: string[] = [];
  for (let round = 0; round < 15; round++) {
    const requests = Array.from({ length: 20 }, () => hostileRequest(random));
    const answers = await Promise.all(requests.map((request) => exchange(server.url, request)));
    for (const [i, answer] of answers.entries()) {
      checkAnswer(requests[i]!, answer, secrets);
      statuses.push(answer.slice(9, 12));
    }
  }
  for (const status of ['200', '400', '403', '404', '405', '415']) expect(statuses).toContain(status);
  expect(statuses.filter((status) => status !== '').length).toBeGreaterThan(250);
  expect(said).toEqual([]);
  expect((await json('{"inputs":"hello"}')).status).toBe(200);
});

test('a text of 10 MB, 10,000 inputs and a deep list are refused with a problem document', async () => {
  const bodies = [
    [JSON.stringify({ inputs: 'x'.repeat(10 * 2 ** 20) }), 413],
    [JSON.stringify({ inputs: 'x'.repeat(200_000) }), 413],
    [JSON.stringify({ inputs: Array(10_000).fill('a') }), 413],
    [`{"inputs":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 400],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 400],
  ] as const;
  for (const [body, status] of bodies) {
    const answer = await json(body);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json']);
    expect(await answer.json()).toMatchObject({ type: 'about:blank', status, detail: expect.any(String) });
  }
});

test('a flood past the queue: answers or 503 with Retry-After', async () => {
  const body = JSON.stringify({ inputs: Array(100).fill('word '.repeat(4000)) });
  const answers = await Promise.all(Array.from({ length: 24 }, () => json(body)));
  const statuses = answers.map(({ status }) => status);
  expect([...new Set(statuses)].sort()).toEqual([200, 503]);
  for (const answer of answers) {
    if (answer.status === 503) expect(answer.headers.get('retry-after')).toBe('1');
    await answer.text();
  }
});

test('slow and half-open connections neither hold memory nor delay others', async () => {
  const { port } = new URL(server.url);
  const sockets: Socket[] = [];
  const open = (text: string, end = false) => {
    const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
    if (end) socket.end(text);
    else socket.write(text);
    sockets.push(socket);
  };
  const head = 'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
  for (let i = 0; i < 50; i++) {
    open('P');
    open(head);
    open(`${head}Content-Length: 100\r\n\r\n{"inputs":`);
    open(`${head}Content-Length: 100\r\n\r\n{`, true);
    open('', true);
  }
  const start = performance.now();
  expect((await json('{"inputs":"hello"}')).status).toBe(200);
  expect(performance.now() - start).toBeLessThan(10_000);
  for (const socket of sockets) socket.destroy();
  await vi.waitFor(async () => expect(await metric('tunesmith_waiting_bytes')).toBe(0), { timeout: 20_000, interval: 50 });
});

const tensor = { name: 'text', datatype: 'BYTES', shape: [2, 1], data: [['a'], ['b']], parameters: { content_type: 'str' } };

test.each<[string, unknown]>([
  ['/predict', { inputs: ['a', { text: 'b' }] }],
  ['/', { inputs: ['a', { text: 'b' }], parameters: { top_k: 1, function_to_apply: 'softmax' }, options: { use_cache: true } }],
  [
    '/v2/models/tiny/infer',
    {
      id: '1',
      parameters: { binary_data_output: false },
      inputs: [tensor],
      outputs: [{ name: 'label', parameters: { binary_data: false } }],
    },
  ],
  ['/invocations', { instances: ['a', { text: 'b' }], parameters: {} }],
  ['/vertex/predict', { instances: ['a', { text: 'b' }], parameters: {} }],
  ['/score', { input_data: ['a', { text: 'b' }], params: {} }],
  ['/score', { input_data: { columns: ['text'], index: [0], data: [['a']] } }],
])('%s: whatever a value of the body is, the answer is a result or a refusal in the form of the protocol', async (path, valid) => {
  const before = said.length;
  expect((await json(JSON.stringify(valid), path)).status).toBe(200);
  for (const { place, text } of oddBodies(valid)) {
    const answer = await json(text, path);
    const bytes = await answer.text();
    expect([place, answer.status]).toEqual([place, expect.toBeOneOf([200, 400, 404, 413])]);
    // It may be binary.
    if (answer.status === 200) continue;
    const body = JSON.parse(bytes);
    if (path.startsWith('/v2')) expect(body).toEqual({ error: expect.any(String) });
    else
      expect([place, body]).toEqual([
        place,
        expect.objectContaining({ type: 'about:blank', status: answer.status, detail: expect.any(String) }),
      ]);
    expect(JSON.stringify(body).length).toBeLessThan(10_000);
  }
  expect(said.slice(before)).toEqual([]);
});
