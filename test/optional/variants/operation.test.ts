import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startServer } from '../../../steps/serving/serve.ts';
import { project } from '../../rig.ts';
import { temporary } from '../../steps/rig.ts';
import { makeBundle, makeModel, remove } from '../../steps/serving/bundle.ts';
import { labelsOf, post, withServer } from '../../steps/serving/server.ts';

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
  await withServer(bundle, tls, async (url, said, server) => {
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
  await withServer(bundle, { traceEndpoint: `http://127.0.0.1:${port}`, api: ['kserve'] }, async (url) => {
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
  await withServer(bundle, { traceEndpoint: 'http://127.0.0.1:1' }, async (url, said) => {
    lines = said;
    expect((await post(url)).status).toBe(200);
  });
  expect(lines).toEqual([expect.stringContaining('traces are lost, because http://127.0.0.1:1/v1/traces does not take them: ')]);
  await expect(startServer(bundle, { port: 0, traceEndpoint: 'localhost:4318' })).rejects.toThrow(
    '--trace-endpoint localhost:4318: not a URL',
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
  await withServer(bundle, { shadow: other, shadowShare: 0.5 }, async (url) => {
    expect(await metric(url, 'different_share')).toBeNaN();
    for (let i = 0; i < 4; i++) expect(await labelsOf(await post(url))).toEqual(['ham']);
    await vi.waitFor(async () => expect(await metric(url, 'total{outcome="different"}')).toBe(2), 20_000);
    expect(await metric(url, 'different_share')).toBe(1);
  });
  await withServer(bundle, { shadow: bundle }, async (url) => {
    await post(url, {}, ['a', 'b']);
    await vi.waitFor(async () => expect(await metric(url, 'total{outcome="same"}')).toBe(2), 20_000);
    expect(await metric(url, 'different_share')).toBe(0);
  });
  const empty = join(temporary(), 'empty');
  mkdirSync(empty);
  await expect(startServer(bundle, { port: 0, shadow: empty })).rejects.toThrow('has no config.json');
});
