/** Opens a runtime by name and device. If that is impossible on this machine, the error says what to do. */

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { StepError } from '../../../engine/step.ts';
import { eagerRuntime } from '../runtime/eager.ts';
import { capabilities, type OptimizerOptions, type Precision, type Runtime, type RuntimeName } from '../runtime/runtime.ts';
import type { Tensorflow } from '../runtime/tensorflow/session.ts';
import { tensorflowFolder } from '../runtime/tensorflow/setup.ts';
import { tf } from '../runtime/tfjs.ts';

export type Device = 'auto' | 'cpu' | 'gpu';

export interface RuntimeOptions {
  /** Threads of the matrix products; all cores by default. */
  threads?: number;
  device?: Device;
  precision?: Precision;
  /** The optimizer of the training that the runtime is for. */
  optimizer?: OptimizerOptions['name'] | undefined;
  /** The TensorFlow.js backend of `eager`; by default `tensorflow` if it is set up, otherwise `cpu`. */
  backend?: 'cpu' | 'tensorflow';
}

/**
 * @throws StepError if the runtime, the device or the precision is unavailable, with the command or option that helps
 */
export async function openRuntime(name: 'auto' | RuntimeName, options: RuntimeOptions = {}): Promise<Runtime> {
  const { threads = availableParallelism(), device = 'auto', precision = 'fp32', optimizer } = options;
  if (name === 'auto') {
    const { chooseRuntime } = await import('./choose.ts');
    return (await chooseRuntime({ threads, device, precision, optimizer })).runtime;
  }
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
  const { hasNvidiaDriver } = await import('../runtime/gpu.ts');
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
  const { installedTensorflow } = await import('../runtime/tensorflow/setup.ts');
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
  const { webgpuWorks } = await import('../runtime/onnx/session.ts');
  const wrong = await webgpuWorks();
  if (wrong === undefined) return;
  const { hasNvidiaDriver } = await import('../runtime/gpu.ts');
  throw new StepError(
    `\`device: gpu\`: onnxruntime finds no GPU through WebGPU (${wrong})`,
    hasNvidiaDriver() ? FOR_GPU : 'Use `device: auto` or `cpu`. `tunesmith doctor` shows what is available.',
    ['device'],
  );
}
