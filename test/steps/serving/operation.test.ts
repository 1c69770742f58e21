/** How a server is operated: API keys, rate limits, TLS, request ids, the access log, reloading and shadow traffic. */
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ApiKeys } from '../../../steps/serving/api-keys.ts';
import { RateLimit } from '../../../steps/serving/rate-limit.ts';
import { startServer } from '../../../steps/serving/serve.ts';
import { temporary } from '../rig.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';
import { labelsOf, post, withServer } from './server.ts';

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
    ['one\nalpha:', 'keys, line 2: there is no key after alpha:'],
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
  await withServer(bundle, { apiKeyFile: file, rateLimit: 0.01, api: ['kserve'] }, async (url, _, server) => {
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
  await withServer(bundle, { apiKeyFile: file }, async (url) => {
    const wrong = await post(url, { authorization: 'Bearer one' });
    expect([wrong.status, wrong.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="tunesmith", error="invalid_token"']);
    expect((await fetch(`${url}/metrics`)).status).toBe(401);
    // The page asks for the key itself, and tells no more than /health.
    const page = await fetch(`${url}/`);
    expect([page.status, page.headers.get('content-security-policy')]).toEqual([200, expect.not.stringContaining('unsafe-inline')]);
    expect(await page.text()).toContain('<input id="key" type="password"');
    expect((await fetch(`${url}/`, { method: 'POST' })).status).toBe(401);
    const api = (await (await fetch(`${url}/openapi.json`, { headers: { authorization: 'Bearer three' } })).json()) as any;
    expect(api.security).toEqual([{ bearer: [] }, { apiKey: [] }]);
    expect(Object.keys(api.components.securitySchemes)).toEqual(['bearer', 'apiKey']);
    expect(api.paths['/health'].get.security).toEqual([]);
    for (const status of ['400', '401', '403', '413', '415', '429', '503'])
      expect(api.paths['/predict'].post.responses).toHaveProperty(status);
    // The client sees the refusal of a body that it is still sending.
    expect((await post(url, {}, 'x'.repeat(5_000_000))).status).toBe(401);
    const preflight = await fetch(`${url}/predict`, { method: 'OPTIONS' });
    expect(preflight.status).not.toBe(200);
  });
  await expect(startServer(bundle, { port: 0, apiKeyFile: join(temporary(), 'none') })).rejects.toThrow(
    /--api-key-file .*none cannot be read/,
  );
});

test('request ids, and the access log without texts', async () => {
  const file = join(temporary(), 'access.log');
  const keys = join(temporary(), 'keys');
  writeFileSync(keys, 'alpha:one\n');
  await withServer(bundle, { accessLog: file, apiKeyFile: keys }, async (url) => {
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

test('a new bundle is opened without a dropped request; a broken one is reported, and the old one stays', async () => {
  const folder = join(temporary(), 'bundle');
  cpSync(bundle, folder, { recursive: true });
  await withServer(folder, {}, async (url, said, server) => {
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
  });
});
