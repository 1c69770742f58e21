/**
 * Compares a training step on a GPU with our runtime `tensorflow` and with PyTorch, alternating on the same card. Writes
 * the table into docs/runtimes.md, with the name of the card and the date.
 * Run: node --import tsx bench/gpu.ts PYTHON, where PYTHON has torch for CUDA and transformers.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { nvidiaGpus } from '../steps/ml/device/libraries.ts';
import { openRuntime } from '../steps/ml/device/open.ts';
import type { Precision } from '../steps/ml/runtime/runtime.ts';
import { toyAxes, toyBatch, toyProgram, toyWeights } from '../test/steps/ml/runtime/toy.ts';

const SHAPES = {
  'MiniLM-L6, 16 × 128': { hidden: 384, layers: 6, heads: 12, ffn: 1536, batch: 16, length: 128 },
  'MiniLM-L6, 128 × 128': { hidden: 384, layers: 6, heads: 12, ffn: 1536, batch: 128, length: 128 },
  'BERT-base, 32 × 128': { hidden: 768, layers: 12, heads: 12, ffn: 3072, batch: 32, length: 128 },
};
const COMMON = { vocabulary: 30522, positions: 512, classes: 2, dropout: 0.1, threads: 2, steps: 60, device: 'cuda' };
type Config = typeof COMMON & (typeof SHAPES)[keyof typeof SHAPES];

const [python = 'python3'] = process.argv.slice(2);
const gpus = await nvidiaGpus();
if (!Array.isArray(gpus)) {
  console.error(`bench/gpu.ts measures on an NVIDIA GPU, and there is none: ${gpus ?? 'nvidia-smi was not found'}. Nothing was measured.`);
  process.exit(1);
}
const [card] = gpus;

async function ours(config: Config, precision: Precision): Promise<number> {
  const runtime = await openRuntime('tensorflow', { device: 'gpu', precision });
  const training = runtime.training(toyProgram(config), toyWeights(config), {
    axes: toyAxes,
    optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weight: (name) => ({ learningRateFactor: 1, weightDecay: /norm|bias/.test(name) ? 0 : 0.01 }),
    maxGradNorm: 1,
  });
  const batch = toyBatch(config, config.batch, config.length);
  const times: number[] = [];
  for (let step = 0; step < config.steps; step++) {
    const start = performance.now();
    await training.step([{ inputs: batch, share: 1 }], { seed: 1, epoch: 0, step, learningRate: 1e-4 });
    times.push(performance.now() - start);
  }
  await training.dispose();
  return median(times);
}

function torch(config: Config, precision: Precision): number {
  const settings = JSON.stringify({ ...config, bf16: precision === 'bf16' });
  return median(JSON.parse(execFileSync(python, [`${import.meta.dirname}/training-step.py`, settings], { encoding: 'utf8' })));
}

/** Statistics of the second half, because the first steps compile and choose algorithms. */
function median(times: number[]): number {
  const late = times.slice(times.length >> 1).sort((a, b) => a - b);
  return late[late.length >> 1]!;
}

const rows: string[] = [];
for (const [name, shape] of Object.entries(SHAPES)) {
  for (const precision of ['fp32', 'bf16'] as const) {
    const config = { ...COMMON, ...shape };
    const rounds: [number, number][] = [];
    for (let round = 0; round < 3; round++) rounds.push([await ours(config, precision), torch(config, precision)]);
    const [mine, theirs] = [0, 1].map((i) => Math.min(...rounds.map((times) => times[i]!))) as [number, number];
    rows.push(`| ${name} | ${precision} | ${mine.toFixed(1)} | ${theirs.toFixed(1)} | ${(theirs / mine).toFixed(2)} |`);
    console.log(rows.at(-1));
  }
}

const table = [
  `Measured on ${card!.name}, driver ${card!.driver}, ${new Date().toISOString().slice(0, 10)}; milliseconds a step, dropout on.`,
  '',
  '| shape | products | tunesmith | PyTorch | ratio |',
  '|---|---|---|---|---|',
  ...rows,
].join('\n');
const file = `${import.meta.dirname}/../docs/runtimes.md`;
const marked = /(<!-- bench\/gpu -->\n)[\s\S]*?(\n<!-- end -->)/;
writeFileSync(
  file,
  readFileSync(file, 'utf8').replace(marked, (_, begin, end) => `${begin}${table}${end}`),
);
