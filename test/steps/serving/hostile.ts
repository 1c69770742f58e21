/** Requests of careless and hostile clients, made from a seed, and what every response to them must be like. */
import { connect } from 'node:net';
import { expect } from 'vitest';

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const paths = [
  '/predict',
  '/predict',
  '/',
  '/models/tiny',
  '/pipeline/text-classification',
  '/v2/models/tiny/infer',
  '/v2/models/x/infer',
  '/v1/completions',
  '/health',
  '/metrics',
  '/nowhere',
  '/../../../etc/passwd',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/predict%00',
  '/%ff%fe',
  '/v2/models/%E0%A4%A/infer',
  '//evil.example/predict',
  '/predict?inputs=secret',
  '/predict#x',
  `/${'a'.repeat(3000)}`,
];

const methods = ['POST', 'POST', 'POST', 'GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD', 'TRACE', 'PROPFIND'];

const headers = [
  'X-Request-Id: a\tb',
  `X-Request-Id: ${'i'.repeat(500)}`,
  'X-Request-Id: <script>alert(1)</script>',
  'Authorization: Bearer ' + 'k'.repeat(5000),
  'Cookie: ' + 'c=1; '.repeat(500),
  'X-Forwarded-For: 1.2.3.4, evil',
  'Accept: \u0001',
  'Range: bytes=0-99999999999999',
  'Expect: 100-continue',
  'Upgrade: h2c',
  'Transfer-Encoding: gzip',
  'Content-Encoding: br',
  'Origin: https://evil.example',
  'Origin: null',
  'Host: evil.example',
  'If-None-Match: *',
  'traceparent: 00-zz-zz-01',
  'X: \xff\xfe',
  ': empty',
];

const values: unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  'hello',
  '\ud800',
  '\u0000',
  'x'.repeat(5000),
  [],
  {},
  [[]],
  [null],
  ['a', 1],
  { text: 'a' },
  { text: ['a'] },
  { text: null },
  { text: 'a', text_pair: 'b' },
  { __proto__: { text: 'a' } },
  { constructor: 'a' },
  Array(70).fill('a'),
];

const fields = ['inputs', 'parameters', 'outputs', 'prompt', 'options', '__proto__', 'constructor', 'toString', 'id'];

/** One request, as bytes. */
export function hostileRequest(random: () => number): Buffer {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const body = bodyOf(pick, random);
  const lines = [`${pick(methods)} ${pick(paths)} HTTP/1.1`];
  const more = random() < 0.4 ? [pick(headers)] : [];
  if (!more.some((line) => line.startsWith('Host'))) lines.push('Host: localhost');
  lines.push('Connection: close', ...more);
  if (random() < 0.9) lines.push(`Content-Type: ${random() < 0.9 ? 'application/json' : pick(['text/plain', 'multipart/form-data', 'x'])}`);
  const length = random() < 0.95 ? body.length : pick([0, body.length - 1, -5, 99999999999, 'abc']);
  lines.push(`Content-Length: ${length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

function bodyOf(pick: <T>(list: readonly T[]) => T, random: () => number): Buffer {
  const kind = random();
  if (kind < 0.1) return Buffer.from(Array.from({ length: 40 }, () => Math.floor(random() * 256)));
  if (kind < 0.15) return Buffer.from(`{"inputs":"\xff\xfe${'\xc3'}"}`, 'latin1');
  if (kind < 0.2) return Buffer.from('['.repeat(3000));
  if (kind < 0.3) return Buffer.from(JSON.stringify(pick(values)) ?? '');
  const object = Object.fromEntries(Array.from({ length: 1 + Math.floor(random() * 2) }, () => [pick(fields), pick(values)]));
  if (kind < 0.6) object.inputs = pick(values);
  const text = JSON.stringify(object);
  // A part of valid JSON.
  return Buffer.from(kind > 0.95 ? text.slice(0, Math.floor(random() * text.length)) : text);
}

/** Sends bytes, and resolves with what comes back until the connection ends. It hangs up after some milliseconds. */
export function exchange(url: string, bytes: Buffer | string, patience = 5000): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let answer = '';
    const timer = setTimeout(() => socket.destroy(), patience);
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
    socket.write(bytes);
  });
}

/** Every answer is a success, or a refusal with its reason, and says nothing of the machine. `secrets`: paths that no answer may contain. */
export function checkAnswer(request: Buffer, answer: string, secrets: readonly string[]): void {
  const about = request.toString('latin1').slice(0, 300);
  const final = answer.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '');
  // A body that is shorter than it says it is never arrives: the test hangs up.
  if (final === '') return;
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(final) ?? [];
  expect([about, Number(status)]).toEqual([about, expect.toSatisfy((code: number) => (code >= 200 && code < 500) || code === 503)]);
  const [head, ...rest] = final.split('\r\n\r\n');
  const body = rest.join('\r\n\r\n');
  expect([about, secrets.filter((secret) => final.includes(secret)), /\n\s+at .*[:(]\d+/.exec(body)]).toEqual([about, [], null]);
  expect([about, /^x-request-id: .*[<>\t]/im.exec(head!)]).toEqual([about, null]);
  if (Number(status) < 400 || about.startsWith('HEAD')) return;
  expect([about, head]).toEqual([about, expect.stringMatching(/content-type: application\/(problem\+)?json/i)]);
  const { error, detail } = JSON.parse(/transfer-encoding: chunked/i.test(head!) ? unchunked(body) : body);
  const message = typeof error === 'string' ? error : error.message;
  expect([about, message]).toEqual([about, expect.stringMatching(/./)]);
  if (detail !== undefined) expect(detail).toBe(message);
}

const unchunked = (body: string): string => body.replaceAll(/(^|\r\n)[0-9a-f]+\r\n/g, '').replace(/\r\n$/, '');

/**
 * Bodies of careless clients: a valid body in which one value is another, or is missing. Each comes with the path of that value, and as
 * text, because lists may be too deep for JSON.stringify.
 */
export function oddBodies(valid: unknown): { place: string; text: string }[] {
  return placesOf(valid).flatMap((path) => [
    ...Object.entries(ODD).map(([kind, value]) => ({ place: `${path.join('.')} is ${kind}`, text: withValue(valid, path, value) })),
    ...(path.length === 0 ? [] : [{ place: `${path.join('.')} is missing`, text: withValue(valid, path, undefined) }]),
  ]);
}

const ODD: Record<string, string> = {
  null: 'null',
  true: 'true',
  'a number': '-1.5',
  'a large number': '1e308',
  'a string': '"x"',
  'an empty list': '[]',
  'a list': '[null, 1, "x", [], {}]',
  'an object': '{"toString": null, "valueOf": 1, "length": -1, "__proto__": null, "constructor": null, "then": 1, "toJSON": 1}',
  'a deep list': `${'['.repeat(20_000)}1${']'.repeat(20_000)}`,
  'a deep object': `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
  'a long list': `[${'1,'.repeat(3000)}1]`,
};

type Place = (string | number)[];

function placesOf(value: unknown, at: Place = []): Place[] {
  const inner = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  return [at, ...inner.flatMap(([key, each]) => placesOf(each, [...at, Array.isArray(value) ? Number(key) : key]))];
}

/** `text`: JSON of the value. */
function withValue(valid: unknown, path: Place, text: string | undefined): string {
  if (path.length === 0) return text!;
  const copy = structuredClone(valid) as any;
  const last = path.at(-1)!;
  const parent = path.slice(0, -1).reduce((value: any, key) => value[key], copy);
  if (text !== undefined) parent[last] = '%odd%';
  else if (Array.isArray(parent)) parent.splice(last as number, 1);
  else delete parent[last];
  return JSON.stringify(copy).replace('"%odd%"', () => text!);
}
