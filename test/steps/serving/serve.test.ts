import { request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { Connections } from '../../../steps/serving/connections.ts';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { mails } from '../../mails.ts';
import { project } from '../../rig.ts';
import { makeBundle, makeModel, receivedBytes, referenceScores, remove } from './bundle.ts';

let model: string;
let bundle: string;
let server: RunningServer;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  server = await startServer(bundle, { port: 0, limits: { body: 2_000_000, inputs: 60, characters: 1_000_000, waiting: 8_000_000 } });
});

afterAll(async () => {
  await server.close();
  remove(model, bundle);
});

async function post(body: unknown, url = server.url) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(`${url}/predict`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: text });
  return { status: response.status, headers: response.headers, ...((await response.json()) as any) };
}

test('50 raw mails: the scores of the model, together or one by one', async () => {
  const texts = Object.values(mails(10)).map((file) => JSON.parse(file.toString()).text as string);
  const reference = await referenceScores(bundle, texts);
  const together = (await post({ inputs: texts })).predictions;
  const single = await Promise.all(texts.map(async (inputs) => (await post({ inputs })).predictions[0]));
  for (const predictions of [together, single]) {
    expect(predictions).toHaveLength(50);
    for (const [i, { label, scores }] of predictions.entries()) {
      expect(Object.keys(scores)).toEqual(['ham', 'spam']);
      expect(Math.abs(scores.ham - reference[i]![0]!)).toBeLessThan(1e-5);
      expect(Math.abs(scores.spam - reference[i]![1]!)).toBeLessThan(1e-5);
      expect(Math.abs(scores.ham + scores.spam - 1)).toBeLessThan(1e-6);
      expect(label).toBe(reference[i]![0]! > reference[i]![1]! ? 'ham' : 'spam');
    }
  }
});

test('any text has an answer: empty, long, emoji, control characters, an unpaired surrogate', async () => {
  const { status, predictions } = await post({ inputs: ['', ' ', 'x'.repeat(1_000_000), '😀👩‍👩‍👧', '\u0000\u0007\u202e', '\ud83d'] });
  expect(status).toBe(200);
  expect(predictions).toHaveLength(6);
  expect(await post({ inputs: [] })).toMatchObject({ status: 200, predictions: [] });
});

test('a server with `record` writes each answered request, and counts the records in /metrics', async () => {
  const p = project();
  const recording = await startServer(bundle, { port: 0, record: p.path('records') });
  try {
    const { predictions } = await post({ inputs: ['one', 'two'] }, recording.url);
    await post({ inputs: 3 }, recording.url);
    await vi.waitFor(async () =>
      expect(await (await fetch(`${recording.url}/metrics`)).text()).toContain('tunesmith_records_total{outcome="written"} 2'),
    );
    const [file] = p.find('records');
    const lines = p
      .read(file!)
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ input, answer }) => ({ input, answer }))).toEqual(
      ['one', 'two'].map((text, i) => ({ input: { text }, answer: predictions[i] })),
    );
    expect(await (await fetch(`${server.url}/metrics`)).text()).not.toContain('tunesmith_records_total');
  } finally {
    await recording.close();
  }
});

test('errors of a request are reported with their place', async () => {
  for (const [body, message] of [
    ['', 'the body is not JSON: it is empty'],
    ['{', 'the body is not JSON'],
    ['[]', 'the body must be an object such as {"inputs": "…"}, not a list'],
    ['{}', 'the field "inputs" is missing'],
    ['{"inputs":1}', '"inputs" must be a string or a list of strings, not a number'],
    ['{"inputs":["a",null]}', '"inputs[1]" must be a string, not null'],
    ['{"inputs":"a","parameters":{}}', 'unknown field "parameters"'],
  ]) {
    const { status, error } = await post(body);
    expect({ body, status }).toEqual({ body, status: 400 });
    expect(error.message).toContain(message);
  }
  expect(await post({ inputs: Array(61).fill('a') })).toMatchObject({
    status: 413,
    error: { message: 'the request has 61 inputs, but at most 60 are allowed at once' },
  });
  expect(await post({ inputs: 'x'.repeat(2_000_001) })).toMatchObject({ status: 413 });
  const nowhere = await fetch(`${server.url}/nowhere`);
  expect([nowhere.status, (await nowhere.json()).error.message]).toEqual([404, expect.stringContaining('/predict')]);
  const wrong = await fetch(`${server.url}/predict`);
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'POST']);
  await wrong.json();
});

test('requests beyond the limit are rejected, and the others are answered', async () => {
  const texts = Array.from({ length: 60 }, (_, i) => `${i} ${'word '.repeat(2000)}`);
  const answers = await Promise.all(Array.from({ length: 12 }, () => post({ inputs: texts })));
  const refused = answers.filter(({ status }) => status === 503);
  expect(refused.length).toBeGreaterThan(0);
  for (const { headers, error } of refused)
    expect([headers.get('retry-after'), error.message]).toEqual(['1', expect.stringContaining('the server is overloaded')]);
  const served = answers.filter(({ status }) => status === 200);
  expect(served.length + refused.length).toBe(12);
  for (const { predictions } of served) expect(predictions).toEqual(served[0].predictions);
});

test('a client that sends all of a refused body, slowly, before it reads sees the answer, and its connection goes on', async () => {
  const { port } = new URL(server.url);
  const socket = connect(Number(port), '127.0.0.1');
  const headers = (bytes: number) =>
    `POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${bytes}\r\n\r\n`;
  const piece = 'x'.repeat(1_000_000);
  socket.write(headers(7 * piece.length));
  for (let i = 0; i < 7; i++) {
    await new Promise<void>((resolve, reject) => socket.write(piece, (error) => (error ? reject(error) : setTimeout(resolve, 10))));
  }
  socket.write(`${headers(2)}{}`);
  let answers = '';
  socket.setEncoding('utf8').on('data', (text) => {
    answers += text;
  });
  await vi.waitFor(() => expect(answers).toMatch(/^HTTP\/1\.1 413 [\s\S]*HTTP\/1\.1 400 [\s\S]*is missing/), 10_000);
  socket.destroy();
});

test('a refused body that does not end is not read for ever', async () => {
  const sent = await new Promise<number>((resolve) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.write(`POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${2 ** 40}\r\n\r\n`);
    const endless = () => {
      while (socket.writable && socket.write('x'.repeat(1 << 16)));
    };
    socket
      .on('drain', endless)
      .on('error', () => {})
      .on('close', () => resolve(socket.bytesWritten));
    socket.resume();
    endless();
  });
  expect(sent).toBeGreaterThan(8_000_000);
});

test('health, metrics, the OpenAPI document and the page', async () => {
  const get = async (route: string) => (await fetch(server.url + route)).text();
  expect(JSON.parse(await get('/health'))).toEqual({ status: 'ok', model: 'tiny', task: 'text-classification', labels: ['ham', 'spam'] });
  const measured = await get('/metrics');
  expect(measured).toMatch(/tunesmith_requests_total\{route="\/predict",method="POST",status="200"\} \d+/);
  expect(measured).toMatch(/tunesmith_batch_size_bucket\{le="\+Inf"\} \d+/);
  expect(measured).toMatch(/^tunesmith_queue_length 0$/m);
  expect(measured).toMatch(/^tunesmith_waiting_bytes 0$/m);
  expect(measured).toMatch(/^tunesmith_waiting_bytes_limit [1-9]\d*$/m);
  expect(JSON.parse(await get('/openapi.json')).components.schemas.Prediction.properties.label.enum).toEqual(['ham', 'spam']);
  const page = await get('/');
  expect(page).toContain('<h1>tiny</h1>');
  expect(page).not.toMatch(/(src|href)="?https?:/);
});

test('a client that disconnects does not affect other answers', async () => {
  const texts = Array.from({ length: 60 }, (_, i) => `${i} ${'word '.repeat(2000)}`);
  const gone = request(`${server.url}/predict`, { method: 'POST', headers: { 'content-type': 'application/json' } });
  gone.on('error', () => {});
  gone.end(JSON.stringify({ inputs: texts }));
  await new Promise((resolve) => setTimeout(resolve, 30));
  gone.destroy();
  expect(await post({ inputs: 'still there?' })).toMatchObject({ status: 200 });
});

test('after SIGTERM running requests are answered, and it exits with 0; a port in use is one line', async () => {
  const p = project();
  const started = p.start('serve', bundle, '--port', '0');
  await p.until(() => started.output().includes('http://'));
  const url = /http:\/\/\S+/.exec(started.output())![0];

  const second = await p.run('serve', bundle, '--port', new URL(url).port);
  expect(second.code).toBe(1);
  expect(second.screen).toContain('is in use');
  expect(second.screen).not.toMatch(/^\s+at /m);

  const texts = Array.from({ length: 300 }, (_, i) => `${i} ${'word '.repeat(500)}`);
  const body = JSON.stringify({ inputs: texts });
  const answers = Promise.all([1, 2, 3].map(() => post(body, url)));
  await receivedBytes(url, 3 * body.length, answers);
  started.kill('SIGTERM');
  for (const { status, predictions } of await answers) expect([status, predictions.length]).toEqual([200, 300]);
  const { code, stderr } = await started.done;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  await expect(fetch(url)).rejects.toThrow();
});

test('at a shutdown, requests that have not arrived completely are refused soon', async () => {
  const p = project();
  const started = p.start('serve', bundle, '--port', '0');
  await p.until(() => started.output().includes('http://'));
  const port = Number(new URL(/http:\/\/\S+/.exec(started.output())![0]).port);
  const opened = (text: string) => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(text);
    const answer = { text: '', closed: false };
    socket.setEncoding('utf8').on('data', (part) => {
      answer.text += part;
    });
    socket.on('close', () => {
      answer.closed = true;
    });
    return answer;
  };
  const silent = opened('');
  const headers = opened('GET /health HTTP/1.1\r\nHo');
  const json = 'Host: localhost\r\nContent-Type: application/json\r\n';
  const half = opened(`POST /predict HTTP/1.1\r\n${json}Content-Length: 30\r\n\r\n{"inputs":`);
  // The other two were opened earlier.
  await receivedBytes(`http://localhost:${port}`, '{"inputs":'.length);
  started.kill('SIGTERM');
  await p.until(() => silent.closed && headers.closed && half.closed);
  expect([silent.text, headers.text]).toEqual(['', '']);
  expect(half.text).toMatch(
    /^HTTP\/1\.1 503 [\s\S]*retry-after: 1[\s\S]*"the server is shutting down, and the request has not arrived completely"/,
  );
  const { code, stderr } = await started.done;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('at a shutdown, received requests are answered, and those that take too long are dropped and counted', async () => {
  const connections = new Connections();
  const release = Promise.withResolvers<void>();
  const received: string[] = [];
  connections.answer(async ({ url }, response) => {
    received.push(url!);
    if (url === '/stream') response.write('begun');
    if (url !== '/quick') return;
    await release.promise;
    response.end('done');
  });
  await new Promise<void>((resolve) => connections.server.listen(0, '127.0.0.1', resolve));
  const { port } = connections.server.address() as AddressInfo;
  const ask = (path: string) => fetch(`http://127.0.0.1:${port}${path}`).then((response) => response.text());
  const [quick, slow, stream] = [ask('/quick'), ask('/slow'), ask('/stream')].map((answer) => answer.catch(() => 'dropped'));
  await vi.waitFor(() => expect(received.sort()).toEqual(['/quick', '/slow', '/stream']), 10_000);
  const closed = connections.close(1000);
  release.resolve();
  expect(await Promise.all([quick, slow, stream, closed])).toEqual(['done', 'dropped', 'dropped', 2]);
});
