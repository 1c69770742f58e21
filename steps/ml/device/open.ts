/**
 * Opens a runtime by name and device. If that is impossible on this machine, the error says what to do. `auto` is `onnx`
 * if TensorFlow is not set up; otherwise the faster of `tensorflow` and `onnx` in a short training, which must end with
 * the same loss on both. It is measured once per machine and kept in tunesmith's own folder.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, availableParallelism, cpus } from 'node:os';
import { dirname, join } from 'node:path';
import { StepError } from '../../../engine/contract/step.ts';
import { eagerRuntime } from '../runtime/eager.ts';
import { attention, crossEntropy, embedding, gelu, layerNorm, linear } from '../runtime/ops.ts';
import {
  capabilities,
  type HostTensors,
  type OptimizerOptions,
  type Precision,
  type Program,
  type Runtime,
  type RuntimeName,
} from '../runtime/runtime.ts';
import type { Tensorflow } from '../runtime/tensorflow/session.ts';
import { hasNvidiaDriver, installedTensorflow, tensorflowFolder } from '../runtime/tensorflow/setup.ts';
import { tf } from '../runtime/tfjs.ts';

type Device = 'auto' | 'cpu' | 'gpu';

/** What decides between the runtimes of `auto`. */
interface RuntimeRequirements {
  /** Threads of the matrix products. */
  threads: number;
  device: Device;
  precision: Precision;
  /** The optimizer of the training that the runtime is for. */
  optimizer?: OptimizerOptions['name'] | undefined;
}

/** By default all threads, and the TensorFlow.js backend of `eager` is `tensorflow` if it is set up, otherwise `cpu`. */
type RuntimeOptions = Partial<RuntimeRequirements> & { backend?: 'cpu' | 'tensorflow' };

/** @throws StepError if the runtime, the device or the precision is unavailable, with the command or option that helps */
export async function openRuntime(name: 'auto' | RuntimeName, options: RuntimeOptions = {}): Promise<Runtime> {
  const { threads = availableParallelism(), device = 'auto', precision = 'fp32', optimizer } = options;
  if (name === 'auto') return chooseRuntime({ threads, device, precision, optimizer });
  if (!capabilities[name].precisions.includes(precision))
    throw new StepError(
      `\`precision: ${precision}\` needs \`runtime: tensorflow\`, not ${name}`,
      'Use `precision: fp32`, or `runtime: tensorflow`.',
      ['precision'],
    );
  if (name === 'tensorflow') {
    const tensorflow = await openTensorflow(threads, device);
    const { tensorflowRuntime } = await import('../runtime/tensorflow/runtime.ts');
    return tensorflowRuntime(tensorflow, threads, precision);
  }
  if (name === 'onnx') {
    const { onnxRuntime } = await import('../runtime/onnx/runtime.ts');
    if (device === 'gpu') await checkWebgpu();
    return onnxRuntime(threads, device === 'gpu' ? 'webgpu' : 'cpu');
  }
  const { backend = device === 'gpu' || tensorflowIsSetUp() ? 'tensorflow' : 'cpu' } = options;
  if (backend === 'cpu') return eagerRuntime('cpu', `TensorFlow.js ${tf.version.tfjs}, cpu backend, 1 thread`);
  const { description, gpu } = await openTensorflow(threads, device);
  return eagerRuntime('tensorflow', `TensorFlow.js ${tf.version.tfjs}, ${description}`, gpu ? 'gpu' : 'cpu');
}

export function tensorflowIsSetUp(): boolean {
  return existsSync(join(tensorflowFolder(), 'node_modules/@tensorflow/tfjs-node-gpu/package.json'));
}

async function openTensorflow(threads: number, device: Device): Promise<Tensorflow> {
  const driver = device === 'gpu' && hasNvidiaDriver();
  if (device === 'gpu' && !driver) {
    throw new StepError(
      '`device: gpu` needs an NVIDIA GPU for the runtime tensorflow, but this machine has no driver for one',
      'Use `device: auto` or `cpu`. `tunesmith doctor` shows what is available.',
      ['device'],
    );
  }
  if (!tensorflowIsSetUp()) {
    throw new StepError('TensorFlow is not set up on this machine', driver ? FOR_GPU : 'Run: tunesmith setup tensorflow', ['runtime']);
  }
  const { loadTensorflow } = await import('../runtime/tensorflow/session.ts');
  if (driver && installedTensorflow()?.build !== 'cuda') {
    throw new StepError('`device: gpu` needs the GPU build of TensorFlow, but the CPU build is set up', FOR_GPU, ['device']);
  }
  const tensorflow = loadTensorflow(tensorflowFolder(), threads, device);
  if (device === 'gpu' && !tensorflow.gpu)
    throw new StepError('TensorFlow finds no usable GPU, although a GPU driver is installed', 'Run: tunesmith doctor', ['device']);
  return tensorflow;
}

const FOR_GPU = 'Run: tunesmith setup tensorflow --gpu';

/** Only a session that requests an adapter shows whether there is one. */
async function checkWebgpu(): Promise<void> {
  const { webgpuWorks } = await import('../runtime/onnx/runtime.ts');
  const wrong = await webgpuWorks();
  if (wrong === undefined) return;
  throw new StepError(
    `\`device: gpu\`: onnxruntime finds no GPU through WebGPU (${wrong})`,
    hasNvidiaDriver() ? FOR_GPU : 'Use `device: auto` or `cpu`. `tunesmith doctor` shows what is available.',
    ['device'],
  );
}

const COMPILED = ['onnx', 'tensorflow'] as const;
type Compiled = (typeof COMPILED)[number];

interface RuntimeChoice {
  name: Compiled;
  why: string;
}

async function chooseRuntime(wanted: RuntimeRequirements): Promise<Runtime> {
  const known = knownChoice(wanted);
  if (known) return openRuntime(known.name, wanted);
  const opened: Partial<Record<Compiled, Runtime>> = {};
  let failed: unknown;
  for (const name of COMPILED) {
    try {
      opened[name] = await openRuntime(name, wanted);
    } catch (error) {
      failed = error;
    }
  }
  const [only, other] = Object.values(opened);
  if (!only) throw failed;
  if (!other) return only;
  const measured = { onnx: await measure(opened.onnx!), tensorflow: await measure(opened.tensorflow!) };
  keep(wanted, measured);
  return opened[decide(measured).name]!;
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
  const measured = readKept()[machineKey(wanted)];
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

/** Everything that the speed of a training depends on. */
export function machineKey({ threads, device }: Pick<RuntimeRequirements, 'threads' | 'device'>): string {
  const onnx = (createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string }).version;
  const { tensorflow, build, binding } = installedTensorflow() ?? {};
  return [
    `${cpus()[0]?.model} ${arch()}`,
    `${threads} threads`,
    `device ${device}`,
    `GPU ${nvidiaIdentity()}`,
    `onnxruntime ${onnx}`,
    `TensorFlow ${tensorflow} ${build} ${binding}`,
  ].join(', ');
}

/** Identifies the machine's driver and cards. */
function nvidiaIdentity(): string {
  try {
    return [readFileSync('/proc/driver/nvidia/version', 'utf8').split('\n', 1)[0], ...readdirSync('/proc/driver/nvidia/gpus')].join(' ');
  } catch {
    return hasNvidiaDriver() ? 'nvidia-smi' : 'none';
  }
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
  writeFileSync(partial, `${JSON.stringify({ ...readKept(), [machineKey(wanted)]: measured }, null, 2)}\n`);
  renameSync(partial, file);
}

interface RuntimeTiming {
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
