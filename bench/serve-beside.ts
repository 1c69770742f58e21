/** The time of a short request, alone and while another client posts 1,000 long inputs again and again: `bench:serve -- --beside`. */

import { percentile } from './serve-load.ts';
import { bundles } from './serve-models.ts';
import { ours, start } from './serve-peers.ts';

const SHORT = JSON.stringify({ inputs: 'Lunch on Monday? I know a place.' });

export async function measureBeside(work: string, { seconds, tokens }: { seconds: number; tokens: number }): Promise<string[]> {
  /** Each word is one token. */
  const long = JSON.stringify({ inputs: new Array(1000).fill('time '.repeat(tokens - 2)) });
  const bundleOf = bundles(work, tokens);
  const lines = ['| model | alone p50 | p95 | beside 1,000 inputs p50 | p95 | most | inputs/s of both |', '|---|---|---|---|---|---|---|'];
  for (const name of ['tiny', 'minilm']) {
    const server = await start(ours(name, await bundleOf(name)), SHORT);
    try {
      const alone = await shortRequests(server.url, seconds);
      const other = { going: true };
      // Two such requests at a time, so that one is always running. They end with the server.
      const post = async () => {
        while (other.going) await ask(server.url, long);
      };
      const ended = Promise.allSettled([post(), post()]);
      const [begun, before] = [performance.now(), await inputsRun(server.url)];
      const beside = await shortRequests(server.url, seconds);
      const rate = ((await inputsRun(server.url)) - before) / ((performance.now() - begun) / 1000);
      other.going = false;
      server.stop();
      await ended;
      const at = (times: number[], share: number) => percentile(times, share).toFixed(0);
      const cells = [at(alone, 0.5), at(alone, 0.95), at(beside, 0.5), at(beside, 0.95), at(beside, 1), rate.toFixed(0)];
      lines.push(`| ${name} | ${cells.join(' | ')} |`);
    } finally {
      server.stop();
    }
  }
  return lines;
}

/** Sends a short request every 50 ms for the given time. Returns the latencies. */
async function shortRequests(url: string, seconds: number): Promise<number[]> {
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const begun = performance.now();
    await ask(url, SHORT);
    times.push(performance.now() - begun);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return times.sort((a, b) => a - b);
}

async function inputsRun(url: string): Promise<number> {
  const measured = await (await fetch(new URL('/metrics', url))).text();
  return Number(/^tunesmith_batch_size_sum (\d+)/m.exec(measured)![1]);
}

async function ask(url: string, body: string): Promise<void> {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  await response.arrayBuffer();
}
