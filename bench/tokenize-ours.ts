/** Measures the tokenize step. Run by bench/tokenize.ts: `tokenize-ours.ts DATA MODEL TOKENS OPTIONS`. */
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { tokenize } from '../steps/tokenize/tokenize.ts';
import type { Measured } from './tokenize.ts';

const [data, model, tokens, options] = process.argv.slice(2) as [string, string, string, string];

mkdirSync(tokens, { recursive: true });
const start = performance.now();
await tokenize({
  options: { task: 'text-classification', ...JSON.parse(options) },
  inputs: { data, model },
  outputs: { tokens },
  signal: new AbortController().signal,
  threads: availableParallelism(),
  log: () => {},
  warn: () => {},
  progress: () => {},
} as unknown as Parameters<typeof tokenize>[0]);
const measured: Measured = { seconds: (performance.now() - start) / 1000, bytes: 1024 * process.resourceUsage().maxRSS };
console.log(JSON.stringify(measured));
