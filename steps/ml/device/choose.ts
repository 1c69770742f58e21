/**
 * Resolves `runtime: auto`: `onnx` if TensorFlow is not set up; otherwise the faster of `tensorflow` and `onnx` in a
 * short training, which must end with the same loss on both. It is measured once per machine and kept in tunesmith's
 * own folder.
 */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { nvidiaIdentity } from '../runtime/gpu.ts';
import { attention, crossEntropy, embedding, gelu, layerNorm, linear } from '../runtime/ops.ts';
import { capabilities, type HostTensors, type OptimizerOptions, type Precision, type Program, type Runtime } from '../runtime/runtime.ts';
import { installedTensorflow, tensorflowFolder } from '../runtime/tensorflow/setup.ts';
import { tf } from '../runtime/tfjs.ts';
import { type Device, openRuntime, tensorflowIsSetUp } from './open.ts';

export interface RuntimeTiming {
  /** The time of a step: the best of a few. */
  milliseconds: number;
  /** The loss after them. */
  loss: number;
}

/** Times a few training steps of a small transformer with dropout, which take about two seconds. */
export async function measure(runtime: Runtime): Promise<RuntimeTiming> {
  const training = runtime.training(program, initialWeights(), {
    optimizer: { name: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weight: () => ({ learningRateFactor: 1, weightDecay: 0.01 }),
    maxGradNorm: 1,
  });
  const times: number[] = [];
  let loss = 0;
  for (let step = 0; step < STEPS; step++) {
    const begin = performance.now();
    ({ loss } = await training.step([{ inputs: batch(), share: 1 }], { seed: 1, epoch: 0, step, learningRate: 1e-4 }));
    times.push(performance.now() - begin);
  }
  await training.dispose();
  // The first step includes compilation.
  return { milliseconds: Number(Math.min(...times.slice(1)).toPrecision(3)), loss };
}

const STEPS = 6;
const [ROWS, LENGTH, WIDTH, HEADS, LAYERS, VOCABULARY, CLASSES, RATE] = [16, 64, 256, 4, 2, 4000, 2, 0.1];

const program: Program = (w, { ids, labels }, dropout) => {
  let x = dropout(layerNorm(embedding(w.words!, ids!), w.gamma!, w.beta!, 1e-12), RATE); // [rows, length, width]
  for (let i = 0; i < LAYERS; i++) {
    const [q, k, v] = ['q', 'k', 'v'].map((name) => linear(x, w[`${name}${i}`]!));
    const context = attention(q!, k!, v!, { heads: HEADS, dropout, rate: RATE });
    x = layerNorm(tf.add(x, dropout(linear(context, w[`out${i}`]!), RATE)), w.gamma!, w.beta!, 1e-12);
    const inner = gelu(linear(x, w[`up${i}`]!));
    x = layerNorm(tf.add(x, dropout(linear(inner, w[`down${i}`]!), RATE)), w.gamma!, w.beta!, 1e-12);
  }
  const logits = linear(tf.mean(x, 1), w.classes!);
  return { logits, loss: crossEntropy(logits, labels!) };
};

function initialWeights(): HostTensors {
  const weights: HostTensors = {};
  const add = (name: string, shape: number[], value: (i: number) => number) => {
    const size = shape.reduce((product, n) => product * n, 1);
    weights[name] = { dtype: 'float32', shape, data: Float32Array.from({ length: size }, (_, i) => value(i)) };
  };
  // Uniform over ±0.04, the same on every machine.
  const spread = (i: number) => 0.08 * ((((i + 1) * 0.6180339887) % 1) - 0.5);
  add('words', [VOCABULARY, WIDTH], spread);
  add('gamma', [WIDTH], () => 1);
  add('beta', [WIDTH], () => 0);
  for (let i = 0; i < LAYERS; i++) {
    for (const name of ['q', 'k', 'v', 'out']) add(`${name}${i}`, [WIDTH, WIDTH], spread);
    add(`up${i}`, [4 * WIDTH, WIDTH], spread);
    add(`down${i}`, [WIDTH, 4 * WIDTH], spread);
  }
  add('classes', [CLASSES, WIDTH], spread);
  return weights;
}

function batch(): HostTensors {
  return {
    ids: { dtype: 'int32', shape: [ROWS, LENGTH], data: Int32Array.from({ length: ROWS * LENGTH }, (_, i) => (i * 7919) % VOCABULARY) },
    labels: { dtype: 'int32', shape: [ROWS], data: Int32Array.from({ length: ROWS }, (_, row) => row % CLASSES) },
  };
}

export interface RuntimeRequirements {
  threads: number;
  device: Device;
  precision: Precision;
  optimizer?: OptimizerOptions['name'] | undefined;
}

const COMPILED = ['onnx', 'tensorflow'] as const;
type Compiled = (typeof COMPILED)[number];

export interface RuntimeChoice {
  name: Compiled;
  why: string;
}

export async function chooseRuntime(wanted: RuntimeRequirements): Promise<{ runtime: Runtime; why: string }> {
  const known = knownChoice(wanted);
  if (known) return { runtime: await openRuntime(known.name, wanted), why: known.why };
  const opened: Partial<Record<Compiled, Runtime>> = {};
  const failed: Error[] = [];
  for (const name of COMPILED) {
    try {
      opened[name] = await openRuntime(name, wanted);
    } catch (error) {
      failed.push(error as Error);
    }
  }
  const [only, other] = Object.values(opened);
  if (!only) throw failed.at(-1)!;
  if (!other) return { runtime: only, why: `the other runtime cannot be opened: ${failed[0]!.message}` };
  const measured = { onnx: await measure(opened.onnx!), tensorflow: await measure(opened.tensorflow!) };
  keep(wanted, measured);
  const { name, why } = decide(measured);
  return { runtime: opened[name]!, why };
}

/** What `auto` means without a measurement; undefined if one is needed first. */
export function knownChoice(wanted: RuntimeRequirements): RuntimeChoice | undefined {
  const { precision, optimizer = 'adamw' } = wanted;
  for (const name of COMPILED) {
    const other = capabilities[name === 'onnx' ? 'tensorflow' : 'onnx'];
    const missing = !other.precisions.includes(precision) ? precision : !other.optimizers.includes(optimizer) ? optimizer : undefined;
    if (missing) return { name, why: `only ${name} supports ${missing}` };
  }
  if (!tensorflowIsSetUp()) return { name: 'onnx', why: 'TensorFlow is not set up' };
  const measured = readKept()[keyOf(wanted)];
  return measured && decide(measured);
}

type Pair = Record<Compiled, RuntimeTiming>;

/** onnx computes the reference loss, because its graph is the one that is deployed. */
function decide({ onnx, tensorflow }: Pair): RuntimeChoice {
  const figures = `a step of a small model took ${onnx.milliseconds} ms on onnx, ${tensorflow.milliseconds} ms on tensorflow`;
  if (!(Math.abs(onnx.loss - tensorflow.loss) <= SAME_LOSS))
    return { name: 'onnx', why: `tensorflow ends with another loss on this machine: ${tensorflow.loss}, not ${onnx.loss}` };
  return { name: tensorflow.milliseconds < onnx.milliseconds ? 'tensorflow' : 'onnx', why: figures };
}

const SAME_LOSS = 1e-3;

/** Everything that the figures depend on. */
function keyOf({ threads, device }: RuntimeRequirements): string {
  const onnx = (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version;
  const there = installedTensorflow();
  const tensorflow = `${there?.tensorflow} ${there?.build} ${there?.binding}`;
  return [
    `${cpus()[0]?.model} ${arch()}`,
    `${threads} threads`,
    `device ${device}`,
    `GPU ${nvidiaIdentity()}`,
    `onnxruntime ${onnx}`,
    `TensorFlow ${tensorflow}`,
  ].join(', ');
}

const keptFile = () => join(dirname(tensorflowFolder()), 'runtimes.json');

function readKept(): Record<string, Pair> {
  try {
    return JSON.parse(readFileSync(keptFile(), 'utf8'));
  } catch {
    return {};
  }
}

function keep(wanted: RuntimeRequirements, measured: Pair): void {
  const file = keptFile();
  mkdirSync(dirname(file), { recursive: true });
  const partial = `${file}.${process.pid}`;
  writeFileSync(partial, `${JSON.stringify({ ...readKept(), [keyOf(wanted)]: measured }, null, 2)}\n`);
  renameSync(partial, file);
}
