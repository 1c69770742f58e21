/** The long form of test/steps/serving/fuzz.test.ts: memory over 20,000 requests, and a shutdown under load. */
import { connect } from 'node:net';
import { homedir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { project, root } from '../rig.ts';
import { makeBundle, makeModel, remove } from '../steps/serving/bundle.ts';
import { checkAnswer, exchange, hostileRequest, randomOf } from '../steps/serving/hostile.ts';

let model: string;
let bundle: string;

beforeAll(async () => {
  model = await makeModel();
  bundle = await makeBundle(model);
});

afterAll(() => remove(model, bundle));

async function started(options: string[] = [], env: Record<string, string> = {}) {
  const p = project();
  Object.assign(p.env, env);
  const server = p.start('serve', bundle, '--port', '0', ...options);
  await p.until(() => server.output().includes('http://'));
  return { server, url: /http:\/\/\S+/.exec(server.output())![0] };
}

test('20,000 requests, most of them hostile: no leak of paths or of memory', async () => {
  const { server, url } = await started(['--api', 'huggingface,kserve'], {
    // Otherwise garbage may take memory until there is little left, and looks like a leak.
    NODE_OPTIONS: '--max-old-space-size=96 --max-semi-space-size=4',
  });
  const random = randomOf(20);
  const secrets = [root, bundle, model, homedir(), 'node_modules', '.ts:', '.js:', 'file://'].filter((secret) => secret.length > 2);
  const good = Buffer.from(
    'POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 18\r\n\r\n{"inputs":"hello"}',
  );
  const memory = async () =>
    Number(/^process_resident_memory_bytes (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())![1]) / 2 ** 20;
  const megabytes: number[] = [];
  for (let sent = 0; sent < 20_000; sent += 50) {
    const requests = Array.from({ length: 50 }, (_, i) => (i % 5 === 0 ? good : hostileRequest(random)));
    const answers = await Promise.all(requests.map((request) => exchange(url, request, request === good ? 30_000 : 300)));
    for (const [i, answer] of answers.entries()) {
      checkAnswer(requests[i]!, answer, secrets);
      if (requests[i] === good) expect(answer).toMatch(/^HTTP\/1\.1 200 [\s\S]*"predictions"/);
    }
    if (sent % 2500 === 0) megabytes.push(await memory());
  }
  megabytes.push(await memory());
  console.log(`memory in MB after each 2,500 requests: ${megabytes.map(Math.round).join(', ')}`);
  // The first quarter fills caches and compiles code.
  expect(megabytes.at(-1)! - megabytes[2]!).toBeLessThan(48);
  server.kill('SIGTERM');
  const { code, stderr } = await server.done;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

/** One request on its own connection: the answer, whether it is complete, or nothing if the server no longer accepted it. */
function ask(url: string, body: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    let answer = '';
    socket.setEncoding('utf8').on('data', (part) => {
      answer += part;
    });
    socket.on('error', () => {}).on('close', () => resolve(answer));
    const head = `POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    socket.write(head + body);
  });
}

test.each([1, 2, 3, 4, 5])('SIGTERM under load: whatever was begun is answered completely (%i)', async (round) => {
  const { server, url } = await started();
  const body = JSON.stringify({ inputs: Array(20).fill('word '.repeat(100)) });
  const answers: string[] = [];
  let over = false;
  const client = async () => {
    while (!over) {
      const answer = await ask(url, body);
      if (answer === '') return;
      answers.push(answer);
    }
  };
  const clients = Promise.all(Array.from({ length: 16 }, client));
  await new Promise((resolve) => setTimeout(resolve, 500 * round));
  server.kill('SIGTERM');
  const { code, stderr } = await server.done;
  over = true;
  await clients;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(answers.length).toBeGreaterThan(0);
  for (const answer of answers) {
    const [head, text] = answer.split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 (200|503) /);
    expect(Buffer.byteLength(text!)).toBe(Number(/content-length: (\d+)/i.exec(head!)![1]));
    if (head!.startsWith('HTTP/1.1 200')) expect(JSON.parse(text!).predictions).toHaveLength(20);
  }
});
