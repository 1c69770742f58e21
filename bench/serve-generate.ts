/**
 * Tokens per second of POST /generate: requests one after the other, and as many clients at the same time. The model has GPT-2
 * small's shape and random weights: `bench:serve -- --generate`. The texts must be the same.
 */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { saveModel, startModel } from '../steps/ml/models/model-folder.ts';
import { smallGpt2 } from '../test/steps/writers.ts';
import { ours, start } from './serve-peers.ts';

const CLIENTS = 8;
/** Characters of a prompt, each of which is a token. */
const PROMPT = 32;
const TOKENS = 64;

export async function measureGenerating(work: string, seconds: number): Promise<string[]> {
  const folder = mkdtempSync(join(work, 'gpt2-'));
  // Wider than GPT-2 begins with: its first weights choose one token for ever.
  smallGpt2(folder, { n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024, vocab_size: 50257, initializer_range: 0.08 });
  await saveModel(folder, await startModel(folder, { task: 'causal-lm', labels: [], seed: 1, say: () => {} }));
  const body = (client: number, tokens = TOKENS) =>
    JSON.stringify({
      prompt: Array.from({ length: PROMPT }, (_, i) => String.fromCharCode(97 + ((i * 7 + client * 5) % 26))).join(''),
      max_new_tokens: tokens,
      min_new_tokens: tokens,
    });
  const server = await start({ ...ours('tunesmith', folder), path: '/generate' }, body(0, 1));
  try {
    const ask = async (client: number) => {
      const response = await fetch(server.url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: body(client) });
      return ((await response.json()) as { texts: { tokens: number[] }[] }).texts[0]!.tokens.join();
    };
    const everyone = Array.from({ length: CLIENTS }, (_, client) => client);
    const alone: string[] = [];
    const before = await rate(seconds, async () => {
      for (const client of everyone) alone[client] = await ask(client);
    });
    let different = 0;
    const together = await rate(seconds, async () => {
      const texts = await Promise.all(everyone.map(ask));
      different += texts.filter((text, client) => text !== alone[client]).length;
    });
    return [
      `| requests | tokens/s | texts that differ |`,
      '|---|---|---|',
      `| one after the other | ${before.toFixed(0)} | |`,
      `| ${CLIENTS} clients | ${together.toFixed(0)} (${(together / before).toFixed(2)}×) | ${different} |`,
      '',
      `The server used up to ${server.peakMegabytes().toFixed(0)} MB, and answered its first request ${server.coldStartSeconds.toFixed(1)} s after its start.`,
    ];
  } finally {
    server.stop();
  }
}

/** Tokens per second of rounds in which each client has one text, for at least this time. */
async function rate(seconds: number, round: () => Promise<void>): Promise<number> {
  await round();
  const begun = performance.now();
  const elapsed = () => (performance.now() - begun) / 1000;
  let rounds = 0;
  while (rounds === 0 || elapsed() < seconds) {
    await round();
    rounds++;
  }
  return (rounds * CLIENTS * TOKENS) / elapsed();
}
