/** Binary tensors of KServe's protocol, as bytes that Triton's client made. test/optional/clients.test.ts runs that client. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RunningServer, startServer } from '../../../steps/serving/serve.ts';
import { makeBundle, makeModel, remove } from './bundle.ts';
import { post } from './server.ts';

let model: string;
let bundle: string;
let server: RunningServer;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
  server = await startServer(bundle, { port: 0, api: ['kserve'] });
});

afterAll(async () => {
  await server.close();
  remove(model, bundle);
});

const binary = (body: Buffer, length: number | string, headers: Record<string, string> = {}) =>
  fetch(`${server.url}/v2/models/tiny/infer`, {
    method: 'POST',
    headers: { 'inference-header-content-length': String(length), ...headers },
    body: body as Buffer<ArrayBuffer>,
  });
const { texts, requests } = JSON.parse(readFileSync(join(import.meta.dirname, '../../golden/kserve/triton.json'), 'utf8'));

test.each(Object.keys(requests))("the bytes of Triton's client: %s", async (name) => {
  const own = ((await (await post(server.url, {}, texts)).json()) as any).predictions as any[];
  const response = await binary(Buffer.from(requests[name].body, 'base64'), requests[name].json);
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/octet-stream']);
  const bytes = Buffer.from(await response.arrayBuffer());
  const length = Number(response.headers.get('inference-header-content-length'));
  const { outputs, id } = JSON.parse(bytes.subarray(0, length).toString());
  expect(id).toBe(name === 'rows of one text' ? '7' : undefined);
  let at = length;
  for (const { name: output, datatype, shape, parameters, data } of outputs) {
    const labels = own.map(({ label }) => label);
    if (data) {
      expect([output, data]).toEqual(['label', labels]);
      continue;
    }
    const part = bytes.subarray(at, at + parameters.binary_data_size);
    at += part.length;
    const scores = own.flatMap((each) => [each.scores.ham, each.scores.spam]);
    if (output === 'scores') expect([datatype, shape, scores.map((_, i) => part.readDoubleLE(8 * i))]).toEqual(['FP64', [3, 2], scores]);
    else expect(part).toEqual(Buffer.concat(labels.map((label) => Buffer.from([label.length, 0, 0, 0, ...Buffer.from(label)]))));
  }
  expect([outputs.length, at]).toEqual([2, bytes.length]);
});

test('damaged binary bodies and compressed ones are refused', async () => {
  const { body, json } = requests['all outputs, binary by default'];
  const whole = Buffer.from(body, 'base64');
  const wrong = Buffer.from(whole);
  wrong[json] = 200;
  const bytes = Buffer.from(whole);
  bytes[json + 4] = 0xff;
  for (const [given, length, message] of [
    [whole, whole.length + 1, 'but must be the number of bytes of the JSON'],
    [whole, '1e2', 'but must be the number of bytes of the JSON'],
    [whole, json - 1, 'the body is not JSON'],
    [whole.subarray(0, -1), json, 'is 47, but 46 bytes are left after the JSON'],
    [Buffer.concat([whole, Buffer.from('a')]), json, '1 bytes after the JSON belong to no input'],
    [wrong, json, 'ends within its element 0'],
    [bytes, json, 'has an element 0 that is not UTF-8'],
  ] as const) {
    const response = await binary(given, length);
    expect([response.status, await response.json()]).toEqual([400, { error: expect.stringContaining(message) }]);
  }
  for (const encoding of ['gzip', 'deflate']) {
    const response = await binary(whole, json, { 'content-encoding': encoding });
    const error = `the body must not be compressed, but its content-encoding is "${encoding}"`;
    expect([response.status, await response.json()]).toEqual([415, { error }]);
  }
});
