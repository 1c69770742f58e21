/** Access control: hosts, origins, content types, and connections that are half closed. */
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkAccess, isLoopback, refusal } from '../../../steps/serving/access.ts';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { project } from '../../rig.ts';
import { makeBundle, makeModel, receivedBytes, remove } from './bundle.ts';

let model: string;
let bundle: string;
let server: RunningServer;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  server = await startServer(bundle, { port: 0, allowOrigin: ['https://app.example'], limits: { characters: 40 } });
});

afterAll(async () => {
  await server.close();
  remove(model, bundle);
});

/** Sends raw bytes, and then closes its side or not; resolves with the server's output until it closes. */
function raw(text: string, { half = false, url = server.url } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true });
    let answer = '';
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part;
    });
    socket.on('error', reject).on('end', () => {
      socket.destroy();
      resolve(answer);
    });
    if (half) socket.end(text);
    else socket.write(text);
  });
}

const requestOf = (headers: string[], body = '{"inputs":"hello"}', method = 'POST') =>
  [`${method} /predict HTTP/1.1`, ...headers, `Content-Length: ${Buffer.byteLength(body)}`, '', body].join('\r\n');

const own = ['Host: localhost', 'Content-Type: application/json'];

/** The status of the response to such a request. */
const statusOf = async (headers: string[], body?: string): Promise<number> =>
  Number(/^HTTP\/1\.1 (\d+)/.exec(await raw(requestOf([...headers, 'Connection: close'], body)))?.[1]);

const closed = { hosts: [], origins: [], loopback: true };

test.each([
  ['localhost', undefined, true],
  ['LOCALHOST:8080', undefined, true],
  ['localhost.:8080', undefined, true],
  ['api.localhost', undefined, true],
  ['127.0.0.1:8080', undefined, true],
  ['127.9.9.9', undefined, true],
  ['127.1', undefined, true],
  ['2130706433', undefined, true],
  ['[::1]:8080', undefined, true],
  ['[0:0:0:0:0:0:0:1]', undefined, true],
  ['[::ffff:127.0.0.1]', undefined, true],
  ['evil.example', undefined, false],
  ['evil.example:8080', 'http://evil.example:8080', false],
  ['localhost.evil.example', undefined, false],
  ['127.0.0.1.evil.example', undefined, false],
  ['evil-localhost', undefined, false],
  ['evil@localhost', undefined, false],
  ['localhost@evil.example', undefined, false],
  ['localhost/evil', undefined, false],
  ['192.168.1.5', undefined, false],
  ['[::2]', undefined, false],
  ['', undefined, false],
  [undefined, undefined, false],
  ['localhost:8080', 'http://localhost:8080', true],
  ['localhost:8080', 'https://localhost:8080', true],
  ['localhost', 'http://localhost', true],
  ['localhost:8080', 'http://127.0.0.1:8080', false],
  ['localhost:8080', 'http://localhost:3000', false],
  ['localhost:8080', 'http://localhost', false],
  ['localhost', 'null', false],
  ['localhost', '', false],
  ['localhost', 'file://', false],
  ['localhost', 'https://evil.example', false],
])('on loopback: Host %j, Origin %j: %j', (host, origin, answered) => {
  expect(refusal(host, origin, closed) === undefined).toBe(answered);
});

test.each([
  [{ ...closed, hosts: ['ml.example'] }, 'ml.example:80', undefined, true],
  [{ ...closed, hosts: ['ml.example'] }, 'a.ml.example', undefined, false],
  [{ ...closed, hosts: ['.ml.example'] }, 'a.ml.example', undefined, true],
  [{ ...closed, hosts: ['.ml.example'] }, 'aml.example', undefined, false],
  [{ ...closed, hosts: ['*'] }, 'any.example', undefined, true],
  [{ ...closed, loopback: false }, 'any.example', undefined, true],
  [{ ...closed, loopback: false }, 'any.example', 'https://other.example', false],
  [{ ...closed, loopback: false, hosts: ['ml.example'] }, 'any.example', undefined, false],
  [{ ...closed, loopback: false, hosts: ['ml.example'] }, 'localhost', undefined, true],
  [{ ...closed, origins: ['https://app.example'] }, 'localhost', 'https://app.example', true],
  [{ ...closed, origins: ['https://app.example'] }, 'localhost', 'http://app.example', false],
  [{ ...closed, origins: ['https://app.example'] }, 'localhost', 'https://app.example:444', false],
  [{ ...closed, origins: ['https://app.example'] }, 'localhost', 'https://app.example.evil.example', false],
  [{ ...closed, origins: ['*'] }, 'localhost', 'null', true],
  [{ ...closed, origins: ['*'] }, 'evil.example', 'https://evil.example', false],
])('%j: Host %j, Origin %j: %j', (access, host, origin, answered) => {
  expect(refusal(host, origin, access) === undefined).toBe(answered);
});

test('options that can match nothing are rejected', () => {
  for (const hosts of [['https://ml.example'], ['ml.example:80'], ['a b'], ['']])
    expect(() => checkAccess({ hosts, origins: [] })).toThrow('--allow-host');
  for (const origins of [['app.example'], ['https://app.example/'], ['https://app.example/path'], ['']])
    expect(() => checkAccess({ hosts: [], origins })).toThrow('--allow-origin');
  checkAccess({
    hosts: ['ml.example', '.ml.example', '*', '10.0.0.1', '[fe80::1]'],
    origins: ['https://app.example', 'http://localhost:3000', '*'],
  });
  expect(['127.0.0.1', '::1', '0.0.0.0', '::', '192.168.1.2'].map(isLoopback)).toEqual([true, true, false, false, false]);
});

test('a page of another origin and another name for this machine are rejected', async () => {
  expect(await statusOf(own)).toBe(200);
  expect(await statusOf(['Host: evil.example', own[1]!])).toBe(403);
  expect(await statusOf([...own, 'Origin: https://evil.example'])).toBe(403);
  expect(await statusOf([...own, 'Origin: null'])).toBe(403);
  for (const path of ['/', '/health', '/metrics', '/openapi.json', '/nowhere'])
    expect(await raw(`GET ${path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`)).toMatch(/^HTTP\/1\.1 403 /);
  expect(await raw('GET http://localhost/health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n')).toMatch(/^HTTP\/1\.1 403 /);
});

test('an allowed origin passes the preflight, and can read answers and errors', async () => {
  const origin = 'https://app.example';
  const preflight = await fetch(`${server.url}/predict`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
  });
  expect(preflight.status).toBe(204);
  expect(Object.fromEntries(preflight.headers)).toMatchObject({
    'access-control-allow-origin': origin,
    'access-control-allow-headers': 'content-type,authorization,x-api-key,x-request-id',
    'access-control-allow-methods': expect.stringContaining('POST'),
  });
  for (const body of ['{"inputs":"hello"}', '{}']) {
    const answer = await fetch(`${server.url}/predict`, { method: 'POST', headers: { origin, 'content-type': 'application/json' }, body });
    expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
    expect(answer.headers.get('vary')).toMatch(/origin/i);
  }
  const refused = await fetch(`${server.url}/predict`, {
    method: 'OPTIONS',
    headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
  });
  expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([403, null]);
});

test('only JSON is accepted', async () => {
  for (const type of [
    'application/json',
    'application/json; charset=utf-8',
    'Application/JSON;charset="UTF-8"',
    'application/vnd.api+json',
  ])
    expect([type, await statusOf([own[0]!, `Content-Type: ${type}`])]).toEqual([type, 200]);
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data',
    'application/jsonp',
    'application/json; charset=latin1',
  ])
    expect([type, await statusOf([own[0]!, `Content-Type: ${type}`])]).toEqual([type, 415]);
  expect(await statusOf([own[0]!])).toBe(415);
  expect(await statusOf([...own, 'Content-Encoding: gzip'])).toBe(415);
});

test('a text that is longer than the limit is rejected, with its place', async () => {
  expect(await raw(requestOf([...own, 'Connection: close'], JSON.stringify({ inputs: ['a'.repeat(40), 'b'.repeat(41)] })))).toMatch(
    /^HTTP\/1\.1 413 [\s\S]*\\"inputs\[1\]\\" has 41 characters, but at most 40 are allowed/,
  );
  expect(await statusOf(own, JSON.stringify({ inputs: 'a'.repeat(40) }))).toBe(200);
});

test.each([
  ['GET /health HTTP/1.1\r\n\r\n', 400, 'the request has no valid URL: missing host header'],
  ['GET /health HTTP/1.0\r\n\r\n', 400, 'the request has no valid URL: missing host header'],
  ['GET /health HTTP/1.1\r\nHost: a b\r\n\r\n', 400, 'the request has no valid URL: invalid URL'],
  [`GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(200_000)}\r\n\r\n`, 431, 'the request line and the headers are larger than'],
  [`GET /${'x'.repeat(200_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431, 'the request line and the headers are larger than'],
  ['hello\r\n\r\n', 400, 'the request is not valid HTTP: '],
  [`POST /predict HTTP/1.1\r\n${own.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`, 400, 'the request is not valid HTTP: '],
  [requestOf([...own, 'Expect: all']), 417, '"Expect: all" is not supported'],
  ['CONNECT a:443 HTTP/1.1\r\nHost: localhost\r\n\r\n', 405, 'CONNECT is not supported'],
])('a request that is not valid HTTP has an answer with a message: %.40j', async (request, status, message) => {
  const [head, body] = (await raw(request.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))).split('\r\n\r\n');
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [\\s\\S]*content-type: application/problem\\+json`, 'i'));
  expect(JSON.parse(body!).error.message).toContain(message);
});

test('a client that closes its side after its request gets its answer', async () => {
  expect(await raw(requestOf(own), { half: true })).toMatch(/^HTTP\/1\.1 200 [\s\S]*"predictions"/);
  expect(await raw(requestOf(own) + requestOf(own), { half: true })).toMatch(/^HTTP\/1\.1 200 [\s\S]*HTTP\/1\.1 200 [\s\S]*"predictions"/);
});

test('options of the command line; after SIGHUP running requests are answered, and it exits with 0; a user error exits with 2', async () => {
  const p = project();
  const started = p.start(
    'serve',
    bundle,
    '--port',
    '0',
    '--allow-host',
    'ml.example',
    '--allow-origin',
    'https://app.example',
    '--max-characters',
    '9000',
  );
  await p.until(() => started.output().includes('http://'));
  const url = /http:\/\/\S+/.exec(started.output())![0];
  const body = JSON.stringify({ inputs: new Array(500).fill('word '.repeat(1000)) });
  const request = requestOf(['Host: ml.example', own[1]!, 'Origin: https://app.example'], body);
  expect(await raw(requestOf([...own, 'Connection: close'], JSON.stringify({ inputs: 'a'.repeat(9001) })), { url })).toContain('413');
  const answer = raw(request, { half: true, url });
  await receivedBytes(url, body.length, answer);
  started.kill('SIGHUP');
  expect(await answer).toMatch(/HTTP\/1\.1 200 [\s\S]*"predictions"/);
  const { code, stderr } = await started.done;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const wrong = await p.run('serve', bundle, '--allow-host', 'http://ml.example');
  expect(wrong.code).toBe(2);
  expect(wrong.screen).toContain('--allow-host http://ml.example');
});
