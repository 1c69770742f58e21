/** How a server is operated: API keys, rate limits, TLS, request ids, the access log, reloading and shadow traffic. */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ApiKeys } from '../../../steps/serving/api-keys.ts';
import { RateLimit } from '../../../steps/serving/rate-limit.ts';
import { type ServeOptions, startServer } from '../../../steps/serving/serve.ts';
import { project } from '../../rig.ts';
import { temporary } from '../rig.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';

let model: string;
let bundle: string;
/** Its labels differ from those of `bundle`. */
let other: string;
let otherModel: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  otherModel = await makeModel(['no', 'yes']);
  other = await makeBundle(otherModel);
});

afterAll(() => remove(model, bundle, otherModel, other));

async function withServer(
  options: ServeOptions,
  use: (url: string, said: string[], server: Awaited<ReturnType<typeof startServer>>) => Promise<void>,
  folder = bundle,
) {
  const said: string[] = [];
  const server = await startServer(folder, { port: 0, say: (line) => said.push(line), ...options });
  try {
    await use(server.url, said, server);
  } finally {
    await server.close();
  }
}

const post = (url: string, headers: Record<string, string> = {}, inputs: unknown = 'hello') =>
  fetch(`${url}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ inputs }),
  });

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

test('API keys: a file of keys and hashes; names; mistakes in the file', () => {
  const keys = new ApiKeys(`# keys\nalpha:one\n\ntwo\r\nbeta:sha256:${sha256('three')}\nsha256:${sha256('four').toUpperCase()}\n`, 'keys');
  expect(['one', 'two', 'three', 'four', 'five', '', `sha256:${sha256('one')}`, 'alpha:one'].map((key) => keys.nameOf(key))).toEqual([
    'alpha',
    'line 4',
    'beta',
    'line 6',
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
  expect(JSON.stringify(keys)).not.toContain('one');
  for (const [text, message] of [
    ['# nothing\n', 'keys contains no API key'],
    ['a:one two', 'keys, line 1: a key must contain no spaces'],
    ['\nsha256:abc', 'keys, line 2: sha256: must be followed by 64 hexadecimal digits'],
    ['a:one\na:two', 'the name "a" occurs twice'],
    ['a:one\nb:one', 'the name "b" occurs twice'],
  ])
    expect(() => new ApiKeys(text!, 'keys')).toThrow(message);
});

test('the rate limit is a token bucket for each client', () => {
  let now = 0;
  const limit = new RateLimit(2, () => now);
  const take = (client: string) => limit.take(client);
  expect([take('a'), take('a'), take('a'), take('b')]).toEqual([undefined, undefined, 0.5, undefined]);
  now = 500;
  expect([take('a'), take('a')]).toEqual([undefined, 0.5]);
  now = 60_000;
  expect([take('a'), take('a'), take('a')]).toEqual([undefined, undefined, 0.5]);
  const slow = new RateLimit(0.1, () => now);
  expect([slow.take('a'), slow.take('a')]).toEqual([undefined, 10]);
});

test('a key is needed for all but health checks, and each key has its rate', async () => {
  const file = join(temporary(), 'keys');
  writeFileSync(file, 'alpha:one\nbeta:two\n');
  await withServer({ apiKeyFile: file, rateLimit: 0.01, api: ['kserve'] }, async (url, _, server) => {
    for (let i = 0; i < 5; i++) for (const path of ['/health', '/v2/health/ready']) expect((await fetch(url + path)).status).toBe(200);
    const missing = await post(url);
    expect([missing.status, missing.headers.get('www-authenticate'), await missing.json()]).toEqual([
      401,
      'Bearer realm="tunesmith"',
      expect.objectContaining({
        type: 'about:blank',
        title: 'Unauthorized',
        status: 401,
        detail: 'an API key is needed: Authorization: Bearer KEY',
      }),
    ]);
    expect((await post(url, { authorization: 'Bearer one' })).status).toBe(200);
    const limited = await post(url, { authorization: 'Bearer one' });
    expect([limited.status, limited.headers.get('retry-after')]).toEqual([429, '100']);
    expect((await post(url, { 'x-api-key': 'two' })).status).toBe(200);
    writeFileSync(file, 'gamma:three\n');
    await server.reload();
    expect((await post(url, { authorization: 'Bearer three' })).status).toBe(200);
    // The address of the missing key was the first of this rate, so the next one has to wait.
    expect((await post(url, { authorization: 'Bearer two' })).status).toBe(429);
  });
  await withServer({ apiKeyFile: file }, async (url) => {
    const wrong = await post(url, { authorization: 'Bearer one' });
    expect([wrong.status, wrong.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="tunesmith", error="invalid_token"']);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    // The client sees the refusal of a body that it is still sending.
    expect((await post(url, {}, 'x'.repeat(5_000_000))).status).toBe(401);
    const preflight = await fetch(`${url}/predict`, { method: 'OPTIONS' });
    expect(preflight.status).not.toBe(200);
  });
  await expect(startServer(bundle, { port: 0, apiKeyFile: join(temporary(), 'none') })).rejects.toThrow(
    /--api-key-file .*none cannot be read/,
  );
});

test('HTTPS with a certificate, which a reload reads again; a key of another certificate is refused', async () => {
  const files = (name: string) => join(import.meta.dirname, 'tls', name);
  const folder = temporary();
  for (const name of ['cert.pem', 'key.pem']) cpSync(files(name), join(folder, name));
  const tls = { tlsCert: join(folder, 'cert.pem'), tlsKey: join(folder, 'key.pem') };
  const get = (url: string) =>
    new Promise<string>((resolve, reject) => {
      request(`${url}/health`, { ca: readFileSync(files('cert.pem')), agent: false }, (response) => {
        response.setEncoding('utf8').on('data', (text) => resolve(`${response.statusCode} ${text}`));
      })
        .on('error', reject)
        .end();
    });
  await withServer(tls, async (url, said, server) => {
    expect(url).toMatch(/^https:/);
    expect(await get(url)).toMatch(/^200 .*"ok"/);
    // A connection without a handshake does not hold up the shutdown.
    connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {});
    cpSync(files('other-key.pem'), join(folder, 'key.pem'));
    await server.reload();
    expect(said[0]).toMatch(/--tls-cert .* cannot be used: .*; what was read before stays in use/);
    expect(await get(url)).toMatch(/^200 /);
  });
  await expect(startServer(bundle, { port: 0, ...tls })).rejects.toThrow(/--tls-cert .* cannot be used/);
  await expect(startServer(bundle, { port: 0, tlsCert: tls.tlsCert })).rejects.toThrow('--tls-cert needs --tls-key too');
});

test('request ids, and the access log without texts', async () => {
  const file = join(temporary(), 'access.log');
  const keys = join(temporary(), 'keys');
  writeFileSync(keys, 'alpha:one\n');
  await withServer({ accessLog: file, apiKeyFile: keys }, async (url) => {
    const answer = await post(url, { 'x-request-id': 'abc-1', authorization: 'Bearer one' }, 'a secret text');
    expect(answer.headers.get('x-request-id')).toBe('abc-1');
    await answer.text();
    const made = await fetch(`${url}/health?secret`, { headers: { 'x-request-id': 'a b' } });
    expect(made.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    await made.text();
    const refused = await post(url);
    expect(refused.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(((await refused.json()) as any).request_id).toBe(refused.headers.get('x-request-id'));
    await vi.waitFor(() => expect(readFileSync(file, 'utf8').trimEnd().split('\n')).toHaveLength(3), 10_000);
  });
  const text = readFileSync(file, 'utf8');
  expect(text).not.toContain('secret');
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { id: 'abc-1', method: 'POST', path: '/predict', status: 200, key: 'alpha', bytes: expect.any(Number), seconds: expect.any(Number) },
    { method: 'GET', path: '/health', status: 200 },
    { method: 'POST', path: '/predict', status: 401 },
  ]);
  expect(Object.keys(lines[1])).toEqual(['time', 'id', 'method', 'path', 'status', 'seconds', 'bytes']);
});

test('a span for each request goes on with the trace of the client; without a collector, requests are answered', async () => {
  const received: any[] = [];
  const collector = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (part) => {
      body += part;
    });
    request.on('end', () => {
      received.push([request.url, request.headers.authorization, JSON.parse(body)]);
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  const { port } = collector.address() as AddressInfo;
  vi.stubEnv('OTEL_EXPORTER_OTLP_HEADERS', 'authorization=Bearer%20abc');
  const [trace, span] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
  await withServer({ traceEndpoint: `http://127.0.0.1:${port}`, api: ['kserve'] }, async (url) => {
    await (await post(url, { traceparent: `00-${trace}-${span}-01`, 'x-request-id': 'r1' }, 'a secret text')).text();
    await (await fetch(`${url}/v2/models/tiny`, { headers: { traceparent: `00-${trace}-${span}-00` } })).text();
    await (await fetch(`${url}/v2/models/tiny`)).text();
  });
  vi.unstubAllEnvs();
  collector.close();
  expect(JSON.stringify(received)).not.toContain('secret');
  expect(received.map(([path, authorization]) => [path, authorization])).toContainEqual(['/v1/traces', 'Bearer abc']);
  const spans = received.flatMap(([, , { resourceSpans }]) => resourceSpans.flatMap((each: any) => each.scopeSpans[0].spans));
  expect(spans).toMatchObject([
    { traceId: trace, parentSpanId: span, name: 'POST /predict', kind: 2, status: {} },
    { traceId: expect.stringMatching(/^[0-9a-f]{32}$/), name: 'GET /v2/models/:name' },
  ]);
  expect(BigInt(spans[0].endTimeUnixNano)).toBeGreaterThan(BigInt(spans[0].startTimeUnixNano));
  let lines: string[] = [];
  await withServer({ traceEndpoint: 'http://127.0.0.1:1' }, async (url, said) => {
    lines = said;
    expect((await post(url)).status).toBe(200);
  });
  expect(lines).toEqual([expect.stringContaining('traces are lost, because http://127.0.0.1:1/v1/traces does not take them: ')]);
  await expect(startServer(bundle, { port: 0, traceEndpoint: 'localhost:4318' })).rejects.toThrow(
    '--trace-endpoint localhost:4318: not a URL',
  );
});

/** The label of the answer, or what was refused. */
const labelsOf = async (response: Response) =>
  (((await response.json()) as any).predictions as any[]).map(({ scores }) => Object.keys(scores)[0]!);

test('a new bundle is opened without a dropped request; a broken one is reported, and the old one stays', async () => {
  const folder = join(temporary(), 'bundle');
  cpSync(bundle, folder, { recursive: true });
  await withServer(
    {},
    async (url, said, server) => {
      const running = new AbortController();
      const answered: string[] = [];
      const client = async () => {
        while (!running.signal.aborted) answered.push(...(await labelsOf(await post(url, {}, 'hello'))));
      };
      const clients = Promise.all([client(), client()]);
      await vi.waitFor(() => expect(answered.length).toBeGreaterThan(2), 20_000);
      renameSync(folder, `${folder}-old`);
      cpSync(other, folder, { recursive: true });
      await Promise.all([server.reload(), server.reload()]);
      const before = answered.length;
      await vi.waitFor(() => expect(answered.length).toBeGreaterThan(before + 4), 20_000);
      running.abort();
      await clients;
      expect([answered[0], answered.at(-1), [...new Set(answered)]]).toEqual(['ham', 'no', ['ham', 'no']]);
      expect(said[0]).toBe(`Serving the new bundle at ${folder} (tiny)`);
      writeFileSync(join(folder, 'config.json'), '{');
      await server.reload();
      expect(said.at(-1)).toMatch(/^The new bundle at .* cannot be used, so the old one stays: .*config.json is not a JSON object/s);
      expect(await labelsOf(await post(url))).toEqual(['no']);
      expect(await (await fetch(`${url}/metrics`)).text()).toContain('tunesmith_reloads_total{outcome="failed"} 1');
    },
    folder,
  );
});

test('--watch reloads when the files change; SIGUSR2 does too; SIGTERM ends it', async () => {
  const p = project();
  const folder = join(p.folder, 'bundle');
  cpSync(bundle, folder, { recursive: true });
  const started = p.start('serve', folder, '--port', '0', '--watch');
  await p.until(() => started.output().includes('http://'));
  const url = /http:\/\/\S+/.exec(started.output())![0];
  rmSync(folder, { recursive: true });
  cpSync(other, folder, { recursive: true });
  await vi.waitFor(async () => expect(await labelsOf(await post(url))).toEqual(['no']), { timeout: 60_000, interval: 300 });
  started.kill('SIGUSR2');
  await p.until(() => (started.output().match(/Serving the new bundle/g) ?? []).length >= 2);
  started.kill('SIGTERM');
  expect((await started.done).code).toBe(0);
});

test('a shadow answers too, and only the differences are counted', async () => {
  const metric = async (url: string, name: string) =>
    Number(new RegExp(`^tunesmith_shadow_${name} (.*)$`, 'm').exec(await (await fetch(`${url}/metrics`)).text())![1]);
  await withServer({ shadow: other, shadowShare: 0.5 }, async (url) => {
    expect(await metric(url, 'different_share')).toBeNaN();
    for (let i = 0; i < 4; i++) expect(await labelsOf(await post(url))).toEqual(['ham']);
    await vi.waitFor(async () => expect(await metric(url, 'total{outcome="different"}')).toBe(2), 20_000);
    expect(await metric(url, 'different_share')).toBe(1);
  });
  await withServer({ shadow: bundle }, async (url) => {
    await post(url, {}, ['a', 'b']);
    await vi.waitFor(async () => expect(await metric(url, 'total{outcome="same"}')).toBe(2), 20_000);
    expect(await metric(url, 'different_share')).toBe(0);
  });
  const empty = join(temporary(), 'empty');
  mkdirSync(empty);
  await expect(startServer(bundle, { port: 0, shadow: empty })).rejects.toThrow('has no config.json');
});
