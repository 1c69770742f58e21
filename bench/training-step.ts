/**
 * Compares a training step of a BERT on our runtimes and in PyTorch, alternating, so that both see the same machine load.
 * Run: node --import tsx bench/training-step.ts PYTHON [tiny|mini] [RUNTIME…], where PYTHON has torch and transformers;
 * - leaves PyTorch out. A runtime is onnx, tensorflow, or tensorflow-bf16.
 */
import { execFileSync } from 'node:child_process';
import { openRuntime } from '../steps/ml/device/open.ts';
import type { Precision, RuntimeName } from '../steps/ml/runtime/runtime.ts';
import { toyAxes, toyBatch, toyProgram, toyWeights } from '../test/steps/ml/runtime/toy.ts';

const shapes = {
  tiny: { hidden: 128, layers: 2, heads: 2, ffn: 512, batch: 32 },
  mini: { hidden: 384, layers: 6, heads: 12, ffn: 1536, batch: 16, steps: 8 }, // MiniLM-L6
};
const [python = 'python3', shape = 'tiny', ...runtimes] = process.argv.slice(2);
const config = {
  ...{ vocabulary: 30522, positions: 512, classes: 2, dropout: 0.1, length: 128, threads: 2, steps: 15 },
  ...shapes[shape as keyof typeof shapes],
};

async function ours(name: string): Promise<number[]> {
  const [runtimeName, precision = 'fp32'] = name.split('-') as [RuntimeName, Precision?];
  const runtime = await openRuntime(runtimeName, { threads: config.threads, precision });
  const training = runtime.training(toyProgram(config), toyWeights(config), {
    axes: toyAxes,
    optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weight: (name) => ({ learningRateFactor: 1, weightDecay: /norm|bias/.test(name) ? 0 : 0.01 }),
    maxGradNorm: 1,
    paddingRows: { 'word.weight': 0 },
  });
  const batch = toyBatch(config, config.batch, config.length);
  const times: number[] = [];
  for (let step = 0; step < config.steps; step++) {
    const start = performance.now();
    await training.step([{ inputs: batch, share: 1 }], { seed: 1, epoch: 0, step, learningRate: 1e-4 });
    times.push(performance.now() - start);
  }
  await training.dispose();
  return times;
}

const torch = () =>
  JSON.parse(execFileSync(python, [`${import.meta.dirname}/training-step.py`, JSON.stringify(config)], { encoding: 'utf8' })) as number[];

/** The first step, which traces, compiles or warms up, is reported separately. */
function say(name: string, [first, ...rest]: number[]): void {
  rest.sort((a, b) => a - b);
  console.log(
    `${name}: first ${first!.toFixed(0)} ms, then median ${rest[rest.length >> 1]!.toFixed(0)} ms, best ${rest[0]!.toFixed(0)} ms`,
  );
}

for (let round = 0; round < 3; round++) {
  for (const name of runtimes.length > 0 ? runtimes : ['onnx']) say(name, await ours(name));
  if (python !== '-') say('PyTorch', torch());
}
