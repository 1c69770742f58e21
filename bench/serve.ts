/**
 * Measures servers of one model side by side: ours in fp32 and int8, FastAPI with torch, and transformers.js. The model is a BERT
 * of 22 million weights, whose texts are cut at 128 tokens. All servers run at the same time, and one of them has load. Writes the
 * tables to standard output and docs/performance.md.
 *
 * npm run bench:serve -- [--seconds 10] [--only ours,fastapi,transformers] [--tools FOLDER] [--print]
 * npm run bench:serve -- --beside [--seconds 20]
 * npm run bench:serve -- --generate [--seconds 20]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { random } from '../steps/ml/models/random.ts';
import { measureBeside } from './serve-beside.ts';
import { measureGenerating } from './serve-generate.ts';
import { type Measured, openLoad } from './serve-load.ts';
import { bundles } from './serve-models.ts';
import { type Contender, installNode, ours, peers, type RunningContender, start } from './serve-peers.ts';

const { values } = parseArgs({
  options: {
    /** Of each cell of the table. */
    seconds: { type: 'string' },
    only: { type: 'string', default: 'ours,fastapi,transformers' },
    /** Keeps the packages of the other servers in this folder for the next time. */
    tools: { type: 'string' },
    /** Leaves docs/performance.md as it is. */
    print: { type: 'boolean', default: false },
    beside: { type: 'boolean', default: false },
    generate: { type: 'boolean', default: false },
  },
});
const TOKENS = 128;
const CONCURRENCY = [1, 8, 64];
const WORDS = 'please find the report of last monday and let me know when we can meet about prices for new house near water'.split(' ');
const work = mkdtempSync(join(tmpdir(), 'tunesmith-serve-'));
const machine = `${cpus()[0]!.model}, ${availableParallelism()} cores`;

try {
  console.log(`${machine}, load ${loadavg()[0]!.toFixed(1)}`);
  if (values.beside) console.log((await measureBeside(work, { seconds: Number(values.seconds ?? 20), tokens: TOKENS })).join('\n'));
  else if (values.generate) report('generate', await measureGenerating(work, Number(values.seconds ?? 20)));
  else report('serve', await compare(Number(values.seconds ?? 10)));
} finally {
  rmSync(work, { recursive: true, force: true });
}

async function compare(seconds: number): Promise<string[]> {
  const tools = values.tools ?? join(work, 'tools');
  const texts = textsOf();
  const running: RunningContender[] = [];
  try {
    for (const contender of await contenders(tools)) running.push(await start(contender, bodyOf(texts.long![0]!)));
    const load = openLoad(tools);
    const rows: { texts: string; connections: number; name: string; measured: Measured }[] = [];
    for (const [kind, some] of Object.entries(texts)) {
      for (const connections of CONCURRENCY) {
        for (const { name, url } of running) {
          const measured = await load(url, some.map(bodyOf), { connections, seconds });
          rows.push({ texts: kind, connections, name, measured });
          console.error(`${kind}, ${connections} at once, ${name}: ${measured.requestsPerSecond.toFixed(1)} requests/s`);
        }
      }
    }
    return [
      '| texts | clients | server | requests/s | p50, ms | p95, ms | p99, ms |',
      '|---|---|---|---|---|---|---|',
      ...rows.map(({ texts, connections, name, measured: { requestsPerSecond, p50, p95, p99 } }) => {
        const times = [p50, p95, p99].map((time) => time.toFixed(time < 10 ? 1 : 0));
        return `| ${texts} | ${connections} | ${name} | ${requestsPerSecond.toFixed(1)} | ${times.join(' | ')} |`;
      }),
      '',
      '| server | peak memory, MB | first answer after, s |',
      '|---|---|---|',
      ...running.map((one) => `| ${one.name} | ${one.peakMegabytes().toFixed(0)} | ${one.coldStartSeconds.toFixed(2)} |`),
    ];
  } finally {
    for (const one of running) one.stop();
  }
}

async function contenders(tools: string): Promise<Contender[]> {
  const chosen = values.only.split(',');
  const bundleOf = bundles(work, TOKENS);
  const bundle = await bundleOf('minilm');
  const others = chosen.some((name) => name !== 'ours') ? peers(bundle, tools) : [];
  installNode(tools);
  const own = chosen.includes('ours')
    ? [ours('tunesmith fp32', bundle), ours('tunesmith int8', await bundleOf('minilm', { quantize: 'int8' }))]
    : [];
  return [...own, ...others.filter(({ name }) => chosen.some((one) => name.toLowerCase().startsWith(one)))];
}

function bodyOf(inputs: string): string {
  return JSON.stringify({ inputs });
}

/** Texts of common words, each of which is one token: short ones, ones that are cut, and all lengths between. */
function textsOf(): Record<string, string[]> {
  const uniform = random('texts');
  const text = (words: number) => Array.from({ length: words }, () => WORDS[Math.floor(uniform() * WORDS.length)]).join(' ');
  const texts = (words: () => number) => Array.from({ length: 97 }, () => text(words()));
  return {
    short: texts(() => 5 + Math.floor(10 * uniform())),
    mixed: texts(() => 5 + Math.floor(150 * uniform())),
    long: texts(() => 130 + Math.floor(100 * uniform())),
  };
}

/** Prints the lines, and puts them between the markers of docs/performance.md. */
function report(name: string, lines: string[]): void {
  const text = lines.join('\n');
  console.log(text);
  if (values.print) return;
  const file = join(import.meta.dirname, '../docs/performance.md');
  const page = readFileSync(file, 'utf8');
  const [begin, end] = [`<!-- bench:${name} -->`, `<!-- end of bench:${name} -->`];
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no ${begin} before ${end}`);
  writeFileSync(file, `${page.slice(0, from)}${begin}\nMeasured on: ${machine}.\n\n${text}\n${page.slice(to)}`);
}
