/** Measures a training as the train step does it. Run by bench/train.ts: `train-ours.ts TOKENS MODEL BATCH RUNTIME THREADS`. */

import { openRuntime } from '../steps/ml/device/open.ts';
import { realTokens, trainingBatches } from '../steps/ml/models/batches.ts';
import { startModel } from '../steps/ml/models/model-folder.ts';
import { openSplit, readTokensInfo } from '../steps/ml/models/token-dataset.ts';
import { sizeOf } from '../steps/ml/runtime/graph.ts';
import type { HostTensors, Program, RuntimeName } from '../steps/ml/runtime/runtime.ts';
import { traceTraining } from '../steps/ml/runtime/trace.ts';
import { taskInputs } from '../steps/ml/tasks/evaluation.ts';
import { type Measured, WARM_UP } from './train-shapes.ts';

const [tokensFolder, modelFolder, batchSize, runtimeName, threads] = process.argv.slice(2) as [string, string, string, RuntimeName, string];

const info = await readTokensInfo(tokensFolder);
const split = await openSplit(tokensFolder, info, 'train');
const model = await startModel(modelFolder, { task: info.task, labels: info.labels, replaceHead: true, seed: 0, say: () => {} });
const runtime = await openRuntime(runtimeName, { threads: Number(threads) });
const { program, axes, parameters } = model;
const training = runtime.training(program, model.weights, {
  axes,
  optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  maxGradNorm: 1,
  weight: () => ({ learningRateFactor: 1, weightDecay: 0 }),
  paddingRows: Object.fromEntries(
    Object.entries(parameters).flatMap(([name, { paddingRow }]) => (paddingRow === undefined ? [] : [[name, paddingRow]])),
  ),
});
const weights = Object.fromEntries(Object.entries(model.weights).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
model.weights = {}; // the training opens its own runtime

const batches = trainingBatches(split, Number(batchSize), { seed: 0, epoch: 1 });
const shapes = new Map<string, number>();
const measured: Measured = { seconds: 0, tokens: 0, flops: 0, bytes: 0, loss: 0 };
for (const [step, batch] of batches.entries()) {
  const start = performance.now();
  const inputs = taskInputs(split, batch, info, { probability: 0.15, vocabulary: model.config.vocab_size, seed: 0, epoch: 1 });
  const at = { seed: 0, epoch: 1, step, learningRate: 5e-5 * (1 - step / batches.length) };
  const { loss } = await training.step([{ inputs, share: 1 }], at);
  if (step < WARM_UP) continue;
  measured.seconds += (performance.now() - start) / 1000;
  measured.tokens += realTokens(split, batch);
  measured.loss += loss / (batches.length - WARM_UP);
  const shape = `${batch.length} ${batch.targetLength}`;
  if (!shapes.has(shape)) shapes.set(shape, productsOf(program, inputs));
  measured.flops += shapes.get(shape)!;
}
measured.bytes = 1024 * process.resourceUsage().maxRSS;
await training.dispose();
split.close();
console.log(JSON.stringify(measured));

/** Floating-point operations of the matrix products in one step. */
function productsOf(program: Program, inputs: HostTensors): number {
  const { graph } = traceTraining(program, weights as HostTensors, inputs, { trained: Object.keys(weights), padding: {} });
  let flops = 0;
  for (const { kernel, inputs, outputs, attributes } of graph.nodes) {
    if (kernel !== 'BatchMatMul' && kernel !== '_FusedMatMul') continue;
    flops += 2 * inputs[0]!.shape.at(attributes.transposeA ? -2 : -1)! * sizeOf(outputs[0]!.shape);
  }
  return flops;
}
